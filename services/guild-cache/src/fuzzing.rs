//! Fuzz targets of the cache: events, and records that a store may have forged.

use std::sync::{Arc, LazyLock};

use fuzz::Target;

use crate::{
    Codec, Head, RecordKey, Resources, Restoring, Rules, Scan, SessionGuilds, ShardCache, read_elements,
    read_fields, read_string,
    record::{Facts, Record},
};

static CODEC: LazyLock<Arc<Codec>> = LazyLock::new(|| Arc::new(Codec::new()));

const GUILD: &str = r#"{"id":"7","name":"seven","owner_id":"3","member_count":3,"roles":[{"id":"7","name":"@everyone","color":1}],"channels":[{"id":"70","type":0,"name":"c"},{"id":"71","type":2}],"threads":[{"id":"72","parent_id":"70"}],"members":[{"user":{"id":"3","username":"u3"},"roles":["7"]},{"user":{"id":"9","username":"u9"},"roles":[]}],"voice_states":[{"user_id":"3","channel_id":"71"}],"emojis":[{"id":"1","name":"e"}],"stickers":[],"stage_instances":[],"guild_scheduled_events":[],"unavailable":false}"#;

/// Events in lines: a name, a space, the data.
const EVENTS: &[&str] = &[
    r#"CHANNEL_CREATE {"id":"73","guild_id":"7","type":0}"#,
    r#"CHANNEL_DELETE {"id":"70","guild_id":"7"}"#,
    r#"GUILD_MEMBER_ADD {"guild_id":"7","user":{"id":"11","username":"x"},"roles":[]}"#,
    r#"GUILD_MEMBER_REMOVE {"guild_id":"7","user":{"id":"9"}}"#,
    r#"VOICE_STATE_UPDATE {"guild_id":"7","user_id":"9","channel_id":"71"}"#,
    r#"GUILD_ROLE_UPDATE {"guild_id":"7","role":{"id":"7","name":"n"}}"#,
    r#"MESSAGE_CREATE {"id":"100","channel_id":"70","guild_id":"7","author":{"id":"3"},"content":"hi"}"#,
    r#"MESSAGE_DELETE {"id":"100","channel_id":"70","guild_id":"7"}"#,
    r#"GUILD_DELETE {"id":"7","unavailable":true}"#,
];

fn rules() -> Rules {
    Rules { resources: Resources::ALL, messages_per_channel: 5, ..Rules::default() }
}

fn filled() -> ShardCache {
    let mut cache = ShardCache::new(rules(), Arc::clone(&CODEC));
    cache.begin_session(1, &SessionGuilds { guilds: vec![7, 8], ..SessionGuilds::default() });
    cache.apply("GUILD_CREATE", GUILD, 1);
    cache
}

/// What is read is JSON, and the cache becomes empty again.
fn check(mut cache: ShardCache) {
    for text in [cache.guild_create(7), cache.roles(7), cache.guild_object(7)].into_iter().flatten() {
        assert!(Scan::new(&text).value().is_ok());
    }
    for id in [3, 7, 9, 70, 71] {
        let _ = (cache.member(7, id), cache.user(id), cache.guild(id));
    }
    cache.seal(1);
    for guild in [7, 8] {
        cache.apply("GUILD_DELETE", &format!(r#"{{"id":"{guild}"}}"#), u64::MAX / 2);
    }
}

#[test]
fn events_of_a_shard() {
    let create = format!("GUILD_CREATE {GUILD}");
    let update = format!("GUILD_UPDATE {GUILD}");
    let mut examples: Vec<String> = EVENTS.iter().map(|event| (*event).to_owned()).collect();
    examples.extend([create, update, EVENTS.join("\n")]);
    let words = ["\n", "\nGUILD_CREATE ", "\"id\":\"7\"", "\"unavailable\":true", "\"7\"", "\"channels\":"];
    Target::new("events of the cache", examples).words(words).memory(4 << 20, 400).run_text(|text| {
        let mut cache = filled();
        // A store of messages and members is bounded by what arrived.
        for (sequence, line) in text.lines().take(200).enumerate() {
            let (name, data) = line.split_once(' ').unwrap_or((line, ""));
            cache.apply(name, data, sequence as u64 + 2);
        }
        check(cache);
    });
}

#[test]
fn fields_of_objects() {
    Target::new("fields of objects", [GUILD, "[1,{\"a\":2},\"b\"]", r#""a\u00e9\ud83e\udd80""#]).run_text(
        |text| {
            let _ = read_fields(text, ["id", "name", "members"]);
            if let Some(elements) = read_elements(text) {
                assert!(elements.iter().all(|element| Scan::new(element).value().is_ok()));
            }
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            if let Some(string) = read_string(text) {
                assert!(string.len() <= 3 * text.len());
            }
            let mut scan = Scan::new(text);
            // serde refuses what is nested deeper than 128.
            if is_json {
                assert!(scan.value().is_ok() && scan.end().is_ok());
            } else {
                let _ = scan.value();
            }
        },
    );
}

/// The parts of a record with the right checksum: its number, the length of the facts, the facts, the block.
#[test]
fn forged_records() {
    let records = filled().all_records(7);
    let all: Vec<(RecordKey, Vec<u8>)> = records.members.into_iter().chain(records.together).collect();
    let examples: Vec<Vec<u8>> = all
        .iter()
        .enumerate()
        .map(|(number, (_, bytes))| {
            let record = Record::decode(bytes).unwrap();
            let head = [number as u8, record.facts.len() as u8, record.count as u8];
            [&head[..], &record.size.to_le_bytes(), record.facts, record.block].concat()
        })
        .collect();
    // A list of a guild may have 64 MiB of text, which the size of a block promises.
    Target::new("forged records of the cache", examples).memory(160 << 20, 400).run(|input| {
        let Some((head, rest)) = input.split_at_checked(7) else { return };
        let (key, bytes) = &all[usize::from(head[0]) % all.len()];
        let (facts, block) = rest.split_at(usize::from(head[1]).min(rest.len()));
        let size = u32::from_le_bytes([head[3], head[4], head[5], head[6]]);
        let record = Record::decode(bytes).unwrap();
        let forged = Record { facts, block, count: u32::from(head[2]), size, ..record }.encode();
        let _ = (Facts::decode(facts), Record::decode(input));
        let mut restoring = Restoring::new(rules(), Arc::clone(&CODEC));
        for (key, bytes) in &all {
            restoring.take(*key, bytes).unwrap();
        }
        let _ = restoring.take(*key, &forged);
        check(restoring.finish(&Head::default()));
    });
}

//! Repeated events, and events of guilds that are not there: counts and promises.

use guild_cache::Doubt;
use serde_json::{Value, json};

use super::{GUILD, figures, tell};
use crate::testing::guilds::{self, begun, guild, member, user, voice};

/// How many events of the shard after the bot left a guild the guild's own events are ignored.
const LATE_EVENTS: u64 = 10_000;

#[test]
fn repeated_events_count_once() {
    let cache = begun("all", &[GUILD]);
    let mut small = guild(GUILD);
    small["member_count"] = json!(3);
    guilds::tell(&cache, "GUILD_CREATE", &small, 2);
    let mut sequence = 2;
    let mut then = |name: &str, d: Value, expected: (u32, u64, u32, u32)| {
        for _ in 0..2 {
            sequence += 1;
            guilds::tell(&cache, name, &d, sequence);
            assert_eq!(figures(&cache), expected, "{name} {d}");
        }
    };
    let room = json!({"id": "900", "type": 2, "guild_id": "5", "name": "voice"});
    then("GUILD_CREATE", small.clone(), (1, 3, 1, 1));
    then("CHANNEL_CREATE", room.clone(), (1, 3, 2, 1));
    then("VOICE_STATE_UPDATE", voice(GUILD, 1, Some(900)), (1, 3, 2, 2));
    then("CHANNEL_DELETE", room, (1, 3, 1, 1));
    then("VOICE_STATE_UPDATE", voice(GUILD, 1, None), (1, 3, 1, 1));
    let mut new = member(9);
    new["guild_id"] = json!("5");
    then("GUILD_MEMBER_ADD", new, (1, 4, 1, 1));
    then("GUILD_MEMBER_REMOVE", json!({"guild_id": "5", "user": user(9)}), (1, 3, 1, 1));
    let mut fewer = small;
    fewer["channels"] = json!([]);
    fewer["voice_states"] = json!([]);
    then("GUILD_CREATE", fewer, (1, 3, 0, 0));
    then("GUILD_DELETE", json!({"id": "5"}), (0, 0, 0, 0));
    then("CHANNEL_CREATE", json!({"id": "900", "type": 2, "guild_id": "5"}), (0, 0, 0, 0));
    assert!(cache.channel(GUILD, 900).is_none());
}

#[test]
fn members_are_counted_by_id() {
    // What is cached, and the members that GUILD_CREATE counts: 3 of them are in it.
    for (resources, count) in [("guilds", 600), ("all", 600), ("all", 3), ("all", 2)] {
        let cache = begun(resources, &[GUILD]);
        let mut small = guild(GUILD);
        small["member_count"] = json!(count);
        guilds::tell(&cache, "GUILD_CREATE", &small, 2);
        let has_all = resources == "all" && count == 3;
        let mut sequence = 2;
        let mut expected = count;
        for (name, id, change) in [
            ("GUILD_MEMBER_ADD", 9, 1),
            ("GUILD_MEMBER_REMOVE", 9, -1),
            ("GUILD_MEMBER_ADD", 9, 1),
            // One of GUILD_CREATE.
            ("GUILD_MEMBER_REMOVE", 1, -1),
            ("GUILD_MEMBER_ADD", 1, 1),
            // One that GUILD_CREATE does not name.
            ("GUILD_MEMBER_REMOVE", 77, if has_all { 0 } else { -1 }),
            ("GUILD_MEMBER_ADD", 77, 1),
        ] {
            expected += change;
            let mut d = member(id);
            d["guild_id"] = json!("5");
            for time in 1..=3 {
                sequence += 1;
                guilds::tell(&cache, name, &d, sequence);
                let row = format!("{resources} {count}: {name} {id}, time {time}");
                assert_eq!(figures(&cache).1, expected as u64, "{row}");
            }
        }
        assert_eq!(cache.report().uncertain, 0);
    }
}

#[test]
fn guild_that_was_not_told_is_expected_with_its_first_event() {
    let message = json!({
        "id": "70", "channel_id": "501", "guild_id": "5", "type": 0, "content": "", "author": user(1), "tts": false,
        "timestamp": "2021-01-01T00:00:00.000000+00:00", "edited_timestamp": null, "mention_everyone": false,
        "mentions": [], "mention_roles": [], "attachments": [], "embeds": [], "pinned": false,
    });
    let mut joined = member(9);
    joined["guild_id"] = json!("5");
    for (name, d) in [
        ("CHANNEL_CREATE", json!({"guild_id": "5", "id": "900", "type": 0})),
        ("CHANNEL_DELETE", json!({"guild_id": "5", "id": "900", "type": 0})),
        ("GUILD_UPDATE", json!({"id": "5", "name": "new"})),
        ("GUILD_ROLE_DELETE", json!({"guild_id": "5", "role_id": "500"})),
        ("GUILD_MEMBER_ADD", joined),
        ("GUILD_MEMBER_REMOVE", json!({"guild_id": "5", "user": user(9)})),
        ("GUILD_MEMBERS_CHUNK", json!({"guild_id": "5", "members": [], "chunk_index": 0, "chunk_count": 1})),
        ("VOICE_STATE_UPDATE", voice(GUILD, 9, Some(501))),
        ("GUILD_EMOJIS_UPDATE", json!({"guild_id": "5", "emojis": []})),
        ("MESSAGE_CREATE", message),
        // This one cannot be read.
        ("CHANNEL_CREATE", json!({"guild_id": "5", "id": null})),
    ] {
        let row = format!("{name} {d}");
        let cache = begun("all", &[]);
        let is_expected = |expected: bool, why: &str| {
            assert_eq!(cache.doubt_of(GUILD, Doubt::GUILD).is_some(), expected, "{why}: {row}");
            let pending = (cache.pending_guilds(), cache.report().uncertain, cache.doubt().is_some());
            assert_eq!(pending, (usize::from(expected), u32::from(expected), expected), "{why}: {row}");
        };
        tell(&cache, name, &d.to_string(), 2);
        is_expected(true, "before GUILD_CREATE");
        assert_eq!((figures(&cache), cache.username(9 << 22)), ((1, 0, 0, 0), None), "{row}");
        tell(&cache, "GUILD_CREATE", &guild(GUILD).to_string(), 3);
        is_expected(false, "after GUILD_CREATE");
        assert_eq!(figures(&cache), (1, 600, 1, 1), "{row}");
        tell(&cache, "GUILD_DELETE", r#"{"id":"5"}"#, 4);
        tell(&cache, name, &d.to_string(), 5);
        is_expected(false, "just left");
        assert_eq!(figures(&cache), (0, 0, 0, 0), "{row}");
        let late = 5 + LATE_EVENTS;
        tell(&cache, "USER_UPDATE", &user(1).to_string(), late);
        tell(&cache, name, &d.to_string(), late + 1);
        is_expected(true, "long after it was left");
    }
}

const ALL: Doubt = Doubt::GUILD;

#[test]
fn found_parts_of_a_guild_in_doubt_say_so() {
    let told: &[(&str, &str)] = &[("GUILD_CREATE", &guild(GUILD).to_string())];
    let lost = |list: &str| {
        let mut odd = guild(GUILD);
        odd[list][0] = json!(7);
        odd.to_string()
    };
    let rows: &[(&[(&str, &str)], Doubt)] = &[
        (&[], ALL),
        (told, Doubt::NONE),
        (&[("GUILD_DELETE", r#"{"id":"5","unavailable":true}"#)], ALL),
        (&[("GUILD_CREATE", &lost("channels"))], Doubt::CHANNELS.and(Doubt::COUNTS)),
        (&[("GUILD_CREATE", &lost("roles"))], Doubt::ROLES),
        (&[("GUILD_CREATE", &lost("members"))], Doubt::MEMBERS),
        (&[("GUILD_CREATE", &lost("emojis"))], Doubt::NONE),
        (&[told[0], ("CHANNEL_CREATE", r#"{"guild_id":"5"}"#)], ALL),
        (&[told[0], ("GUILD_DELETE", "{}")], ALL),
        (&[told[0], ("CHANNEL_CREATE", r#"{"guild_id":"5"}"#), told[0]], Doubt::NONE),
    ];
    for (events, expected) in rows {
        let cache = begun("all", &[GUILD]);
        for (sequence, (name, d)) in (2..).zip(*events) {
            tell(&cache, name, d, sequence);
        }
        for parts in [Doubt::COUNTS, Doubt::CHANNELS, Doubt::MEMBERS, Doubt::ROLES, ALL] {
            let expected = expected.has(parts);
            assert_eq!(cache.doubt_of(GUILD, parts).is_some(), expected, "{parts:?} after {events:?}");
        }
    }
}

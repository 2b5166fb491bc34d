use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{doubt::Doubt, rules::Resources};

static CODEC: LazyLock<Arc<Codec>> = LazyLock::new(|| Arc::new(Codec::new()));

fn rules() -> Rules {
    Rules { resources: Resources::ALL, ..Rules::default() }
}

fn filled() -> ShardCache {
    let mut cache = ShardCache::new(rules(), Arc::clone(&CODEC));
    let members: Vec<String> = (1..=40)
        .map(|user| format!(r#"{{"user":{{"id":"{user}","username":"u{user}"}},"roles":[]}}"#))
        .collect();
    let text = format!(
        r#"{{"id":"7","name":"seven","member_count":40,"roles":[{{"id":"7"}}],"channels":[{{"id":"70","type":0}}],"members":[{}],"voice_states":[{{"user_id":"3","channel_id":"70"}}],"emojis":[]}}"#,
        members.join(",")
    );
    assert!(cache.apply("GUILD_CREATE", &text, 5).losses.is_empty());
    cache
}

fn records(cache: &mut ShardCache) -> Vec<(RecordKey, Vec<u8>)> {
    let records = cache.all_records(7);
    records.members.into_iter().chain(records.together).collect()
}

fn restored(records: &[(RecordKey, Vec<u8>)]) -> ShardCache {
    let mut restoring = Restoring::new(rules(), Arc::clone(&CODEC));
    for (key, bytes) in records {
        restoring.take(*key, bytes).unwrap();
    }
    restoring.finish(&Head::default())
}

#[test]
fn restored_cache_answers_and_goes_on() {
    let mut cache = filled();
    let mut again = restored(&records(&mut cache));
    assert_eq!(again.guild(7), cache.guild(7));
    assert_eq!(again.guild_create(7), cache.guild_create(7));
    assert_eq!((again.username(9).as_deref(), again.guilds_of_user(9)), (Some("u9"), vec![7]));
    let gone = r#"{"guild_id":"7","user":{"id":"9"}}"#;
    again.apply("GUILD_MEMBER_REMOVE", gone, 5);
    assert!(again.is_user_known(9), "the records hold this event");
    again.apply("GUILD_MEMBER_REMOVE", gone, 6);
    assert!(!again.is_user_known(9) && again.guild(7).unwrap().members == Some(39));
}

#[test]
fn record_under_another_key_is_refused() {
    let mut cache = filled();
    let mut restoring = Restoring::new(rules(), Arc::clone(&CODEC));
    for (key, bytes) in records(&mut cache) {
        for other in [
            RecordKey { guild: 8, ..key },
            RecordKey { kind: Kind::Threads, ..key },
            RecordKey { low: 999, ..key },
        ] {
            assert_eq!(restoring.take(other, &bytes), Err(RecordError::Misplaced));
        }
    }
}

#[test]
fn block_that_was_split_off_before_the_writer_died_is_the_newer_one() {
    let mut cache = filled();
    let before = records(&mut cache);
    for user in 41..=60_u64 {
        let text = format!(r#"{{"guild_id":"7","user":{{"id":"{user}"}}}}"#);
        cache.apply("GUILD_MEMBER_ADD", &text, user);
    }
    cache.apply("GUILD_MEMBER_REMOVE", r#"{"guild_id":"7","user":{"id":"40"}}"#, 61);
    let after = records(&mut cache);
    // Only the new blocks of members were written.
    let mut mixed = before.clone();
    let old: Vec<RecordKey> = before.iter().map(|(key, _)| *key).collect();
    mixed.extend(after.iter().filter(|(key, _)| key.kind == Kind::Members && !old.contains(key)).cloned());
    assert!(mixed.len() > before.len());
    let mut again = restored(&mixed);
    let events = (41..=60_u64).map(|user| ("GUILD_MEMBER_ADD", user, user));
    for (name, user, sequence) in events.chain([("GUILD_MEMBER_REMOVE", 40, 61)]) {
        again.apply(name, &format!(r#"{{"guild_id":"7","user":{{"id":"{user}"}}}}"#), sequence);
    }
    assert_eq!(again.ids(7, Kind::Members), cache.ids(7, Kind::Members));
    assert_eq!(again.guild(7), cache.guild(7));
}

#[test]
fn old_records_become_new_ones() {
    let mut restoring = Restoring::new(rules(), Arc::clone(&CODEC));
    let text = filled().guild_create(7).unwrap();
    let facts = GuildFacts {
        stamp: 9,
        members: Some(77),
        is_unavailable: true,
        doubt: Doubt::ROLES.bits(),
        ..GuildFacts::default()
    };
    restoring.take_guild_create(&text, &facts).unwrap();
    let cache = restoring.finish(&Head::default());
    let info = cache.guild(7).unwrap();
    assert_eq!((info.members, info.is_unavailable, info.doubt), (Some(77), true, Doubt::ROLES));
    assert_eq!(cache.member(7, 3), filled().member(7, 3));
}

#[test]
fn declared_sizes_take_no_memory() {
    let mut cache = filled();
    for (key, bytes) in records(&mut cache) {
        let record = Record::decode(&bytes).unwrap();
        for (count, size) in
            [(u32::MAX, record.size), (record.count, u32::MAX), (record.count, 900_000), (0, 0)]
        {
            let forged = Record { count, size, ..record }.encode();
            let result = Restoring::new(rules(), Arc::clone(&CODEC)).take(key, &forged);
            assert!(result.is_err(), "{key:?} {count} {size}");
        }
    }
}

proptest! {
    /// A store can forge the checksum too.
    #[test]
    fn forged_record_is_refused_or_harmless(
        which in 0_usize..16,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut cache = filled();
        let all = records(&mut cache);
        let (key, bytes) = &all[which % all.len()];
        let record = Record::decode(bytes).unwrap();
        let (mut facts, mut block) = (record.facts.to_vec(), record.block.to_vec());
        for (at, byte) in changes {
            let place = at.index(facts.len() + block.len());
            if place < facts.len() { facts[place] ^= byte } else { block[place - facts.len()] ^= byte }
        }
        if let Some(cut) = cut {
            block.truncate(cut.index(block.len() + 1));
        }
        let forged = Record { facts: &facts, block: &block, ..record }.encode();
        let mut restoring = Restoring::new(rules(), Arc::clone(&CODEC));
        for (key, bytes) in &all {
            restoring.take(*key, bytes).unwrap();
        }
        let _ = restoring.take(*key, &forged);
        let mut cache = restoring.finish(&Head::default());
        // What was accepted is JSON and can be changed.
        for text in [cache.guild_create(7), cache.roles(7), cache.guild_object(7)].into_iter().flatten() {
            prop_assert!(Scan::new(&text).value().is_ok());
        }
        for user in 1..=40_u64 {
            let _ = (cache.member(7, user), cache.user(user));
        }
        cache.apply("GUILD_MEMBER_REMOVE", r#"{"guild_id":"7","user":{"id":"9"}}"#, u64::MAX / 2);
        cache.apply("CHANNEL_DELETE", r#"{"guild_id":"7","id":"70"}"#, u64::MAX / 2 + 1);
        cache.seal(1);
        cache.apply("GUILD_DELETE", r#"{"id":"7"}"#, u64::MAX / 2 + 2);
        prop_assert_eq!(cache.figures(), crate::Figures::default());
    }
}

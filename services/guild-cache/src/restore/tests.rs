use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{block::Packed, doubt::Doubt, rules::Resources};

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
fn restored_cache_answers_and_applies_events() {
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
fn split_off_block_counts_after_the_writer_died() {
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

/// Leaves members 1..=16 in the first block, and so few in the other two blocks that these are joined.
fn thin_out(cache: &mut ShardCache, first_sequence: u64) {
    for (user, sequence) in (19..=32_u64).chain(36..=40).zip(first_sequence..) {
        let text = format!(r#"{{"guild_id":"7","user":{{"id":"{user}"}}}}"#);
        cache.apply("GUILD_MEMBER_REMOVE", &text, sequence);
    }
    cache.seal(1);
}

fn members_key(low: u64) -> RecordKey {
    RecordKey { guild: 7, kind: Kind::Members, low }
}

#[test]
fn record_of_a_joined_block_is_removed_after_the_writer_died() {
    let mut cache = filled();
    let mut store: BTreeMap<RecordKey, Vec<u8>> = records(&mut cache).into_iter().collect();
    assert!(store.contains_key(&members_key(17)) && store.contains_key(&members_key(33)));
    thin_out(&mut cache, 6);
    // The joined block was written. The step that writes the core and removes the other block was not.
    store.insert(members_key(17), cache.record(members_key(17)).unwrap());
    let mut again = restored(&store.clone().into_iter().collect::<Vec<_>>());
    let of_joined = again.ids(7, Kind::Members);
    assert_eq!(of_joined, cache.ids(7, Kind::Members));
    let mut changed = again.take_changed();
    assert!(!changed.records.contains(&members_key(0)), "a block that does not overlap stays as it is");
    // The next pass writes everything.
    let written = again.records(7, &mut changed);
    store.extend(written.members.into_iter().chain(written.together));
    written.removed.iter().for_each(|key| drop(store.remove(key)));
    assert!(!store.contains_key(&members_key(33)));
    let mut third = restored(&store.into_iter().collect::<Vec<_>>());
    assert_eq!(third.ids(7, Kind::Members), of_joined);
    assert_eq!(third.take_changed().records.len(), 0, "nothing overlaps any more");
}

#[test]
fn worker_that_keeps_less_still_counts_all() {
    let mut cache = filled();
    let less = Rules { resources: Resources::GUILDS.and(Resources::ROLES), ..Rules::default() };
    let mut restoring = Restoring::new(less, Arc::clone(&CODEC));
    let written = records(&mut cache);
    for (key, bytes) in &written {
        restoring.take(*key, bytes).unwrap();
    }
    let mut again = restoring.finish(&Head::default());
    let (before, after) = (cache.guild(7).unwrap(), again.guild(7).unwrap());
    assert_eq!((after.channels, after.voice_connections, after.members), (1, 1, Some(40)));
    assert_eq!((before.channels, before.voice_connections), (1, 1));
    assert_eq!(
        (again.extras(7).as_deref(), again.guild_create(7).unwrap().contains("emojis")),
        (Some("{}"), false)
    );
    assert!(!again.guild_create(7).unwrap().contains("channels"));
    let mut changed = again.take_changed();
    for (key, _) in &written {
        let stays = matches!(key.kind, Kind::Roles);
        assert_eq!(changed.records.contains(key), !stays, "{key:?}");
    }
    let left = again.records(7, &mut changed);
    assert!(left.removed.iter().any(|key| key.kind == Kind::Channels) && left.members.is_empty());
    // Now the core has the figures.
    let mut restoring = Restoring::new(again.rules().clone(), Arc::clone(&CODEC));
    for (key, bytes) in &left.together {
        restoring.take(*key, bytes).unwrap();
    }
    let third = restoring.finish(&Head::default()).guild(7).unwrap();
    assert_eq!((third.channels, third.voice_connections), (1, 1));
}

#[test]
fn newer_members_keep_their_stamp_when_written_again() {
    let mut cache = filled();
    let mut store: BTreeMap<RecordKey, Vec<u8>> = records(&mut cache).into_iter().collect();
    let joined = r#"{"guild_id":"7","user":{"id":"41","username":"u41"}}"#;
    cache.apply("GUILD_MEMBER_ADD", joined, 50);
    let written = cache.all_records(7);
    // The writer died before the core.
    store.extend(written.members);
    let mut again = restored(&store.into_iter().collect::<Vec<_>>());
    assert_eq!(again.guild(7).unwrap().members, Some(40));
    // Everything is written in a pass before the event is replayed, and this worker dies too.
    let mut third = restored(&records(&mut again));
    third.apply("GUILD_MEMBER_ADD", joined, 50);
    assert_eq!(third.guild(7).unwrap().members, Some(41));
}

/// A record of roles with these ids, each of this many bytes.
fn roles_record(ids: std::ops::Range<u64>, bytes: usize) -> (RecordKey, Vec<u8>) {
    let texts: Vec<(u64, String)> = ids
        .map(|id| (id, format!(r#"{{"id":"{id}","name":"{}"}}"#, "n".repeat(bytes.saturating_sub(30)))))
        .collect();
    let low = texts[0].0;
    let block = Block::pack(low, texts.iter().map(|(id, text)| (*id, text.as_str())), &CODEC);
    let key = RecordKey { guild: 7, kind: Kind::Roles, low };
    let Packed { count, size, bytes: block } = block.packed().unwrap();
    let high = u64::MAX;
    (key, Record { key, stamp: low, high, count, size, facts: &[], block }.encode())
}

#[test]
fn records_of_one_list_are_bounded_together() {
    // Many small objects, or few large objects that compress well.
    for (in_one, bytes) in [(2_000, 32), (2, 500_000)] {
        let mut restoring = Restoring::new(rules(), Arc::clone(&CODEC));
        let taken = (0..200_u64)
            .map(|place| roles_record(1 + place * in_one..1 + (place + 1) * in_one, bytes))
            .position(|(key, record)| restoring.take(key, &record) == Err(RecordError::TooLarge));
        assert!(taken.is_some_and(|taken| taken > 5), "{in_one} {taken:?}");
        // A record that replaces an earlier one has room.
        let (key, record) = roles_record(1..1 + in_one, bytes);
        assert_eq!(restoring.take(key, &record), Ok(()));
    }
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
        // Accepted records are JSON, and events can change the cache.
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

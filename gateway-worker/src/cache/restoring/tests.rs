//! A copy that is made while the cache changes equals the cache.

use checkpoint::{FORMAT_MAX, FORMAT_MIN};
use proptest::prelude::*;

use super::*;
use crate::{
    cache::{
        GuildRecords, ShardCache,
        records::tests::{Happens, as_event, contents, happens, head, is_sent, made},
    },
    testing::guilds::{SESSION, begun, ready, tell},
};

/// Gives the copy the records, as the wire does.
fn take(copy: &mut Restoring, records: GuildRecords) {
    let GuildRecords { together, members, gone } = records;
    for key in gone {
        copy.remove(key);
    }
    for (key, bytes) in members.into_iter().chain(together) {
        assert!(copy.take(key, &bytes).unwrap().is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn copied_while_it_changes_it_is_the_same(
        before in happens(),
        meanwhile in happens(),
        made_early in any::<bool>(),
        format in FORMAT_MIN..=FORMAT_MAX,
    ) {
        let source = begun("all", &[5, 6, 7]);
        let mut sequence = 1;
        let mut there = BTreeMap::new();
        let mut send = |one: &Happens| {
            if let Some((name, d)) = as_event(one).filter(|_| is_sent(one, &mut there)) {
                sequence += 1;
                tell(&source, name, &d, sequence);
            }
        };
        before.iter().for_each(&mut send);
        // A checkpoint that is written meanwhile does not hide changes from the copy.
        source.take_changes(SESSION).unwrap();
        let guilds = source.begin_copy(SESSION).unwrap();
        let mut copy = ShardCache::new(source.settings).restoring();
        let mut rest = meanwhile.iter();
        for guild in guilds {
            rest.next().into_iter().for_each(&mut send);
            take(&mut copy, source.all_records(SESSION, guild, format).unwrap());
            source.take_changes(SESSION).unwrap();
        }
        while made_early && copy.next_guild().unwrap() {}
        rest.for_each(&mut send);
        for records in source.end_copy(SESSION, format).unwrap().unwrap() {
            take(&mut copy, records);
        }
        let head = Head { own_user: source.own_user_text(), ..head(source.guilds_to_expect(false)) };
        let there = made(copy, &head, "all");
        prop_assert_eq!(there.own_user_text(), source.own_user_text());
        prop_assert_eq!(contents(&there), contents(&source));
    }
}

#[test]
fn another_session_ends_the_copy() {
    let source = begun("all", &[5]);
    assert!(source.end_copy(SESSION, 3).unwrap().is_none(), "none was begun");
    source.begin_copy(SESSION).unwrap();
    source.begin_session(SESSION + 1, &ready(&[]));
    assert!(source.end_copy(SESSION, 3).unwrap().is_none());
    assert!(source.begin_copy(SESSION).is_none());
}

//! A cache that is copied while it changes becomes what it was copied from.

use checkpoint::{FORMAT_MAX, decode_record, encode_record};
use proptest::prelude::*;

use super::{
    super::{
        ShardCache,
        records::{
            GuildRecords,
            tests::{Happens, SESSION, as_event, begun, contents, happens, is_told, settings},
        },
    },
    *,
};

/// Over the wire and into the copy.
fn take(copy: &mut Copy, records: GuildRecords) {
    let GuildRecords { together, members, gone } = records;
    for key in gone {
        copy.remove(key);
    }
    for (key, record) in members.into_iter().chain(together) {
        let bytes = encode_record(&record, FORMAT_MAX).unwrap();
        assert!(copy.take(key, decode_record(key, &bytes).unwrap()).is_none());
    }
}

fn make_guilds(copy: &mut Copy) {
    while copy.next_guild().unwrap() {}
}

fn head(source: &ShardCache) -> Head {
    let session = checkpoint::Session {
        id: "s".to_owned(),
        resume_url: String::new(),
        ordinal: SESSION,
        shard: None,
        total: 1,
        intents: 0,
        transport: String::new(),
        resources: Vec::new(),
        opened_at_unix_ms: 0,
    };
    Head {
        session,
        read: 1,
        read_at_unix_ms: 0,
        expecting: source.guilds_to_expect(false),
        doubt: source.doubt_code(),
        own_user: source.own_user(),
        presence: None,
        epoch: fleet_model::Epoch(1),
        exact: true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn copied_while_it_changes_it_is_the_same(
        before in happens(),
        meanwhile in happens(),
        made_early in any::<bool>(),
    ) {
        let source = begun("all", &[5, 6, 7]);
        let mut sequence = 1;
        let mut there = BTreeMap::new();
        let mut tell = |one: &Happens| {
            if let Some(event) = as_event(one).filter(|_| is_told(one, &mut there)) {
                sequence += 1;
                source.apply(&event, sequence);
            }
        };
        before.iter().for_each(&mut tell);
        // A checkpoint that is written meanwhile takes nothing away from the copy.
        source.take_changes(SESSION).unwrap();
        let guilds = source.begin_copy(SESSION).unwrap();
        let mut copy = Copy::new(&settings("all"));
        let mut rest = meanwhile.iter();
        for guild in guilds {
            rest.next().into_iter().for_each(&mut tell);
            take(&mut copy, source.all_records(SESSION, guild));
            source.take_changes(SESSION).unwrap();
        }
        if made_early {
            make_guilds(&mut copy);
        }
        rest.for_each(&mut tell);
        for records in source.end_copy(SESSION).unwrap() {
            take(&mut copy, records);
        }
        make_guilds(&mut copy);
        let there = ShardCache::new(settings("all"));
        there.adopt(copy.finish(&head(&source)).unwrap());
        prop_assert_eq!(there.own_user(), source.own_user());
        prop_assert_eq!(contents(&there), contents(&source));
    }
}

#[test]
fn another_session_ends_the_copy() {
    let source = begun("all", &[5]);
    assert!(source.end_copy(SESSION).is_none(), "none was begun");
    source.begin_copy(SESSION).unwrap();
    source.begin_session(SESSION + 1, None);
    assert!(source.end_copy(SESSION).is_none());
    assert!(source.begin_copy(SESSION).is_none());
}

//! What only Redis can do to us: lose everything, stop answering, hold what others wrote, fail over.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleet_model::{Epoch, HeadKeyId, HeadSigning, Term};
use fleet_store::{
    FleetRedisStore, FleetStore, FleetStoreError, HistoryStore, HistoryText, LeaseRenewal, OwnerWrite,
    Revocation, TermClaim, TermRenewal,
};
use redis_fixture::{RedisSentinel, RedisServer};

use crate::{LONG, SHORT, incarnation, lapse, name, owner, redis_store, worker};

/// Asks until the store can be reached again.
async fn reached(store: &FleetRedisStore) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match store.identity().await {
            Ok(identity) => return identity.0,
            // Each try waits for the link's back-off by itself.
            Err(error) => assert!(Instant::now() < deadline, "still {error}"),
        }
    }
}

#[tokio::test]
async fn emptied_redis_is_recognized_by_its_identity_and_written_again() {
    let mut server = RedisServer::start().await;
    let store = redis_store(&server.url(), "test");
    store.claim_term(&incarnation("c"), Term(1), LONG).await.unwrap();
    store.grant_lease(Term(1), &worker("w", "1"), LONG).await.unwrap();
    let before = store.identity().await.unwrap().0;
    server.restart().await;
    assert_ne!(reached(&store).await, before);
    assert!(store.load().await.unwrap().workers.is_empty());
    assert_eq!(store.renew_lease(&worker("w", "1"), LONG, false).await.unwrap(), LeaseRenewal::Lapsed);
    assert_eq!(store.renew_lease(&worker("w", "1"), LONG, true).await.unwrap(), LeaseRenewal::Held(Term(0)));
    assert_eq!(
        store.renew_term(Term(1), &incarnation("c"), LONG).await.unwrap(),
        TermRenewal::Held { standby: false }
    );
    let record = store.load().await.unwrap();
    assert_eq!((record.term, record.workers.len()), (Term(1), 1));
}

#[tokio::test]
async fn a_redis_that_stands_still_is_away_by_the_deadline() {
    let server = RedisServer::start().await;
    let store = redis_store(&server.url(), "test");
    store.identity().await.unwrap();
    server.pause();
    let asked = Instant::now();
    let (record, owners) = (worker("w", "1"), [owner(0, "a", "1", 1)]);
    let (load, renewal, assigned) =
        tokio::join!(store.load(), store.renew_lease(&record, LONG, true), store.assign(Term(1), &owners),);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(matches!(load, Err(FleetStoreError::Away(_))), "{load:?}");
    assert!(matches!(renewal, Err(FleetStoreError::Away(_))), "{renewal:?}");
    assert!(matches!(assigned, Err(FleetStoreError::Away(_))), "{assigned:?}");
    server.resume();
    reached(&store).await;
}

#[tokio::test]
async fn a_redis_that_is_gone_fails_fast() {
    let mut server = RedisServer::start().await;
    let store = redis_store(&server.url(), "test");
    store.identity().await.unwrap();
    server.kill();
    for _ in 0..5 {
        let asked = Instant::now();
        let error = store.load().await.unwrap_err();
        assert!(matches!(error, FleetStoreError::Away(_)), "{error:?}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn history_of_another_program_is_named_or_left_to_the_reader() {
    const KEY: &str = "{test}:history";
    let server = RedisServer::start().await;
    let store = redis_store(&server.url(), "test");
    let entry = [HistoryText { number: 1, text: "ours".to_owned() }];
    server.command::<()>(&["SET", KEY, "x"]).await;
    let appended = store.append_history(&incarnation("c"), false, &entry).await;
    assert!(matches!(&appended, Err(FleetStoreError::InvalidRecord(key)) if key == KEY), "{appended:?}");
    let read = store.read_history(None, 10).await;
    assert!(matches!(&read, Err(FleetStoreError::InvalidRecord(key)) if key == KEY), "{read:?}");
    server.command::<()>(&["DEL", KEY]).await;
    server.command::<String>(&["XADD", KEY, "*", "bytes", "-7", "entry", "theirs"]).await;
    store.append_history(&incarnation("c"), true, &entry).await.unwrap();
    let stored = store.read_history(None, 10).await.unwrap();
    let texts: Vec<&str> = stored.iter().map(|stored| stored.entry.text.as_str()).collect();
    assert_eq!(texts, ["ours", "theirs"]);
}

#[tokio::test]
async fn malformed_records_are_named_without_a_panic() {
    const MAX: &str = "18446744073709551615";
    let server = RedisServer::start().await;
    // An invalid record of a worker or a shard is left out; the others stop the whole. Numbers beyond every clock and
    // the limit of shards are invalid too.
    let cases: [(&str, &[&str]); 19] = [
        ("{p}:term", &["SET", "{p}:term", "x"]),
        ("{p}:term", &["HSET", "{p}:term", "term", "many"]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "total", "-1"]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "budget_total", "1"]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "last_ran_unix_ms", "never"]),
        ("{p}:workers", &["SET", "{p}:workers", "x"]),
        ("{p:worker:w}", &["HSET", "{p:worker:w}", "incarnation", "1", "expires_at_ms", "soon"]),
        ("{p:shard:0}", &["HSET", "{p:shard:0}", "epoch", "7"]),
        ("{p}:term", &["HSET", "{p}:term", "term", MAX]),
        ("{p}:term", &["HSET", "{p}:term", "term", "999999999999999"]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "total", "4000000000"]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "total", "65537"]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "total", "0"]),
        ("{p:worker:w}", &["HSET", "{p:worker:w}", "incarnation", "1", "term", MAX]),
        // A lease that would never lapse.
        (
            "{p:worker:w}",
            &["HSET", "{p:worker:w}", "incarnation", "1", "expires_at_ms", MAX, "ttl_ms", "86400001"],
        ),
        ("{p:worker:w}", &["SET", "{p:worker:w}", "x"]),
        ("{p:shard:0}", &["HSET", "{p:shard:0}", "worker", "w", "incarnation", "1", "epoch", MAX]),
        (
            "{p:shard:0}",
            &["HSET", "{p:shard:0}", "worker", "w", "incarnation", "1", "epoch", "2000000000000000"],
        ),
        ("{p:shard:0}", &["SET", "{p:shard:0}", "x"]),
    ];
    for (key, command) in cases {
        server.command::<()>(&["FLUSHALL"]).await;
        server.command::<()>(&["SADD", "{p}:workers", "w"]).await;
        server.command::<()>(&["HSET", "{p}:fleet", "total", "1"]).await;
        if command[0] == "SET" {
            server.command::<()>(&["DEL", key]).await;
        }
        server.command::<()>(command).await;
        let store = redis_store(&server.url(), "p");
        match store.load().await {
            Err(FleetStoreError::InvalidRecord(named)) => {
                assert!(key.starts_with("{p}") && named == key, "{command:?}");
            }
            loaded => assert_eq!(loaded.unwrap().invalid, [key], "{command:?}"),
        }
        let checked = store.check().await.unwrap().invalid;
        assert_eq!(checked == [key], !key.starts_with("{p:shard"), "{command:?}: {checked:?}");
        // A coordinator's term begins all the same, as far as the term and the fleet can be read.
        let fenced = store.fence(Term(1)).await;
        assert_eq!(fenced.is_err(), key == "{p}:fleet", "{command:?}: {fenced:?}");
    }
    server.command::<()>(&["FLUSHALL"]).await;
    server.command::<()>(&["HSET", "{p}:term", "term", "00"]).await;
    server.command::<()>(&["HSET", "{p:shard:0}", "epoch", "1e9"]).await;
    server.command::<()>(&["HSET", "{p:worker:w}", "incarnation", "1", "term", "x"]).await;
    let store = redis_store(&server.url(), "p");
    let claim = store.claim_term(&incarnation("c"), Term(1), LONG).await;
    assert!(matches!(claim, Err(FleetStoreError::InvalidRecord(_))), "{claim:?}");
    // An unexpected record does not affect the others.
    server.command::<()>(&["SET", "{p:shard:2}", "x"]).await;
    let owners = [0, 1, 2].map(|shard| owner(shard, "a", "1", 1));
    let assigned = store.assign(Term(1), &owners).await.unwrap();
    let invalid = |key: &str| OwnerWrite::Invalid(key.to_owned());
    assert_eq!(assigned, [invalid("{p:shard:0}"), OwnerWrite::Written, invalid("{p:shard:2}")]);
    let renewal = store.renew_lease(&worker("w", "1"), LONG, true).await;
    assert!(matches!(renewal, Err(FleetStoreError::InvalidRecord(_))), "{renewal:?}");
}

/// A clock that is wrong by more than a day must not leave numbers that every other process takes for invalid.
#[tokio::test]
async fn term_or_epoch_a_day_ahead_of_redis_clock_is_not_written() {
    let server = RedisServer::start().await;
    let store = redis_store(&server.url(), "p");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let (near, far) = (now + 23 * 3_600_000, now + 25 * 3_600_000);
    for beyond in [far, 1 << 63, u64::MAX] {
        let claim = store.claim_term(&incarnation("c"), Term(beyond), LONG).await;
        assert!(matches!(&claim, Err(FleetStoreError::Away(why)) if why.contains("clock")), "{claim:?}");
        let assigned = store.assign(Term(1), &[owner(0, "a", "1", beyond)]).await;
        assert!(
            matches!(&assigned, Err(FleetStoreError::Away(why)) if why.contains("clock")),
            "{assigned:?}"
        );
    }
    assert_eq!(server.command::<u64>(&["DBSIZE"]).await, 0, "nothing was written");
    let claim = store.claim_term(&incarnation("c"), Term(near), LONG).await.unwrap();
    assert_eq!(claim, TermClaim::Acting(Term(near)));
    assert_eq!(store.assign(Term(near), &[owner(0, "a", "1", near)]).await.unwrap(), [OwnerWrite::Written]);
}

#[tokio::test]
async fn repair_removes_exactly_what_no_program_of_the_fleet_writes() {
    const MAX: &str = "9223372036854775808";
    let server = RedisServer::start().await;
    let store = redis_store(&server.url(), "p");
    // What a live fleet has.
    store.claim_term(&incarnation("c"), Term(7), LONG).await.unwrap();
    store.set_shard_total(Term(7), 3).await.unwrap();
    store.grant_lease(Term(7), &worker("w", "1"), LONG).await.unwrap();
    store.assign(Term(7), &[owner(0, "w", "1", 5), owner(1, "w", "1", 5)]).await.unwrap();
    store.fence(Term(7)).await.unwrap();
    let entry = [HistoryText { number: 1, text: "x".to_owned() }];
    store.append_history(&incarnation("c"), false, &entry).await.unwrap();
    assert_eq!(store.repair(true).await.unwrap(), [], "valid records stay");
    let acting = store.acting().await.unwrap().unwrap();
    assert_eq!((acting.holder, acting.term), (incarnation("c"), Some(Term(7))));

    let poison: [(&str, &[&str]); 10] = [
        ("{p}:term", &["HSET", "{p}:term", "term", MAX]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "term", MAX, "total", "-1"]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "budget_total", "1"]),
        ("{p}:history", &["SET", "{p}:history", "x"]),
        ("{p:worker:w}", &["HSET", "{p:worker:w}", "term", MAX]),
        ("{p:worker:w}", &["HSET", "{p:worker:w}", "ttl_ms", "86400001"]),
        // Not in the list of workers.
        ("{p:worker:v}", &["SET", "{p:worker:v}", "x"]),
        ("{p:shard:0}", &["HSET", "{p:shard:0}", "epoch", MAX]),
        ("{p:shard:1}", &["HDEL", "{p:shard:1}", "worker"]),
        ("{p:shard:2}", &["SET", "{p:shard:2}", "x"]),
    ];
    for (key, command) in poison {
        server.command::<()>(command).await;
        let found = store.repair(false).await.unwrap();
        let keys: Vec<&str> = found.iter().map(|repair| repair.key.as_str()).collect();
        assert_eq!(keys, [key], "{command:?}");
        assert_eq!(store.repair(false).await.unwrap(), found, "looking changes nothing");
        assert_eq!(store.repair(true).await.unwrap(), found);
        assert_eq!(store.repair(false).await.unwrap(), [], "{command:?}");
        assert_eq!(store.load().await.unwrap().invalid, Vec::<String>::new());
    }
    // The fleet goes on: its own fields were kept.
    let held = store.renew_term(Term(7), &incarnation("c"), LONG).await.unwrap();
    assert_eq!(held, TermRenewal::Held { standby: false });
    let renewed = store.renew_lease(&worker("w", "1"), LONG, false).await.unwrap();
    assert!(matches!(renewed, LeaseRenewal::Held(_)), "{renewed:?}");
    let owners = [owner(0, "w", "1", 5), owner(1, "w", "1", 5), owner(2, "w", "1", 5)];
    assert_eq!(store.assign(Term(7), &owners).await.unwrap(), vec![OwnerWrite::Written; 3]);
}

#[tokio::test]
async fn how_heads_are_signed_is_kept_until_it_is_forgotten_on_purpose() {
    let server = RedisServer::start().await;
    let store = redis_store(&server.url(), "p");
    let signing = HeadSigning { by: Some(HeadKeyId([1, 2, 3, 4])), required: true };
    store.save_head_signing(Term(1), signing).await.unwrap();
    assert_eq!(store.repair(true).await.unwrap(), []);
    assert_eq!(store.load().await.unwrap().head_signing, signing);
    store.forget_head_signing().await.unwrap();
    assert_eq!(store.load().await.unwrap().head_signing, HeadSigning::default());
}

/// Ends of leases and of a hold of the term that no renewal can have written: a clock was set back, or another program wrote.
#[tokio::test]
async fn lease_or_hold_that_ends_later_than_its_ttl_from_now_lapses_after_its_ttl() {
    let server = RedisServer::start().await;
    let store = redis_store(&server.url(), "p");
    for ahead_ms in [10_000, 3_600_000, 250_000_000_000_000_u64] {
        server.command::<()>(&["FLUSHALL"]).await;
        store.claim_term(&incarnation("a"), Term(1), SHORT).await.unwrap();
        store.grant_lease(Term(1), &worker("w", "1"), SHORT).await.unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        for key in ["{p}:term", "{p:worker:w}"] {
            server.command::<()>(&["HSET", key, "expires_at_ms", &(now + ahead_ms).to_string()]).await;
        }
        let TermClaim::HeldBy { remaining, .. } =
            store.claim_term(&incarnation("b"), Term(1), LONG).await.unwrap()
        else {
            panic!("the term was free")
        };
        assert!(remaining <= SHORT, "{remaining:?}");
        let revoked = store.revoke_lease(Term(1), &name("w"), &incarnation("1"), false).await.unwrap();
        assert!(matches!(revoked, Revocation::StillLive(left) if left <= SHORT), "{revoked:?}");
        lapse().await;
        let claim = store.claim_term(&incarnation("b"), Term(1), LONG).await.unwrap();
        assert_eq!(claim, TermClaim::Acting(Term(2)));
        let revoked = store.revoke_lease(Term(1), &name("w"), &incarnation("1"), false).await.unwrap();
        assert_eq!(revoked, Revocation::Revoked);
    }
}

#[tokio::test]
async fn two_bots_share_a_redis() {
    let server = RedisServer::start().await;
    let (one, other) = (redis_store(&server.url(), "one"), redis_store(&server.url(), "other"));
    one.set_shard_total(Term(1), 1).await.unwrap();
    one.assign(Term(1), &[owner(0, "a", "1", 9)]).await.unwrap();
    assert_eq!(other.load().await.unwrap().shard_total, None);
    assert_eq!(other.assign(Term(1), &[owner(0, "a", "1", 1)]).await.unwrap(), [OwnerWrite::Written]);
    assert_eq!(one.load().await.unwrap().owners.into_values().next().unwrap().epoch, Epoch(9));
}

#[tokio::test]
async fn a_sentinel_fails_over() {
    let mut sentinel = RedisSentinel::start().await;
    let store = redis_store(&sentinel.url(), "test");
    store.set_shard_total(Term(1), 4).await.unwrap();
    let before = store.identity().await.unwrap().0;
    sentinel.fail_over().await;
    assert_ne!(reached(&store).await, before);
    store.set_shard_total(Term(1), 5).await.unwrap();
}

/// Names of workers that another program has added, and more of them than are read at once.
#[tokio::test]
async fn foreign_names_in_the_list_of_workers_are_removed() {
    let server = RedisServer::start().await;
    let store = redis_store(&server.url(), "p");
    store.grant_lease(Term(1), &worker("w", "1"), LONG).await.unwrap();
    server.command::<u64>(&["SADD", "{p}:workers", "no name", "\u{e9}", "gone"]).await;
    assert_eq!(store.check().await.unwrap().invalid, Vec::<String>::new());
    assert_eq!(server.command::<Vec<String>>(&["SMEMBERS", "{p}:workers"]).await, ["w"]);

    let add = "for n = 1, 10500 do redis.call('SADD', KEYS[1], 'no name ' .. n) end";
    server.command::<()>(&["EVAL", add, "1", "{p}:workers"]).await;
    assert!(matches!(store.load().await, Err(FleetStoreError::InvalidRecord(key)) if key == "{p}:workers"));
    let workers = store.load().await.unwrap().workers;
    assert_eq!(workers.into_keys().map(|name| name.to_string()).collect::<Vec<_>>(), ["w"]);
}

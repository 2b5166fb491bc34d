//! What only Redis can do to us: lose everything, stop answering, hold what others wrote, fail over.

use std::time::{Duration, Instant};

use fleet_model::{Epoch, Term};
use fleet_store::{FleetStore, LeaseRenewal, RedisStore, StoreError, TermRenewal, Written};
use redis_fixture::{RedisSentinel, RedisServer};

use crate::{LONG, incarnation, owner, redis_store, worker};

/// Asks until the store can be reached again.
async fn reached(store: &RedisStore) -> String {
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
async fn a_redis_that_lost_everything_is_known_by_its_identity_and_written_again() {
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
    assert!(matches!(load, Err(StoreError::Away(_))), "{load:?}");
    assert!(matches!(renewal, Err(StoreError::Away(_))), "{renewal:?}");
    assert!(matches!(assigned, Err(StoreError::Away(_))), "{assigned:?}");
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
        assert!(matches!(error, StoreError::Away(_)), "{error:?}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn what_others_wrote_is_named_and_no_panic() {
    let server = RedisServer::start().await;
    let cases: [(&str, &[&str]); 9] = [
        ("{p}:term", &["SET", "{p}:term", "x"]),
        ("{p}:term", &["HSET", "{p}:term", "term", "many"]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "total", "-1"]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "budget_total", "1"]),
        ("{p}:fleet", &["HSET", "{p}:fleet", "last_ran_unix_ms", "never"]),
        ("{p}:workers", &["SADD", "{p}:workers", "no name"]),
        ("{p}:workers", &["SET", "{p}:workers", "x"]),
        ("{p:worker:w}", &["HSET", "{p:worker:w}", "incarnation", "1", "expires_at_ms", "soon"]),
        ("{p:shard:0}", &["HSET", "{p:shard:0}", "epoch", "7"]),
    ];
    for (key, command) in cases {
        server.command::<()>(&["FLUSHALL"]).await;
        server.command::<()>(&["SADD", "{p}:workers", "w"]).await;
        server.command::<()>(&["HSET", "{p}:fleet", "total", "1"]).await;
        if command[0] == "SET" {
            server.command::<()>(&["DEL", key]).await;
        }
        server.command::<()>(command).await;
        let error = redis_store(&server.url(), "p").load().await.unwrap_err();
        assert!(matches!(&error, StoreError::Alien(named) if named == key), "{command:?}: {error:?}");
    }
    server.command::<()>(&["HSET", "{p}:term", "term", "00"]).await;
    server.command::<()>(&["HSET", "{p:shard:0}", "epoch", "1e9"]).await;
    server.command::<()>(&["HSET", "{p:worker:w}", "incarnation", "1", "term", "x"]).await;
    let store = redis_store(&server.url(), "p");
    let claim = store.claim_term(&incarnation("c"), Term(1), LONG).await;
    assert!(matches!(claim, Err(StoreError::Alien(_))), "{claim:?}");
    // An unexpected record does not affect the others.
    server.command::<()>(&["SET", "{p:shard:2}", "x"]).await;
    let owners = [0, 1, 2].map(|shard| owner(shard, "a", "1", 1));
    let assigned = store.assign(Term(1), &owners).await.unwrap();
    assert_eq!(assigned, [Written::Invalid, Written::Yes, Written::Invalid]);
    let renewal = store.renew_lease(&worker("w", "1"), LONG, true).await;
    assert!(matches!(renewal, Err(StoreError::Alien(_))), "{renewal:?}");
}

#[tokio::test]
async fn two_bots_share_a_redis() {
    let server = RedisServer::start().await;
    let (one, other) = (redis_store(&server.url(), "one"), redis_store(&server.url(), "other"));
    one.set_shard_total(Term(1), 1).await.unwrap();
    one.assign(Term(1), &[owner(0, "a", "1", 9)]).await.unwrap();
    assert_eq!(other.load().await.unwrap().shard_total, None);
    assert_eq!(other.assign(Term(1), &[owner(0, "a", "1", 1)]).await.unwrap(), [Written::Yes]);
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

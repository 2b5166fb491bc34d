//! What only Redis can do to us: the owners of the fleet store, losing writes or everything, standing still, being full, holding what
//! others wrote.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use checkpoint::{
    CheckpointStore, CheckpointStoreError, ClaimAnswer, Cursor, Fenced, KEPT, NoteAnswer, PageRead,
    RecordKey, SET_ASIDE_KEPT, SetAsideStore, StepAnswer, WriteStep,
};
use fleet_model::{Position, Term};
use fleet_store::{FleetStore, OwnerRecord};
use redis::cmd;
use redis_fixture::{RedisCluster, RedisServer};

use super::{
    HIGHER, MINE, SHARD, Store, assert_holds, claim, fresh, redis_link, redis_store, set, steps, with_head,
    write,
};

const OWNER: &str = "{test:shard:3}";
const CHECKPOINT: &str = "{test:shard:3}:checkpoint";

async fn started() -> (RedisServer, Store) {
    let server = RedisServer::start().await;
    let store: Store = Arc::new(redis_store(&server.url(), "test"));
    (server, store)
}

/// The owner record as the fleet store writes it.
async fn assign(url: &str, epoch: fleet_model::Epoch) {
    let fleet = fleet_store::FleetRedisStore::new(redis_link(url), "test".parse().unwrap());
    let (worker, incarnation) = ("w".parse().unwrap(), "1".parse().unwrap());
    let owner = OwnerRecord { shard: SHARD, worker, incarnation, epoch };
    assert_eq!(fleet.assign(Term(1), &[owner]).await.unwrap(), [fleet_store::OwnerWrite::Written]);
}

async fn the_owner_fences(url: &str) {
    let store: Store = Arc::new(redis_store(url, "test"));
    assign(url, MINE).await;
    let serial = steps::first(&store).await;
    assign(url, HIGHER).await;
    // The new owner has not claimed yet.
    assert_eq!(store.claim(SHARD, MINE).await.unwrap(), ClaimAnswer::Outranked(HIGHER));
    for step in [set(&[(RecordKey::Core(1), "late")]), fresh(set(&[]))] {
        let written = store.write(SHARD, MINE, serial, &step).await.unwrap();
        assert_eq!(written, StepAnswer::Outranked(HIGHER));
    }
    let read = store.read(SHARD, MINE, serial, Cursor::START).await.unwrap();
    assert_eq!(read, PageRead::Outranked(HIGHER));
    assert_eq!(claim(&store, HIGHER).await.serial, serial);
    let freshness = store.freshness(SHARD).await.unwrap().unwrap();
    assert_eq!((freshness.epoch, freshness.records), (HIGHER, 3));
}

#[tokio::test]
async fn the_fleet_stores_owner_fences_before_it_claims() {
    let server = RedisServer::start().await;
    the_owner_fences(&server.url()).await;
}

#[tokio::test]
async fn the_owner_is_in_the_same_slot_of_a_cluster() {
    let cluster = RedisCluster::start().await;
    the_owner_fences(&cluster.url()).await;
}

#[tokio::test]
async fn emptied_redis_is_noticed_and_written_again() {
    let (server, store) = started().await;
    let serial = steps::first(&store).await;
    server.command::<()>(&["FLUSHALL"]).await;
    let read = store.read(SHARD, MINE, serial, Cursor::START).await.unwrap();
    assert_eq!(read, PageRead::Lost { serial: 0 });
    let step = set(&[(RecordKey::Core(1), "change")]);
    assert_eq!(store.write(SHARD, MINE, serial, &step).await.unwrap(), StepAnswer::Lost { serial: 0 });
    assert_eq!(server.command::<u64>(&["DBSIZE"]).await, 0, "nothing was written");
    let all = fresh(with_head(set(&[(RecordKey::Core(1), "all")]), "head"));
    let serial = write(&store, serial, all).await;
    assert_holds(&store, serial, &[("c:1", "all")]).await;
}

#[tokio::test]
async fn loss_of_the_last_writes_is_noticed_and_repaired() {
    let (server, store) = started().await;
    let link = redis_link(&server.url());
    let then = steps::first(&store).await;
    let dump: Vec<u8> = link.command(cmd("DUMP").arg(CHECKPOINT)).await.unwrap();
    let removal = WriteStep { remove: vec![RecordKey::Pending(Position::new(1, 7))], ..WriteStep::default() };
    let serial = write(&store, then, removal).await;
    let serial = write(&store, serial, with_head(set(&[(RecordKey::Core(2), "new")]), "head 2")).await;
    link.command::<()>(cmd("RESTORE").arg(CHECKPOINT).arg(0).arg(dump).arg("REPLACE")).await.unwrap();
    let step = set(&[(RecordKey::Core(3), "change")]);
    assert_eq!(store.write(SHARD, MINE, serial, &step).await.unwrap(), StepAnswer::Lost { serial: then });
    assert_holds(&store, then, &steps::FIRST).await;
    let serial = write(&store, serial, fresh(set(&[(RecordKey::Core(2), "all")]))).await;
    assert_eq!(serial, then + 3, "above what the store forgot");
    assert_holds(&store, serial, &[("c:2", "all")]).await;
}

#[tokio::test]
async fn a_claim_that_redis_lost_is_noticed() {
    let (server, store) = started().await;
    let link = redis_link(&server.url());
    let serial = steps::first(&store).await;
    let dump: Vec<u8> = link.command(cmd("DUMP").arg(CHECKPOINT)).await.unwrap();
    assert_eq!(claim(&store, HIGHER).await.serial, serial);
    link.command::<()>(cmd("RESTORE").arg(CHECKPOINT).arg(0).arg(dump).arg("REPLACE")).await.unwrap();
    let step = set(&[(RecordKey::Core(3), "change")]);
    assert_eq!(store.write(SHARD, HIGHER, serial, &step).await.unwrap(), StepAnswer::Lost { serial });
    let written = store.write(SHARD, HIGHER, serial, &fresh(step)).await.unwrap();
    assert_eq!(written, StepAnswer::Yes { serial: serial + 1 });
    assert_eq!(store.claim(SHARD, MINE).await.unwrap(), ClaimAnswer::Outranked(HIGHER));
}

#[tokio::test]
async fn a_full_redis_writes_nothing_of_a_step() {
    let (server, store) = started().await;
    let serial = steps::first(&store).await;
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let step = WriteStep {
        remove: vec![RecordKey::Pending(Position::new(1, 7))],
        ..with_head(set(&[(RecordKey::Core(1), "newer")]), "head 2")
    };
    let full = store.write(SHARD, MINE, serial, &step).await;
    assert!(matches!(&full, Err(CheckpointStoreError::Away(words)) if words.contains("OOM")), "{full:?}");
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_holds(&store, serial, &steps::FIRST).await;
    assert_eq!(write(&store, serial, step).await, serial + 1);
}

#[tokio::test]
async fn a_redis_that_stands_still_is_away_by_the_deadline() {
    let (server, store) = started().await;
    let serial = steps::first(&store).await;
    server.pause();
    let asked = Instant::now();
    let step = set(&[(RecordKey::Core(1), "late")]);
    let (claim, written, read, freshness) = tokio::join!(
        store.claim(SHARD, MINE),
        store.write(SHARD, MINE, serial, &step),
        store.read(SHARD, MINE, serial, Cursor::START),
        store.freshness(SHARD),
    );
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(matches!(claim, Err(CheckpointStoreError::Away(_))), "{claim:?}");
    assert!(matches!(written, Err(CheckpointStoreError::Away(_))), "{written:?}");
    assert!(matches!(read, Err(CheckpointStoreError::Away(_))), "{read:?}");
    assert!(matches!(freshness, Err(CheckpointStoreError::Away(_))), "{freshness:?}");
    server.resume();
    // Whether the step was written is not known, and the next answer tells.
    let deadline = Instant::now() + Duration::from_secs(20);
    let told = loop {
        match store.write(SHARD, MINE, serial, &step).await {
            Ok(told) => break told,
            Err(error) => assert!(Instant::now() < deadline, "still {error}"),
        }
    };
    assert!(
        matches!(told, StepAnswer::Yes { serial: now } | StepAnswer::Lost { serial: now } if now == serial + 1),
        "{told:?}"
    );
    assert_holds(&store, serial + 1, &[("c:1", "late"), ("h:1", "channels"), ("p:1:7", "pending")]).await;
}

#[tokio::test]
async fn a_checkpoint_is_kept_for_an_hour_after_the_last_touch() {
    let (server, store) = started().await;
    let link = redis_link(&server.url());
    let serial = steps::first(&store).await;
    // Looks, and lets it end soon, so that the next look sees who renewed it.
    let kept = async || {
        let left: i64 = link.command(cmd("PTTL").arg(CHECKPOINT)).await.unwrap();
        link.command::<()>(cmd("PEXPIRE").arg(CHECKPOINT).arg(60_000)).await.unwrap();
        let most = KEPT.as_millis() as i64;
        (most - 30_000..=most).contains(&left)
    };
    assert!(kept().await, "after the first writes");
    let serial = write(&store, serial, set(&[(RecordKey::Core(1), "newer")])).await;
    assert!(kept().await, "after a write");
    claim(&store, HIGHER).await;
    assert!(kept().await, "after a claim");
    store.write(SHARD, HIGHER, serial, &fresh(set(&[]))).await.unwrap();
    assert!(kept().await, "after a fresh write");
    store.freshness(SHARD).await.unwrap();
    store.read(SHARD, HIGHER, serial + 1, Cursor::START).await.unwrap();
    assert!(!kept().await, "reading alone does not keep it");
    let claimed = format!("{CHECKPOINT}:claim");
    let mut keys: Vec<String> = server.command(&["KEYS", "*"]).await;
    keys.sort();
    assert_eq!(keys, [CHECKPOINT, &claimed], "one key for the checkpoint, one for its claim");
    let left: i64 = link.command(cmd("PTTL").arg(&claimed)).await.unwrap();
    assert!((1..=KEPT.as_millis() as i64).contains(&left), "the claim expires too: {left}");
}

#[tokio::test]
async fn malformed_records_are_named_without_a_panic() {
    let (server, store) = started().await;
    let cases: [&[&str]; 12] = [
        &["HSET", CHECKPOINT, ".epoch", "9223372036854775808"],
        &["HSET", CHECKPOINT, ".epoch", "1999999999999999"],
        &["HSET", OWNER, "epoch", "18446744073709551615"],
        &["SET", CHECKPOINT, "x"],
        &["RPUSH", CHECKPOINT, "x"],
        &["HSET", CHECKPOINT, ".epoch", "1e9"],
        &["HSET", CHECKPOINT, ".epoch", "007"],
        &["HSET", CHECKPOINT, ".serial", "-1"],
        &["HSET", CHECKPOINT, ".serial", "9999999999999999"],
        &["HSET", CHECKPOINT, ".written_at_ms", "soon"],
        &["HSET", OWNER, "epoch", "high"],
        &["SET", OWNER, "x"],
    ];
    for command in cases {
        server.command::<()>(&["FLUSHALL"]).await;
        server.command::<()>(command).await;
        let before = server.command::<Vec<String>>(&["KEYS", "*"]).await;
        let claim = store.claim(SHARD, MINE).await.map(drop);
        let written = store.write(SHARD, MINE, 0, &fresh(set(&[]))).await.map(drop);
        let read = store.read(SHARD, MINE, 0, Cursor::START).await.map(drop);
        let freshness = store.freshness(SHARD).await.map(drop);
        for answer in [claim, written, read, freshness] {
            assert!(
                matches!(&answer, Err(CheckpointStoreError::Unexpected(named)) if named == CHECKPOINT),
                "{command:?}: {answer:?}"
            );
        }
        assert_eq!(server.command::<Vec<String>>(&["KEYS", "*"]).await, before, "nothing was written");
    }
    server.command::<()>(&["FLUSHALL"]).await;
    let serial = steps::first(&store).await;
    server.command::<()>(&["HSET", CHECKPOINT, ".total", "4294967296"]).await;
    assert!(
        matches!(store.freshness(SHARD).await, Err(CheckpointStoreError::Unexpected(_))),
        "no total of ours"
    );
    server.command::<()>(&["HSET", CHECKPOINT, "z:1", "foreign"]).await;
    let records = super::records(&*store, MINE, serial).await;
    assert_eq!(
        records["z:1"], "foreign",
        "the reader rejects a field with an invalid record key, not the store"
    );
    assert!("z:1".parse::<RecordKey>().is_err());

    // 70 MB: more than any record or head has. Neither leaves Redis.
    server.command::<()>(&["SETRANGE", "large", "69999999", "a"]).await;
    let set = "redis.call('HSET', KEYS[1], ARGV[1], redis.call('GET', KEYS[2]))";
    server.command::<()>(&["EVAL", set, "2", CHECKPOINT, "large", "g:1"]).await;
    let records = super::records(&*store, MINE, serial).await;
    assert!(records["g:1"].is_empty() && records["z:1"] == "foreign");
    server.command::<()>(&["EVAL", set, "2", CHECKPOINT, "large", ".head"]).await;
    assert!(
        matches!(store.claim(SHARD, MINE).await, Err(CheckpointStoreError::Unexpected(named)) if named == CHECKPOINT)
    );
}

#[tokio::test]
async fn repair_removes_a_checkpoint_that_no_worker_has_written() {
    let (server, store) = started().await;
    let redis = redis_store(&server.url(), "test");
    let slot = SHARD.slot();
    assert_eq!(redis.repair(slot, true).await.unwrap(), []);
    let serial = steps::first(&store).await;
    assert_eq!(redis.repair(slot, true).await.unwrap(), [], "a valid one stays");
    assert_holds(&store, serial, &steps::FIRST).await;
    for command in [
        &["HSET", CHECKPOINT, ".epoch", "9223372036854775808"],
        &["HSET", CHECKPOINT, ".serial", "999999999999999"],
        &["HSET", CHECKPOINT, ".written_at_ms", "soon"],
    ] {
        server.command::<()>(command).await;
        let found = redis.repair(slot, false).await.unwrap();
        assert!(found.len() == 1 && found[0].0 == CHECKPOINT, "{command:?}: {found:?}");
        assert_eq!(redis.repair(slot, true).await.unwrap(), found);
        // Its owner writes it again.
        let step = fresh(with_head(set(&[(RecordKey::Core(1), "all")]), "head"));
        let serial = write(&store, 0, step).await;
        assert_holds(&store, serial, &[("c:1", "all")]).await;
    }
    let others = ["notes", "aside", "aside:payloads"].map(|name| format!("{OWNER}:{name}"));
    for key in others.iter().map(String::as_str).chain([CHECKPOINT]) {
        server.command::<()>(&["DEL", key]).await;
        server.command::<()>(&["SET", key, "x"]).await;
        let found = redis.repair(slot, true).await.unwrap();
        assert!(found.len() == 1 && found[0].0 == key, "{key}: {found:?}");
        assert_eq!(server.command::<u64>(&["EXISTS", key]).await, 0);
    }
}

#[tokio::test]
async fn two_bots_share_a_redis() {
    let server = RedisServer::start().await;
    let (one, other) = (redis_store(&server.url(), "one"), redis_store(&server.url(), "other"));
    one.claim(SHARD, HIGHER).await.unwrap();
    assert!(matches!(other.claim(SHARD, MINE).await.unwrap(), ClaimAnswer::Yours(_)));
}

#[tokio::test]
async fn notes_and_set_aside_events_are_fenced_and_expire_by_redis_time() {
    let server = RedisServer::start().await;
    let store = redis_store(&server.url(), "test");
    let at = Position { session: 1, sequence: 7 };
    let summary = checkpoint::SetAsideSummary {
        at,
        name: "A NAME WITH SPACES".to_owned(),
        received_at_unix_ms: 1,
        set_aside_at_unix_ms: 2,
        noted: 2,
    };
    let event = checkpoint::SetAside { summary, text: "{}".into() };
    store.note(SHARD, MINE, at, 1).await.unwrap();
    store.set_aside(SHARD, MINE, &event).await.unwrap();
    assert_eq!(store.get_aside(SHARD.slot(), at).await.unwrap(), Some(event.clone()));
    for (key, kept) in [("notes", KEPT), ("aside", SET_ASIDE_KEPT), ("aside:payloads", SET_ASIDE_KEPT)] {
        let left: u64 = server.command(&["PTTL", &format!("{OWNER}:{key}")]).await;
        assert!(u128::from(left).abs_diff(kept.as_millis()) < 10_000, "{key} is kept for {left} ms");
    }
    assign(&server.url(), HIGHER).await;
    assert_eq!(store.note(SHARD, MINE, at, 9).await.unwrap(), NoteAnswer::Outranked(HIGHER));
    assert_eq!(store.set_aside(SHARD, MINE, &event).await.unwrap(), Fenced::Outranked(HIGHER));
    // Set aside for too long: it goes, with its payload.
    let aside = format!("{OWNER}:aside");
    server.command::<()>(&["HSET", &aside, "1:7", "1000 1 2 2 X"]).await;
    assert_eq!(store.list_aside(SHARD.slot()).await.unwrap(), []);
    assert_eq!(store.get_aside(SHARD.slot(), at).await.unwrap(), None);
    assert_eq!(server.command::<u64>(&["EXISTS", &aside, &format!("{aside}:payloads")]).await, 0);
    // What others wrote there is told, and left alone.
    server.command::<()>(&["HSET", &aside, "1:7", "nonsense"]).await;
    for refused in
        [store.list_aside(SHARD.slot()).await.err(), store.set_aside(SHARD, HIGHER, &event).await.err()]
    {
        assert!(matches!(refused, Some(CheckpointStoreError::Unexpected(_))), "{refused:?}");
    }
    assert_eq!(server.command::<String>(&["HGET", &aside, "1:7"]).await, "nonsense");
}

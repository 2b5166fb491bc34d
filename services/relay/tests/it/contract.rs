//! The contract of [`RelayStore`], over every store there is.

use std::{sync::Arc, time::Duration};

use fleet_model::{Epoch, ShardKey, ShardSlot};
use redis_fixture::{RedisCluster, RedisSentinel, RedisServer, RedisUser};
use relay::{Appended, Caps, EntryId, MemoryRelay, RelayStore};

use super::{PATIENCE, SHARD, at, entries, entry, read_all, read_from, redis_relay};

type Store = Arc<dyn RelayStore>;

const EPOCH: Epoch = Epoch(10);

/// Runs every rule; each on streams of its own, named by a letter from `a` to `i`.
async fn all_rules(fresh: impl Fn(&str, Caps) -> Store) {
    each_is_there_once(fresh("a", Caps::default())).await;
    new_session_restarts_sequences(fresh("b", Caps::default())).await;
    a_lower_epoch_is_refused(fresh("c", Caps::default())).await;
    lost_writes_are_seen(fresh("d", Caps::default())).await;
    reading_goes_on_in_order(fresh("e", Caps::default())).await;
    reading_waits(fresh("f", Caps::default())).await;
    reader_of_a_store_that_lost_writes_goes_on(fresh("h", Caps::default())).await;
    numbers_lead_to_entries(fresh("i", Caps::default())).await;
    the_cap_shows(fresh("g", Caps { length: 20, ..Caps::default() })).await;
}

async fn each_is_there_once(store: Store) {
    let first = store.append(SHARD, EPOCH, None, &entries("A", 1, 1..=3)).await.unwrap();
    assert_eq!(first, Appended::Done { reached: Some(at(1, 3)), appended: 3, cut: 0 });
    let again = store.append(SHARD, EPOCH, None, &entries("A", 1, 2..=5)).await.unwrap();
    assert_eq!(again, Appended::Done { reached: Some(at(1, 5)), appended: 2, cut: 0 });
    // Another shard has positions of its own.
    store.append(ShardKey::new(4, 8), EPOCH, None, &entries("A", 1, 1..=1)).await.unwrap();
    let positions: Vec<_> = read_all(&*store, "all").await.into_iter().map(|(_, at)| at).collect();
    assert_eq!(positions, [at(1, 1), at(1, 2), at(1, 3), at(1, 4), at(1, 5), at(1, 1)]);
}

async fn new_session_restarts_sequences(store: Store) {
    store.append(SHARD, EPOCH, None, &entries("A", 5, 100..=101)).await.unwrap();
    store.append(SHARD, EPOCH, None, &entries("A", 6, 1..=2)).await.unwrap();
    // A late entry of the previous session is dropped.
    let late = store.append(SHARD, EPOCH, None, &entries("A", 5, 102..=102)).await.unwrap();
    assert_eq!(late, Appended::Done { reached: Some(at(6, 2)), appended: 0, cut: 0 });
    assert_eq!(read_all(&*store, "all").await.len(), 4);
}

async fn a_lower_epoch_is_refused(store: Store) {
    store.append(SHARD, EPOCH, None, &entries("A", 1, 1..=1)).await.unwrap();
    // Without an entry too: it says who relays the shard.
    let claimed = store.append(SHARD, Epoch(11), None, &[]).await.unwrap();
    assert_eq!(claimed, Appended::Done { reached: Some(at(1, 1)), appended: 0, cut: 0 });
    let stalled = store.append(SHARD, EPOCH, Some(at(1, 1)), &entries("A", 1, 2..=2)).await.unwrap();
    assert_eq!(stalled, Appended::Outranked(Epoch(11)));
    assert_eq!(read_all(&*store, "all").await.len(), 1);
}

async fn lost_writes_are_seen(store: Store) {
    let never = store.append(SHARD, EPOCH, Some(at(1, 9)), &entries("A", 1, 10..=10)).await.unwrap();
    assert_eq!(never, Appended::Lost { reached: None });
    store.append(SHARD, EPOCH, None, &entries("A", 1, 1..=4)).await.unwrap();
    let less = store.append(SHARD, EPOCH, Some(at(1, 9)), &entries("A", 1, 10..=10)).await.unwrap();
    assert_eq!(less, Appended::Lost { reached: Some(at(1, 4)) });
    let session = store.append(SHARD, EPOCH, Some(at(2, 1)), &entries("A", 2, 2..=2)).await.unwrap();
    assert_eq!(session, Appended::Lost { reached: Some(at(1, 4)) });
    let right = store.append(SHARD, EPOCH, Some(at(1, 4)), &entries("A", 1, 5..=5)).await.unwrap();
    assert_eq!(right, Appended::Done { reached: Some(at(1, 5)), appended: 1, cut: 0 });
}

async fn reading_goes_on_in_order(store: Store) {
    // More than a page, over two streams.
    for n in 0..100 {
        let (a, b) = (n * 3 + 1, n * 3 + 3);
        let mixed = [entry("A", at(1, a)), entry("A", at(1, a + 1)), entry("B", at(1, b))];
        store.append(SHARD, EPOCH, None, &mixed).await.unwrap();
    }
    let sequences: Vec<u64> = read_all(&*store, "all").await.iter().map(|(_, at)| at.sequence).collect();
    assert_eq!(sequences, (1..=300).collect::<Vec<_>>());
    let only: Vec<u64> = read_all(&*store, "B").await.iter().map(|(_, at)| at.sequence).collect();
    assert_eq!(only, (1..=100).map(|n| n * 3).collect::<Vec<_>>());
    assert!(read_all(&*store, "C").await.is_empty());

    // What goes in comes out.
    let page = read_from(&*store, "all", EntryId::default()).await;
    let first = &page.entries[0];
    assert_eq!((first.shard, first.content.clone()), (SHARD.slot(), entry("A", at(1, 1))));
    assert!(!page.cut);
    let newest = store.newest().await.unwrap();
    assert!(read_from(&*store, "all", newest).await.entries.is_empty());
}

async fn reading_waits(store: Store) {
    assert_eq!(store.newest().await.unwrap(), EntryId::default());
    let reader = store.reader();
    let reading =
        tokio::spawn(async move { reader.read(&"all".parse().unwrap(), EntryId::default(), PATIENCE).await });
    tokio::task::yield_now().await;
    store.append(SHARD, EPOCH, None, &entries("NEW", 1, 1..=1)).await.unwrap();
    let page = tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap().unwrap();
    assert_eq!(page.entries.len(), 1);
    // And ends without one.
    let newest = store.newest().await.unwrap();
    let none = store.read(&"all".parse().unwrap(), newest, Duration::from_millis(50)).await.unwrap();
    assert!(none.entries.is_empty() && !none.cut);
}

async fn reader_of_a_store_that_lost_writes_goes_on(store: Store) {
    for (empty, later) in [(true, 1), (false, 1), (false, 3_600_000)] {
        if !empty {
            store.append(SHARD, EPOCH, None, &entries("A", 1, 1..=3)).await.unwrap();
        }
        // A reader's position from an earlier store, whose clock was ahead.
        let newest = store.newest().await.unwrap();
        let cursor = EntryId { ms: newest.ms + later, number: newest.number + 2 };
        let page = read_from(&*store, "all", cursor).await;
        assert!(page.cut && page.entries.is_empty(), "the cut is reported");
        assert!(!read_from(&*store, "all", page.next).await.cut, "once");
        let sequence = newest.number + 10;
        store.append(SHARD, EPOCH, None, &entries("A", 1, sequence..=sequence)).await.unwrap();
        let page = read_from(&*store, "all", page.next).await;
        assert_eq!(page.entries.last().unwrap().content.position, at(1, sequence));
    }
}

async fn numbers_lead_to_entries(store: Store) {
    assert_eq!(store.locate(0).await.unwrap(), EntryId::default());
    assert_eq!(store.reached(&[SHARD.slot()]).await.unwrap(), [None]);
    for n in 0..12 {
        store.append(SHARD, EPOCH, None, &entries("A", 1, n * 50 + 1..=n * 50 + 50)).await.unwrap();
    }
    let generation = store.generation().await.unwrap();
    assert!(generation > 0);
    assert_eq!(store.reached(&[ShardSlot(7), SHARD.slot()]).await.unwrap(), [None, Some(at(1, 600))]);
    let newest = store.newest().await.unwrap();
    for behind in [1, 44, 255, 256, 257, 400, 599] {
        let number = newest.number - behind;
        let mut after = store.locate(number).await.unwrap();
        assert!(after.number <= number && number - after.number <= 600, "{after} for {number}");
        let mut found = Vec::new();
        while after < newest {
            let page = read_from(&*store, "all", after).await;
            assert!(!page.cut);
            found.extend(
                page.entries.into_iter().map(|entry| entry.id.number).filter(|found| *found > number),
            );
            after = page.next;
        }
        assert_eq!(found, (number + 1..=newest.number).collect::<Vec<_>>());
    }
    let lost = store.append(SHARD, EPOCH, Some(at(9, 9)), &[]).await.unwrap();
    assert!(matches!(lost, Appended::Lost { .. }));
    assert_ne!(store.generation().await.unwrap(), generation, "numbers may be given out again");
}

async fn the_cap_shows(store: Store) {
    store.append(SHARD, EPOCH, None, &entries("A", 1, 1..=1)).await.unwrap();
    let first = read_from(&*store, "all", EntryId::default()).await.entries[0].id;
    let mut cut = 0;
    for n in 0..40 {
        let more = entries("A", 1, n * 50 + 2..=n * 50 + 51);
        match store.append(SHARD, EPOCH, None, &more).await.unwrap() {
            Appended::Done { cut: gone, .. } => cut += gone,
            other => panic!("{other:?}"),
        }
    }
    let left = read_all(&*store, "all").await.len() as u64;
    assert_eq!(cut + left, 2_001);
    assert!((20..=200).contains(&left), "{left} are left");
    assert!(read_from(&*store, "all", first).await.cut);
    assert!(!read_from(&*store, "all", store.newest().await.unwrap()).await.cut);
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    all_rules(|_, caps| Arc::new(MemoryRelay::new(caps))).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let redis = RedisServer::start().await;
    all_rules(|prefix, caps| Arc::new(redis_relay(&redis.url(), &format!("{prefix}:"), caps))).await;
}

/// Each store on a server of its own: all have the default prefix, which the users of `deploy/redis/users.acl` may use.
#[tokio::test]
async fn a_member_keeps_the_contract() {
    let mut servers = Vec::new();
    for _ in 'a'..='i' {
        servers.push(RedisServer::start_with_users().await);
    }
    all_rules(|store, caps| {
        let server = &servers[usize::from(store.as_bytes()[0] - b'a')];
        Arc::new(redis_relay(&server.url_as(RedisUser::Member), "", caps))
    })
    .await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let redis = RedisCluster::start().await;
    all_rules(|prefix, caps| Arc::new(redis_relay(&redis.url(), &format!("{{{prefix}}}:"), caps))).await;
}

#[tokio::test]
async fn a_master_behind_sentinel_keeps_the_contract() {
    let redis = RedisSentinel::start().await;
    all_rules(|prefix, caps| Arc::new(redis_relay(&redis.url(), &format!("{prefix}:"), caps))).await;
}

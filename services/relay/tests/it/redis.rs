//! What only Redis has: keys of others, clocks, groups, restarts.

use std::time::Duration;

use fleet_model::Epoch;
use prometheus_client::{encoding::text::encode, registry::Registry};
use redis_fixture::RedisServer;
use relay::{Appended, Caps, EntryId, RelayMetrics, RelayStore, RunClaim, UNKNOWN, keeper};
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, SHARD, at, entries, entry, read_all, read_from, redis_relay};

const EPOCH: Epoch = Epoch(10);

#[tokio::test]
async fn entry_has_the_format_of_brokers() {
    let redis = RedisServer::start().await;
    let relay = redis_relay(&redis.url(), "", Caps::default());
    relay.append(SHARD, EPOCH, None, &entries("MESSAGE_CREATE", 1, 1..=1)).await.unwrap();
    let read: Vec<(String, Vec<Vec<u8>>)> = redis.command(&["XRANGE", "MESSAGE_CREATE", "-", "+"]).await;
    let (_, fields) = &read[0];
    assert_eq!(fields[0], b"data");
    let data: serde_json::Value = rmp_serde::from_slice(&fields[1]).unwrap();
    assert_eq!(data, serde_json::json!({ "shardId": 3, "payload": {} }));
}

#[tokio::test]
async fn emptied_redis_is_reported_as_lost_writes() {
    let mut redis = RedisServer::start().await;
    let relay = redis_relay(&redis.url(), "", Caps::default());
    relay.append(SHARD, EPOCH, None, &entries("A", 1, 1..=3)).await.unwrap();
    redis.restart().await;
    let lost = loop {
        if let Ok(lost) = relay.append(SHARD, EPOCH, Some(at(1, 3)), &entries("A", 1, 4..=4)).await {
            break lost;
        }
    };
    assert_eq!(lost, Appended::Lost { reached: None });
}

#[tokio::test]
async fn a_stream_with_later_ids_is_gone_on_with() {
    let redis = RedisServer::start().await;
    let relay = redis_relay(&redis.url(), "", Caps::default());
    let _: String = redis.command(&["XADD", "A", "99999999999999-7", "foreign", "1"]).await;
    relay.append(SHARD, EPOCH, None, &entries("A", 1, 1..=2)).await.unwrap();
    relay.append(SHARD, EPOCH, None, &entries("B", 1, 3..=3)).await.unwrap();
    let positions: Vec<_> = read_all(&relay, "all").await.into_iter().map(|(_, at)| at).collect();
    assert_eq!(positions, [at(1, 1), at(1, 2), at(1, 3)], "the foreign entry is skipped");
}

/// An epoch that no clock can have made must not keep a shard's events out for ever.
#[tokio::test]
async fn impossible_numbers_in_the_common_records_do_not_stop_the_relay() {
    let redis = RedisServer::start().await;
    let relay = redis_relay(&redis.url(), "", Caps::default());
    for (n, (key, field)) in
        [("altergolden:relay:3", "epoch"), ("altergolden:relay", "ms"), ("altergolden:relay", "number")]
            .into_iter()
            .enumerate()
    {
        for (m, value) in ["9223372036854775807", "many"].into_iter().enumerate() {
            redis.command::<()>(&["HSET", key, field, value]).await;
            let next = (n * 2 + m + 1) as u64;
            let appended = relay.append(SHARD, EPOCH, None, &entries("A", 1, next..=next)).await;
            assert!(
                matches!(appended, Ok(Appended::Done { appended: 1, .. })),
                "{field} {value}: {appended:?}"
            );
        }
    }
    // A possible one still does.
    redis.command::<()>(&["HSET", "altergolden:relay:3", "epoch", "11"]).await;
    let appended = relay.append(SHARD, EPOCH, None, &entries("A", 1, 9..=9)).await.unwrap();
    assert_eq!(appended, Appended::Outranked(Epoch(11)));
}

#[tokio::test]
async fn flood_of_new_names_makes_a_bounded_number_of_streams() {
    let redis = RedisServer::start().await;
    let relay = redis_relay(&redis.url(), "", Caps::default());
    let flood: Vec<_> = (1..=3_000).map(|n| entry(&format!("NEW_{n}"), at(1, n))).collect();
    for batch in flood.chunks(500) {
        let appended = relay.append(SHARD, EPOCH, None, batch).await.unwrap();
        assert!(matches!(appended, Appended::Done { appended: 500, .. }), "{appended:?}");
    }
    // Names of Discord have a stream of their own all the same, and so have those that came before the flood ended.
    let later = ["MESSAGE_CREATE", "NEW_1", "NEW_3000", "READY"];
    let later: Vec<_> = (3_001..).zip(later).map(|(n, name)| entry(name, at(1, n))).collect();
    relay.append(SHARD, EPOCH, None, &later).await.unwrap();
    let streams = async |pattern: &str| {
        let keys: Vec<String> = redis.command(&["KEYS", pattern]).await;
        keys.len()
    };
    assert_eq!(
        (streams("NEW_*").await, streams("MESSAGE_CREATE").await, streams("READY").await),
        (256, 1, 1)
    );
    let of = async |names: &str| read_all(&relay, names).await;
    assert_eq!(of("NEW_1").await.len(), 2);
    assert_eq!(of(UNKNOWN).await.len(), 3_000 - 256 + 1);
    let all: Vec<_> = of("all").await.into_iter().map(|(_, at)| at.sequence).collect();
    assert_eq!(all, (1..=3_004).collect::<Vec<_>>(), "each event once, in order");
}

#[tokio::test]
async fn key_that_is_not_a_stream_delays_no_other() {
    let redis = RedisServer::start().await;
    let relay = redis_relay(&redis.url(), "", Caps::default());
    let _: String = redis.command(&["SET", "B", "x"]).await;
    let batch = [entry("A", at(1, 1)), entry("B", at(1, 2)), entry("A", at(1, 3))];
    for _ in 0..2 {
        let appended = relay.append(SHARD, EPOCH, None, &batch).await.unwrap();
        assert!(matches!(appended, Appended::Done { reached: Some(reached), .. } if reached == at(1, 3)));
    }
    let all = [("A", at(1, 1)), (UNKNOWN, at(1, 2)), ("A", at(1, 3))];
    assert_eq!(read_all(&relay, "all").await, all.map(|(name, at)| (name.to_owned(), at)));
    // The stream for the others belongs to another program as well.
    redis.command::<u64>(&["DEL", UNKNOWN]).await;
    let _: String = redis.command(&["SET", UNKNOWN, "x"]).await;
    let batch = [entry("B", at(1, 4)), entry("A", at(1, 5))];
    relay.append(SHARD, EPOCH, None, &batch).await.unwrap();
    let positions: Vec<_> = read_all(&relay, "A").await.into_iter().map(|(_, at)| at).collect();
    assert_eq!(positions, [at(1, 1), at(1, 3), at(1, 5)]);
}

#[tokio::test]
async fn an_empty_stream_with_a_later_id_is_gone_on_with() {
    let redis = RedisServer::start().await;
    let relay = redis_relay(&redis.url(), "", Caps::default());
    let _: String = redis.command(&["XADD", "A", "99999999999999-7", "foreign", "1"]).await;
    let _: u64 = redis.command(&["XDEL", "A", "99999999999999-7"]).await;
    relay.append(SHARD, EPOCH, None, &entries("A", 1, 1..=2)).await.unwrap();
    assert_eq!(read_all(&relay, "all").await.len(), 2);
}

#[tokio::test]
async fn a_page_of_somebody_elses_entries_is_passed_over() {
    let redis = RedisServer::start().await;
    let relay = redis_relay(&redis.url(), "", Caps::default());
    relay.append(SHARD, EPOCH, None, &entries("A", 1, 1..=1)).await.unwrap();
    for _ in 0..300 {
        let _: String = redis.command(&["XADD", "A", "*", "foreign", "1"]).await;
    }
    relay.append(SHARD, EPOCH, None, &entries("A", 1, 2..=2)).await.unwrap();
    let mut after = EntryId::default();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let page = read_from(&relay, "all", after).await;
        assert!(page.next > after, "it goes on");
        after = page.next;
        seen.extend(page.entries.into_iter().map(|entry| entry.content.position));
    }
    assert_eq!(seen, [at(1, 1), at(1, 2)]);
}

#[tokio::test]
async fn reader_of_all_entries_misses_nothing_when_old_ones_are_trimmed() {
    let redis = RedisServer::start().await;
    let relay = redis_relay(&redis.url(), "", Caps { age: Duration::ZERO, ..Caps::default() });
    relay.append(SHARD, EPOCH, None, &entries("A", 1, 1..=10)).await.unwrap();
    let all = read_from(&relay, "all", EntryId::default()).await.entries;
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(keeper::run(relay.clone(), RelayMetrics::default(), || true, stop.clone()));
    let gone = async {
        while redis.command::<u64>(&["XLEN", "A"]).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("what is too old goes");
    stop.cancel();
    keeping.await.unwrap();
    assert!(!read_from(&relay, "all", all[9].id).await.cut);
    let behind = read_from(&relay, "all", all[8].id).await;
    assert!(behind.cut && behind.next >= all[9].id, "told once, and then it goes on");
    assert!(!read_from(&relay, "all", behind.next).await.cut);
}

fn shown(registry: &Registry, line: &str) -> Option<i64> {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    text.lines().find_map(|shown| shown.strip_prefix(line)?.trim().parse().ok())
}

/// Waits until a metric has a value.
pub(crate) async fn until_shown(registry: &Registry, line: &str, wanted: i64) {
    let shows = async {
        while shown(registry, line) != Some(wanted) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, shows).await;
    assert!(waited.is_ok(), "{line} is {:?}, not {wanted}", shown(registry, line));
}

#[tokio::test]
async fn trimmer_measures_groups_and_removes_old_entries() {
    let redis = RedisServer::start().await;
    let relay = redis_relay(&redis.url(), "", Caps { length: 10, ..Caps::default() });
    relay.append(SHARD, EPOCH, None, &entries("A", 1, 1..=4)).await.unwrap();
    for group in ["bots", "idle"] {
        let _: String = redis.command(&["XGROUP", "CREATE", "A", group, "0"]).await;
    }
    let _: redis::Value =
        redis.command(&["XREADGROUP", "GROUP", "bots", "one", "COUNT", "3", "STREAMS", "A", ">"]).await;

    let (metrics, stop) = (RelayMetrics::default(), CancellationToken::new());
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let keeping = tokio::spawn(keeper::run(relay.clone(), metrics, || true, stop.clone()));
    until_shown(&registry, r#"relay_group_lag{stream="A",group="bots"}"#, 1).await;
    until_shown(&registry, r#"relay_group_unacknowledged{stream="A",group="bots"}"#, 3).await;
    until_shown(&registry, r#"relay_group_cut_total{stream="A",group="bots"}"#, 0).await;
    // Redis has no count for a group that has never read.
    until_shown(&registry, r#"relay_group_lag{stream="A",group="idle"}"#, 4).await;
    stop.cancel();
    keeping.await.unwrap();

    // The cap bites: what the group had not read goes.
    relay.append(SHARD, EPOCH, None, &entries("A", 1, 5..=1_000)).await.unwrap();
    let left = read_all(&relay, "all").await.len() as i64;
    let (metrics, stop) = (RelayMetrics::default(), CancellationToken::new());
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let keeping = tokio::spawn(keeper::run(relay.clone(), metrics, || true, stop.clone()));
    until_shown(&registry, r#"relay_group_cut_total{stream="A",group="bots"}"#, 1_000 - left - 3).await;
    until_shown(&registry, r#"relay_group_lag{stream="A",group="bots"}"#, left).await;
    until_shown(&registry, r#"relay_group_cut_total{stream="A",group="idle"}"#, 1_000 - left).await;
    until_shown(&registry, r#"relay_group_lag{stream="A",group="idle"}"#, left).await;
    // A group that has caught up lags by nothing.
    let count = left.to_string();
    let _: redis::Value =
        redis.command(&["XREADGROUP", "GROUP", "bots", "one", "COUNT", &count, "STREAMS", "A", ">"]).await;
    until_shown(&registry, r#"relay_group_lag{stream="A",group="bots"}"#, 0).await;
    until_shown(&registry, r#"relay_group_cut_total{stream="A",group="bots"}"#, 1_000 - left - 3).await;
    stop.cancel();
    keeping.await.unwrap();

    // Then everything is too old.
    let old = redis_relay(&redis.url(), "", Caps { age: Duration::ZERO, ..Caps::default() });
    let after = read_from(&relay, "all", EntryId { ms: 1, number: 0 }).await.entries[0].id;
    let (metrics, stop) = (RelayMetrics::default(), CancellationToken::new());
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let keeping = tokio::spawn(keeper::run(old.clone(), metrics, || true, stop.clone()));
    let gone = async {
        while redis.command::<u64>(&["XLEN", "A"]).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("what is too old goes");
    stop.cancel();
    keeping.await.unwrap();
    assert!(read_from(&relay, "all", after).await.cut);
}

#[tokio::test]
async fn a_run_begins_with_empty_streams_and_groups_that_have_read_all() {
    let redis = RedisServer::start().await;
    let mut first = redis_relay(&redis.url(), "", Caps::default());
    assert_eq!(first.claim_for_one_run().await.unwrap(), RunClaim::Empty { removed: 0 });
    first.append(SHARD, EPOCH, None, &entries("A", 1, 1..=5)).await.unwrap();
    let _: String = redis.command(&["XGROUP", "CREATE", "A", "bots", "0"]).await;
    let _: String = redis.command(&["XADD", "gateway_send", "*", "data", "x"]).await;
    let cursor = first.newest().await.unwrap();

    let mut second = redis_relay(&redis.url(), "", Caps::default());
    assert_eq!(second.claim_for_one_run().await.unwrap(), RunClaim::Empty { removed: 6 });
    assert_eq!(redis.command::<u64>(&["XLEN", "A"]).await, 0);
    assert_eq!(redis.command::<u64>(&["XLEN", "gateway_send"]).await, 0);
    second.append(SHARD, Epoch(EPOCH.0 + 1), None, &entries("A", 2, 1..=1)).await.unwrap();
    // A reader with a cursor of before learns that entries are gone only if it had not read them.
    let page = read_from(&second, "all", cursor).await;
    assert_eq!((page.entries.len(), page.cut), (1, false));
    assert!(read_from(&second, "all", EntryId::default()).await.cut);

    // The keeper reports no entry as cut off unread, and keeps the run's claim.
    let (metrics, stop) = (RelayMetrics::default(), CancellationToken::new());
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let keeping = tokio::spawn(keeper::run(second, metrics, || true, stop.clone()));
    until_shown(&registry, r#"relay_group_lag{stream="A",group="bots"}"#, 1).await;
    until_shown(&registry, r#"relay_group_cut_total{stream="A",group="bots"}"#, 0).await;
    stop.cancel();
    keeping.await.unwrap();
    let mut third = redis_relay(&redis.url(), "", Caps::default());
    assert_eq!(third.claim_for_one_run().await.unwrap(), RunClaim::Empty { removed: 1 });
}

#[tokio::test]
async fn streams_of_a_fleet_that_keeps_its_state_are_not_emptied() {
    let redis = RedisServer::start().await;
    let mut run = redis_relay(&redis.url(), "", Caps::default());
    run.claim_for_one_run().await.unwrap();
    // A fleet that keeps its state goes on with the streams of the run.
    let fleet = redis_relay(&redis.url(), "", Caps::default());
    fleet.append(SHARD, EPOCH, None, &entries("A", 1, 1..=5)).await.unwrap();
    let (metrics, stop) = (RelayMetrics::default(), CancellationToken::new());
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let _: String = redis.command(&["XGROUP", "CREATE", "A", "bots", "0"]).await;
    let keeping = tokio::spawn(keeper::run(fleet, metrics, || true, stop.clone()));
    until_shown(&registry, r#"relay_group_lag{stream="A",group="bots"}"#, 5).await;
    stop.cancel();
    keeping.await.unwrap();

    let mut run = redis_relay(&redis.url(), "", Caps::default());
    assert_eq!(run.claim_for_one_run().await.unwrap(), RunClaim::Kept);
    assert_eq!(redis.command::<u64>(&["XLEN", "A"]).await, 5);
    let mut other = redis_relay(&redis.url(), "dev:", Caps::default());
    assert_eq!(other.claim_for_one_run().await.unwrap(), RunClaim::Empty { removed: 0 });
}

//! Commands of bots, as discord.js's brokers publish them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use fleet_model::ShardNumber;
use redis_fixture::RedisServer;
use relay::{
    Caps, RelayMetrics,
    commands::{self, CommandFailed, SendCommand},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, redis_relay};

/// Tells the test, and refuses payloads that say so.
struct Told(mpsc::UnboundedSender<(ShardNumber, Value)>);

#[async_trait]
impl SendCommand for Told {
    async fn send(&self, shard: ShardNumber, payload: Value, _: Instant) -> Result<(), CommandFailed> {
        let refuse = payload["d"]["refuse"].as_str().map(str::to_owned);
        self.0.send((shard, payload)).unwrap();
        match refuse.as_deref() {
            Some("good") => Err(CommandFailed::ForGood("a test".to_owned())),
            Some("now") => Err(CommandFailed::ForNow("a test".to_owned())),
            _ => Ok(()),
        }
    }
}

async fn publish(redis: &RedisServer, shard: u32, payload: &Value) {
    let data = rmp_serde::to_vec(&json!({ "shardId": shard, "payload": payload })).unwrap();
    let client = ::redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut cmd = ::redis::cmd("XADD");
    cmd.arg("gateway_send").arg("*").arg("data").arg(data);
    let _: String = cmd.query_async(&mut connection).await.unwrap();
}

#[tokio::test]
async fn commands_go_out_in_order_and_what_can_not_go_holds_up_its_own_shard_alone() {
    let redis = RedisServer::start().await;
    let presence = json!({ "op": 3, "d": { "status": "idle" } });
    // Long before any worker is there: too old.
    let _: String = redis.command(&["XADD", "gateway_send", "1-1", "data", "x"]).await;
    let client = ::redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let data = rmp_serde::to_vec(&json!({ "shardId": 7, "payload": presence })).unwrap();
    let _: String = ::redis::cmd("XADD")
        .arg("gateway_send")
        .arg("2-1")
        .arg("data")
        .arg(data)
        .query_async(&mut connection)
        .await
        .unwrap();
    publish(&redis, 2, &presence).await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let (acts, stop) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
    let worker = |name: &str, acts: Arc<AtomicBool>| {
        let relay = redis_relay(&redis.url(), "", Caps::default());
        let (send, metrics) = (Arc::new(Told(told.clone())), RelayMetrics::default());
        let acts = move || acts.load(Ordering::SeqCst);
        tokio::spawn(commands::run(relay, name.parse().unwrap(), send, metrics, acts, stop.clone()))
    };
    let first = worker("one", acts.clone());
    let mut next = async || tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, (ShardNumber(2), presence.clone()), "the older ones are given up");

    let waits = json!({ "op": 4, "d": { "refuse": "now" } });
    let behind = json!({ "op": 4, "d": { "behind": "it" } });
    let for_good = json!({ "op": 9, "d": { "refuse": "good" } });
    publish(&redis, 0, &waits).await;
    publish(&redis, 0, &behind).await;
    assert_eq!(next().await.1, waits);
    publish(&redis, 1, &for_good).await;
    publish(&redis, 1, &presence).await;
    let mut of_one = Vec::new();
    while of_one.len() < 2 {
        match next().await {
            (ShardNumber(1), payload) => of_one.push(payload),
            again => assert_eq!(again, (ShardNumber(0), waits.clone()), "nothing goes before it"),
        }
    }
    assert_eq!(of_one, [for_good, presence]);

    // Another worker's turn: it takes over what waits, in order.
    acts.store(false, Ordering::SeqCst);
    let second = worker("two", Arc::new(AtomicBool::new(true)));
    assert_eq!(next().await, (ShardNumber(0), waits));
    stop.cancel();
    first.await.unwrap();
    second.await.unwrap();
    let left: u64 = redis.command(&["XLEN", "gateway_send"]).await;
    assert_eq!(left, 2, "all but those that wait are done with");
}

//! Commands of bots, as discord.js's brokers publish them.

use std::sync::Arc;

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
async fn each_command_is_handed_on_once_and_what_waits_comes_again() {
    let redis = RedisServer::start().await;
    let presence = json!({ "op": 3, "d": { "status": "idle" } });
    // Before any worker is there.
    publish(&redis, 2, &presence).await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let workers: Vec<_> = ["one", "two"]
        .map(|name| {
            let relay = redis_relay(&redis.url(), "", Caps::default());
            let send = Arc::new(Told(told.clone()));
            let metrics = RelayMetrics::default();
            tokio::spawn(commands::run(relay, name.parse().unwrap(), send, metrics, stop.clone()))
        })
        .into_iter()
        .collect();
    let mut next = async || tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, (ShardNumber(2), presence.clone()));

    let for_now = json!({ "op": 4, "d": { "refuse": "now" } });
    let for_good = json!({ "op": 9, "d": { "refuse": "good" } });
    publish(&redis, 0, &for_now).await;
    assert_eq!(next().await.1, for_now);
    publish(&redis, 0, &for_good).await;
    assert_eq!(next().await.1, for_good);
    let _: String = redis.command(&["XADD", "gateway_send", "*", "data", "garbage"]).await;
    publish(&redis, 1, &presence).await;
    assert_eq!(next().await, (ShardNumber(1), presence));
    // What could not go is claimed after a while, by whichever worker.
    assert_eq!(next().await.1, for_now);

    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
    let left: u64 = redis.command(&["XLEN", "gateway_send"]).await;
    assert_eq!(left, 1, "all but the one that waits are done with");
}

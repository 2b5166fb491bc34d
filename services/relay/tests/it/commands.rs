//! Commands of bots, as discord.js's brokers publish them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use fleet_model::ShardSlot;
use prometheus_client::registry::Registry;
use redis_fixture::RedisServer;
use relay::{
    Caps, RelayMetrics,
    commands::{self, CommandFailed, SendCommand},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{PATIENCE, redis::until_shown, redis_relay};

/// Tells the test, and refuses payloads that say so.
struct Told(mpsc::UnboundedSender<(ShardSlot, Value)>);

#[async_trait]
impl SendCommand for Told {
    async fn send(&self, shard: ShardSlot, payload: Value, _: Instant) -> Result<(), CommandFailed> {
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
    let mut connection = redis_fixture::connect(redis.url()).await.unwrap();
    let mut cmd = ::redis::cmd("XADD");
    cmd.arg("gateway_send").arg("*").arg("data").arg(data);
    let _: String = cmd.query_async(&mut connection).await.unwrap();
}

#[tokio::test]
async fn commands_are_sent_in_order_and_a_blocked_one_delays_only_its_shard() {
    let redis = RedisServer::start().await;
    let presence = json!({ "op": 3, "d": { "status": "idle" } });
    // Long before any worker is there: too old.
    let _: String = redis.command(&["XADD", "gateway_send", "1-1", "data", "x"]).await;
    let mut connection = redis_fixture::connect(redis.url()).await.unwrap();
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
    assert_eq!(next().await, (ShardSlot(2), presence.clone()), "the older ones are given up");

    let waits = json!({ "op": 8, "d": { "refuse": "now" } });
    let behind = json!({ "op": 8, "d": { "behind": "it" } });
    let for_good = json!({ "op": 9, "d": { "refuse": "good" } });
    publish(&redis, 0, &waits).await;
    publish(&redis, 0, &behind).await;
    assert_eq!(next().await.1, waits);
    publish(&redis, 1, &for_good).await;
    publish(&redis, 1, &behind).await;
    let mut of_one = Vec::new();
    while of_one.len() < 2 {
        match next().await {
            (ShardSlot(1), payload) => of_one.push(payload),
            again => assert_eq!(again, (ShardSlot(0), waits.clone()), "nothing goes before it"),
        }
    }
    assert_eq!(of_one, [for_good, behind]);

    // Another worker's turn: it takes over what waits, in order.
    acts.store(false, Ordering::SeqCst);
    let second = worker("two", Arc::new(AtomicBool::new(true)));
    assert_eq!(next().await, (ShardSlot(0), waits));
    stop.cancel();
    first.await.unwrap();
    second.await.unwrap();
    let left: u64 = redis.command(&["XLEN", "gateway_send"]).await;
    assert_eq!(left, 2, "all but those that wait are done with");
}

/// Lets commands through one at a time, as the test says.
struct Gated {
    open: tokio::sync::Semaphore,
    told: mpsc::UnboundedSender<(ShardSlot, Value)>,
    /// Shards whose commands pass at once.
    free: ShardSlot,
}

#[async_trait]
impl SendCommand for Gated {
    async fn send(&self, shard: ShardSlot, payload: Value, _: Instant) -> Result<(), CommandFailed> {
        if shard != self.free {
            self.open.acquire().await.unwrap().forget();
        }
        self.told.send((shard, payload)).unwrap();
        Ok(())
    }
}

async fn publish_all(redis: &RedisServer, commands: impl IntoIterator<Item = (u32, Value)>) {
    let mut connection = redis_fixture::connect(redis.url()).await.unwrap();
    let mut pipe = ::redis::pipe();
    for (shard, payload) in commands {
        let data = rmp_serde::to_vec(&json!({ "shardId": shard, "payload": payload })).unwrap();
        pipe.cmd("XADD").arg("gateway_send").arg("*").arg("data").arg(data).ignore();
    }
    pipe.query_async::<()>(&mut connection).await.unwrap();
}

async fn until_left(redis: &RedisServer, count: u64) {
    let left = async {
        while redis.command::<u64>(&["XLEN", "gateway_send"]).await != count {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("commands are acknowledged");
}

/// Shard 0 waits for the test, shard 1 does not.
fn gated(redis: &RedisServer) -> (Arc<Gated>, mpsc::UnboundedReceiver<(ShardSlot, Value)>) {
    let (told, heard) = mpsc::unbounded_channel();
    let gated = Arc::new(Gated { open: tokio::sync::Semaphore::new(0), told, free: ShardSlot(1) });
    let relay = redis_relay(&redis.url(), "", Caps::default());
    let running = commands::run(
        relay,
        "one".parse().unwrap(),
        gated.clone(),
        RelayMetrics::default(),
        || true,
        CancellationToken::new(),
    );
    tokio::spawn(running);
    (gated, heard)
}

#[tokio::test]
async fn newest_presence_is_sent() {
    let redis = RedisServer::start().await;
    let (gated, mut heard) = gated(&redis);
    let presence = |number: u32| json!({ "op": 3, "d": { "status": "online", "number": number } });
    let voice = |guild: u32, number: u32| json!({ "op": 4, "d": { "guild_id": guild, "number": number } });
    publish_all(&redis, (1..=100).map(|number| (0, presence(number)))).await;
    publish_all(&redis, (1..=100).map(|number| (0, voice(number % 3, number)))).await;
    // All but the newest and those being sent are finished.
    until_left(&redis, 8).await;
    gated.open.add_permits(8);
    let mut sent: Vec<Value> = Vec::new();
    for _ in 0..8 {
        sent.push(tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap().1);
    }
    let last = |of: &dyn Fn(&Value) -> bool| {
        sent.iter().filter(|payload| of(payload)).map(|payload| payload["d"]["number"].as_u64()).next_back()
    };
    assert_eq!(last(&|payload| payload["op"] == 3), Some(Some(100)));
    for (guild, newest) in [(0, 99), (1, 100), (2, 98)] {
        let of_guild = |payload: &Value| payload["op"] == 4 && payload["d"]["guild_id"] == guild;
        assert_eq!(last(&of_guild), Some(Some(newest)), "guild {guild}");
    }
    until_left(&redis, 0).await;
}

#[tokio::test]
async fn flood_for_one_shard_keeps_its_order_and_delays_no_other() {
    let redis = RedisServer::start().await;
    let (gated, mut heard) = gated(&redis);
    let members = |number: u32| json!({ "op": 8, "d": { "number": number } });
    publish_all(&redis, (0..1_000).map(|number| (0, members(number)))).await;
    publish_all(&redis, [(1, members(0)), (0, members(1_000))]).await;
    let first = tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert_eq!(first.0, ShardSlot(1));
    gated.open.add_permits(1_001);
    for number in 0..=1_000 {
        let sent = tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
        assert_eq!(sent, (ShardSlot(0), members(number)));
    }
    until_left(&redis, 0).await;
}

#[tokio::test]
async fn next_reader_takes_leftovers_first() {
    let redis = RedisServer::start().await;
    let members = |number: u32| json!({ "op": 8, "d": { "number": number } });
    let _: String =
        redis.command(&["XGROUP", "CREATE", "gateway_send", "altergolden", "0", "MKSTREAM"]).await;
    publish_all(&redis, (0..100).map(|number| (1, members(number)))).await;
    // The previous reader has just read some of them.
    let read = ["XREADGROUP", "GROUP", "altergolden", "zero", "COUNT", "80", "STREAMS", "gateway_send", ">"];
    let _: ::redis::Value = redis.command(&read).await;
    let (_gated, mut heard) = gated(&redis);
    for number in 0..100 {
        let sent = tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
        assert_eq!(sent, (ShardSlot(1), members(number)));
    }
}

#[tokio::test]
async fn stream_is_bounded_by_number_and_bytes() {
    let members = json!({ "op": 8, "d": {} });
    let data = |bytes| {
        rmp_serde::to_vec(&json!({ "shardId": 1, "payload": members, "x": "x".repeat(bytes) })).unwrap()
    };
    for (count, data, cut) in [(65_636, data(0), 100), (100, data(1024 * 1024), 50)] {
        let redis = RedisServer::start().await;
        let mut connection = redis_fixture::connect(redis.url()).await.unwrap();
        let mut pipe = ::redis::pipe();
        for _ in 0..count {
            pipe.cmd("XADD").arg("gateway_send").arg("*").arg("data").arg(&data).ignore();
        }
        pipe.query_async::<()>(&mut connection).await.unwrap();
        let (told, _heard) = mpsc::unbounded_channel();
        let (send, metrics) = (Arc::new(Told(told)), RelayMetrics::default());
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let relay = redis_relay(&redis.url(), "", Caps::default());
        let running =
            commands::run(relay, "one".parse().unwrap(), send, metrics, || true, CancellationToken::new());
        let running = AbortOnDropHandle::new(tokio::spawn(running));
        until_shown(&registry, r#"relay_commands_total{outcome="cut"}"#, cut).await;
        drop(running);
    }
}

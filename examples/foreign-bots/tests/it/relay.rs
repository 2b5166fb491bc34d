//! What the workers' relay writes to Redis, byte for byte, and what a bot in discord.js makes of it.

use redis::{
    aio::MultiplexedConnection,
    streams::{StreamId, StreamInfoGroupsReply, StreamPendingReply, StreamRangeReply},
};
use redis_fixture::RedisServer;
use serde_json::{Value, json};

/// The consumer group of the bots.
pub(crate) const GROUP: &str = "bot";

/// A connection that writes events as workers do.
#[derive(Clone)]
pub(crate) struct Relay {
    redis: MultiplexedConnection,
}

impl Relay {
    pub(crate) async fn connect(server: &RedisServer) -> Self {
        Self { redis: redis_fixture::connect(server.url()).await.unwrap() }
    }

    /// One dispatch event. `data` is what brokers reads; the fields beside it are the relay's own.
    pub(crate) async fn event(&self, shard: u32, payload: &Value) {
        let data = rmp_serde::to_vec_named(&json!({ "shardId": shard, "payload": payload })).unwrap();
        let shard = shard.to_string();
        let position = format!("1795715682997-{}", payload["s"]);
        let fields: [(&str, &[u8]); 7] = [
            ("data", &data),
            ("shard", shard.as_bytes()),
            ("guild", b"0"),
            ("position", position.as_bytes()),
            ("received_at", b"1795715682997"),
            ("late", b""),
            ("traceparent", b""),
        ];
        self.entry(payload["t"].as_str().unwrap(), &fields).await;
    }

    /// Any entry.
    pub(crate) async fn entry(&self, stream: &str, fields: &[(&str, &[u8])]) {
        let mut command = redis::cmd("XADD");
        command.arg(stream).arg("*");
        for (field, value) in fields {
            command.arg(field).arg(value);
        }
        let _: String = command.query_async(&mut self.redis.clone()).await.unwrap();
    }

    /// How many entries of a stream were begun with and are not acknowledged.
    pub(crate) async fn pending(&self, stream: &str) -> usize {
        let mut command = redis::cmd("XPENDING");
        let reply: StreamPendingReply =
            command.arg(stream).arg(GROUP).query_async(&mut self.redis.clone()).await.unwrap();
        match reply {
            StreamPendingReply::Data(data) => data.count,
            _ => 0,
        }
    }

    /// How many entries of a stream the bots have not been given yet; none when they have no group there.
    pub(crate) async fn unread(&self, stream: &str) -> Option<usize> {
        let reply: StreamInfoGroupsReply =
            redis::cmd("XINFO").arg("GROUPS").arg(stream).query_async(&mut self.redis.clone()).await.unwrap();
        reply.groups.iter().find(|group| group.name == GROUP)?.lag
    }

    /// What the entries of a stream hold in `data`.
    pub(crate) async fn data(&self, stream: &str) -> Vec<Value> {
        let reply: StreamRangeReply = redis::cmd("XRANGE")
            .arg(stream)
            .arg("-")
            .arg("+")
            .query_async(&mut self.redis.clone())
            .await
            .unwrap();
        let decode = |entry: &StreamId| {
            let data: Vec<u8> = entry.get("data").unwrap();
            rmp_serde::from_slice(&data).unwrap()
        };
        reply.ids.iter().map(decode).collect()
    }
}

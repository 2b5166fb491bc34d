//! Writes entries to Redis in the format of the workers' relay, and reads what a bot in discord.js did with them.

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

    /// Writes a dispatch event. The brokers library reads `data`; the other fields are the relay's.
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

    /// Writes any entry.
    pub(crate) async fn entry(&self, stream: &str, fields: &[(&str, &[u8])]) {
        let mut command = redis::cmd("XADD");
        command.arg(stream).arg("*");
        for (field, value) in fields {
            command.arg(field).arg(value);
        }
        let _: String = command.query_async(&mut self.redis.clone()).await.unwrap();
    }

    /// Returns the number of delivered but unacknowledged entries of a stream.
    pub(crate) async fn pending(&self, stream: &str) -> usize {
        let mut command = redis::cmd("XPENDING");
        let reply: StreamPendingReply =
            command.arg(stream).arg(GROUP).query_async(&mut self.redis.clone()).await.unwrap();
        match reply {
            StreamPendingReply::Data(data) => data.count,
            _ => 0,
        }
    }

    /// Returns the number of undelivered entries of a stream; `None` without a group.
    pub(crate) async fn unread(&self, stream: &str) -> Option<usize> {
        let reply: StreamInfoGroupsReply =
            redis::cmd("XINFO").arg("GROUPS").arg(stream).query_async(&mut self.redis.clone()).await.unwrap();
        reply.groups.iter().find(|group| group.name == GROUP)?.lag
    }

    /// Returns the `data` of a stream's entries.
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

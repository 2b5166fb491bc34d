//! What bots send to the gateway: the stream `gateway_send` of discord.js's brokers.
//!
//! All workers read it as one consumer group, so each command is taken by one of them, which hands it to whoever runs the shard. It is
//! acknowledged when it went out, was refused for good, or is too old; a worker that dies with it leaves it to another.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use fleet_model::{ShardNumber, WorkerId};
use redis::streams::StreamReadReply;
use redis_link::LinkError;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{EntryId, RedisRelay, RelayMetrics};

/// The stream.
const STREAM: &str = "gateway_send";

/// The workers' group.
const GROUP: &str = "altergolden";

/// Commands of one read: they go out side by side.
const PAGE: usize = 32;

/// How long a read waits.
const BLOCK: Duration = Duration::from_secs(1);

/// How long a command may take to go out.
const DEADLINE: Duration = Duration::from_secs(5);

/// Who has a command for so long is not there any more, or could not get rid of it.
const STALE: Duration = Duration::from_secs(10);

/// What could not be sent for so long is of no use any more.
const TOO_OLD: Duration = Duration::from_mins(1);

/// After an error.
const AGAIN: Duration = Duration::from_millis(500);

/// How commands get to whoever runs the shard.
#[async_trait]
pub trait SendCommand: Send + Sync + 'static {
    /// Sends a payload as discord.js has it: `{op, d}`.
    ///
    /// # Errors
    /// Whether to try again.
    async fn send(
        &self,
        shard: ShardNumber,
        payload: serde_json::Value,
        until: Instant,
    ) -> Result<(), CommandFailed>;
}

/// A command did not go out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandFailed {
    /// It never will: it makes no sense.
    #[error("{0}")]
    ForGood(String),
    /// It may, later.
    #[error("{0}")]
    ForNow(String),
}

#[derive(Deserialize)]
struct Command {
    #[serde(rename = "shardId")]
    shard_id: u32,
    payload: serde_json::Value,
}

/// Hands commands on until `stop`.
pub async fn run(
    relay: RedisRelay,
    worker: WorkerId,
    send: Arc<dyn SendCommand>,
    metrics: RelayMetrics,
    stop: CancellationToken,
) {
    let reader = Reader { relay: relay.apart(), worker, send, metrics };
    let mut said = false;
    let reading = async {
        loop {
            match reader.read().await {
                Ok(()) => said = false,
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(%error, "commands of bots can't be read; trying again");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    };
    stop.run_until_cancelled(reading).await;
}

struct Reader {
    relay: RedisRelay,
    worker: WorkerId,
    send: Arc<dyn SendCommand>,
    metrics: RelayMetrics,
}

impl Reader {
    fn stream(&self) -> String {
        self.relay.stream(STREAM)
    }

    async fn read(&self) -> Result<(), LinkError> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(self.stream()).arg(GROUP).arg(self.worker.as_str());
        claim.arg(STALE.as_millis() as u64).arg("0-0").arg("COUNT").arg(PAGE);
        let stale = match self.relay.link().command::<redis::Value>(&claim).await {
            Ok(claimed) => claimed_entries(&claimed),
            Err(LinkError::Refused(words)) if words.contains("NOGROUP") => {
                self.make_group().await?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        self.take(stale).await?;
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(self.worker.as_str()).arg("COUNT").arg(PAGE);
        read.arg("BLOCK").arg(BLOCK.as_millis() as u64).arg("STREAMS").arg(self.stream()).arg(">");
        let new: Option<StreamReadReply> = self.relay.link().command(&read).await?;
        let entries = new.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        self.take(entries.map(|entry| (entry.id, data(entry.map))).collect()).await
    }

    async fn make_group(&self) -> Result<(), LinkError> {
        let mut cmd = redis::cmd("XGROUP");
        // From its beginning: a bot may have been there first. What is too old is not sent.
        cmd.arg("CREATE").arg(self.stream()).arg(GROUP).arg("0").arg("MKSTREAM");
        match self.relay.link().command::<redis::Value>(&cmd).await {
            Err(LinkError::Refused(words)) if words.contains("BUSYGROUP") => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Sends them side by side, and acknowledges what is done with.
    async fn take(&self, entries: Vec<(String, Option<Bytes>)>) -> Result<(), LinkError> {
        let mut sending = tokio::task::JoinSet::new();
        for (id, data) in entries {
            let (send, metrics) = (self.send.clone(), self.metrics.clone());
            sending.spawn(async move { send_one(&*send, &metrics, &id, data.as_ref()).await.then_some(id) });
        }
        let done: Vec<String> = sending.join_all().await.into_iter().flatten().collect();
        if done.is_empty() {
            return Ok(());
        }
        for command in ["XACK", "XDEL"] {
            let mut cmd = redis::cmd(command);
            cmd.arg(self.stream());
            if command == "XACK" {
                cmd.arg(GROUP);
            }
            self.relay.link().command::<u64>(cmd.arg(&done)).await?;
        }
        Ok(())
    }
}

/// Sends one. Whether it is done with.
async fn send_one(send: &dyn SendCommand, metrics: &RelayMetrics, id: &str, data: Option<&Bytes>) -> bool {
    let command = data.and_then(|data| rmp_serde::from_slice::<Command>(data).ok());
    let Some(Command { shard_id, payload }) = command else {
        tracing::warn!(id, "a bot sent something to the gateway that can't be read");
        metrics.count_command("refused");
        return true;
    };
    let sent = send.send(ShardNumber(shard_id), payload, Instant::now() + DEADLINE).await;
    let (outcome, done) = match sent {
        Ok(()) => ("sent", true),
        Err(CommandFailed::ForGood(why)) => {
            tracing::warn!(
                id,
                shard.id = shard_id,
                why,
                "a bot sent something to the gateway that is refused"
            );
            ("refused", true)
        }
        Err(CommandFailed::ForNow(why)) if age(id) > TOO_OLD => {
            tracing::warn!(id, shard.id = shard_id, why, "a bot's command is given up");
            ("given_up", true)
        }
        // Whoever claims it next tries again.
        Err(CommandFailed::ForNow(why)) => {
            tracing::debug!(id, shard.id = shard_id, why, "a bot's command waits");
            ("waits", false)
        }
    };
    metrics.count_command(outcome);
    done
}

/// How old an entry is, by Redis's clock at the time and ours now.
fn age(id: &str) -> Duration {
    let made_at = id.parse().map_or(0, |id: EntryId| id.ms);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().saturating_sub(Duration::from_millis(made_at))
}

fn data(mut fields: HashMap<String, redis::Value>) -> Option<Bytes> {
    match fields.remove("data")? {
        redis::Value::BulkString(bytes) => Some(bytes.into()),
        _ => None,
    }
}

/// The entries of an XAUTOCLAIM's answer: its second part. One that was deleted meanwhile is nil there before 7.0.
fn claimed_entries(answer: &redis::Value) -> Vec<(String, Option<Bytes>)> {
    let Some(entries) = answer.as_sequence().and_then(|parts| parts.get(1)?.as_sequence()) else {
        return Vec::new();
    };
    let entry = |entry: &redis::Value| {
        let [id, fields] = entry.as_sequence()? else { return None };
        let id: String = redis::from_redis_value(id.clone()).ok()?;
        let fields: HashMap<String, redis::Value> = redis::from_redis_value(fields.clone()).ok()?;
        Some((id, data(fields)))
    };
    entries.iter().filter_map(entry).collect()
}

//! What bots send to the gateway: the stream `gateway_send` of discord.js's brokers.
//!
//! One worker of the fleet reads it, and hands each command to whoever runs the shard: those of one shard one after the other, in the
//! stream's order, those of different shards side by side. A command is acknowledged and deleted when it went out, was refused for
//! good, or is too old; a reader that dies with one leaves it to the next.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fleet_model::{ShardNumber, WorkerId};
use redis::streams::StreamReadReply;
use redis_link::LinkError;
use serde::Deserialize;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{EntryId, RedisRelay, RelayMetrics};

/// The stream.
const STREAM: &str = "gateway_send";

/// The workers' group.
const GROUP: &str = "altergolden";

/// Commands of one read.
const PAGE: usize = 32;

/// Commands of one shard that wait here; further ones wait in the stream until they are claimed.
const LANE: usize = 256;

/// Commands that wait here in all; then no more are read.
const AT_HAND: usize = 4_096;

/// How long a read waits.
const BLOCK: Duration = Duration::from_secs(1);

/// How long one try may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Who has a command for so long is not there any more.
const STALE: Duration = Duration::from_secs(10);

/// What could not be sent for so long is of no use any more.
const TOO_OLD: Duration = Duration::from_mins(1);

/// After an error, and between two tries.
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

/// Hands commands on until `stop`, whenever `acts` says that it is this process's turn.
pub async fn run(
    relay: RedisRelay,
    worker: WorkerId,
    send: Arc<dyn SendCommand>,
    metrics: RelayMetrics,
    acts: impl Fn() -> bool,
    stop: CancellationToken,
) {
    let reader =
        Arc::new(Reader { reading: relay.apart(), relay, worker, send, metrics, at_hand: Mutex::default() });
    let reading = async {
        let mut lanes = Lanes::default();
        let mut said = false;
        loop {
            if !acts() {
                // Whoever acts now claims what was not done with.
                lanes = Lanes::default();
                reader.at_hand().clear();
                tokio::time::sleep(BLOCK).await;
                continue;
            }
            match reader.read(&mut lanes).await {
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
    /// For what waits.
    reading: RedisRelay,
    /// For what does not.
    relay: RedisRelay,
    worker: WorkerId,
    send: Arc<dyn SendCommand>,
    metrics: RelayMetrics,
    /// What is in the lanes: it is not claimed again.
    at_hand: Mutex<HashSet<String>>,
}

/// A task for each shard that has a command here. They end with this.
#[derive(Default)]
struct Lanes {
    lanes: HashMap<u32, Lane>,
    tasks: JoinSet<()>,
}

struct Lane {
    queue: mpsc::Sender<Taken>,
    /// Commands that wait here, and the one that is being sent.
    at_hand: Arc<AtomicUsize>,
}

impl Lanes {
    /// Lets go of shards without a command: bots may name any number as a shard.
    fn tidy(&mut self) {
        self.lanes.retain(|_, lane| lane.at_hand.load(Ordering::Acquire) > 0);
        while self.tasks.try_join_next().is_some() {}
    }
}

struct Taken {
    id: String,
    shard: ShardNumber,
    payload: serde_json::Value,
}

impl Reader {
    fn at_hand(&self) -> MutexGuard<'_, HashSet<String>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self) -> String {
        self.relay.stream(STREAM)
    }

    async fn read(self: &Arc<Self>, lanes: &mut Lanes) -> Result<(), LinkError> {
        lanes.tidy();
        if self.at_hand().len() >= AT_HAND {
            tokio::time::sleep(AGAIN).await;
            return Ok(());
        }
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
        for (id, data) in stale {
            self.take(lanes, id, data.as_ref()).await?;
        }
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(self.worker.as_str()).arg("COUNT").arg(PAGE);
        read.arg("BLOCK").arg(BLOCK.as_millis() as u64).arg("STREAMS").arg(self.stream()).arg(">");
        let new: Option<StreamReadReply> = self.reading.link().command(&read).await?;
        for entry in new.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids) {
            self.take(lanes, entry.id, data(entry.map).as_ref()).await?;
        }
        Ok(())
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

    /// Puts a command into its shard's lane.
    async fn take(
        self: &Arc<Self>,
        lanes: &mut Lanes,
        id: String,
        data: Option<&Bytes>,
    ) -> Result<(), LinkError> {
        let command = data.and_then(|data| rmp_serde::from_slice::<Command>(data).ok());
        let Some(Command { shard_id, payload }) = command else {
            tracing::warn!(id, "a bot sent something to the gateway that can't be read");
            self.metrics.count_command("refused");
            return self.done(&id).await;
        };
        if !self.at_hand().insert(id.clone()) {
            return Ok(());
        }
        let taken = Taken { id, shard: ShardNumber(shard_id), payload };
        let lane = lanes.lanes.entry(shard_id).or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(LANE);
            let at_hand = Arc::new(AtomicUsize::new(0));
            lanes.tasks.spawn(self.clone().lane(waiting, at_hand.clone()));
            Lane { queue, at_hand }
        });
        lane.at_hand.fetch_add(1, Ordering::AcqRel);
        if let Err(full) = lane.queue.try_send(taken) {
            // It is claimed when it is stale.
            lane.at_hand.fetch_sub(1, Ordering::AcqRel);
            self.at_hand().remove(&full.into_inner().id);
        }
        Ok(())
    }

    /// Sends a shard's commands, each until it is done with.
    async fn lane(self: Arc<Self>, mut waiting: mpsc::Receiver<Taken>, at_hand: Arc<AtomicUsize>) {
        while let Some(taken) = waiting.recv().await {
            while !self.send(&taken).await {
                tokio::time::sleep(AGAIN).await;
            }
            while let Err(error) = self.done(&taken.id).await {
                tracing::debug!(%error, "a command can't be acknowledged yet");
                tokio::time::sleep(AGAIN).await;
            }
            self.at_hand().remove(&taken.id);
            at_hand.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Sends one. Whether it is done with.
    async fn send(&self, taken: &Taken) -> bool {
        let Taken { id, shard, payload } = taken;
        if age(id) > TOO_OLD {
            tracing::warn!(id, shard.id = %shard, "a bot's command is too old, and is given up");
            self.metrics.count_command("given_up");
            return true;
        }
        let sent = self.send.send(*shard, payload.clone(), Instant::now() + DEADLINE).await;
        let (outcome, done) = match sent {
            Ok(()) => ("sent", true),
            Err(CommandFailed::ForGood(why)) => {
                tracing::warn!(id, shard.id = %shard, why, "a bot sent something to the gateway that is refused");
                ("refused", true)
            }
            Err(CommandFailed::ForNow(why)) => {
                tracing::debug!(id, shard.id = %shard, why, "a bot's command waits");
                ("waits", false)
            }
        };
        self.metrics.count_command(outcome);
        done
    }

    async fn done(&self, id: &str) -> Result<(), LinkError> {
        let mut ack = redis::cmd("XACK");
        self.relay.link().command::<u64>(ack.arg(self.stream()).arg(GROUP).arg(id)).await?;
        let mut delete = redis::cmd("XDEL");
        self.relay.link().command::<u64>(delete.arg(self.stream()).arg(id)).await.map(drop)
    }
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

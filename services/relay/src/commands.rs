//! What bots send to the gateway: the stream `gateway_send` of discord.js's brokers.
//!
//! One worker of the fleet reads it and passes each command to the worker that runs the shard. [Lanes](lanes), one for each shard
//! and kind, decide which commands wait and in which order they go. A command is acknowledged and deleted once it was sent,
//! refused for good, replaced by a newer one, or is too old. If a reader dies, the next one reads what it left before anything
//! new.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fleet_model::{ShardSlot, WorkerId};
use redis_link::LinkError;
use serde::Deserialize;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{EntryId, RedisRelay, RelayMetrics, redis::scripts};

#[cfg(test)]
mod fuzzing;
mod lanes;

use lanes::{CommandLanes, Key, PutOutcome, QueuedCommand};

/// The stream.
pub(crate) const STREAM: &str = "gateway_send";

/// The workers' group.
const GROUP: &str = "altergolden";

/// Commands of one read.
const PAGE: usize = 32;

/// The most pages of one search for deferred commands.
const PAGES: usize = 32;

/// The largest command in bytes: Discord accepts 4,096 of JSON.
const LARGEST: usize = 16 * 1024;

/// The most commands in the stream, and about the most bytes: this Redis may also hold the leases. The oldest go.
const IN_STREAM: usize = 65_536;
const IN_STREAM_BYTES: usize = 64 * 1024 * 1024;

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

/// Sends commands to the worker that runs the shard.
#[async_trait]
pub trait SendCommand: Send + Sync + 'static {
    /// Sends a payload as discord.js has it: `{op, d}`.
    ///
    /// # Errors
    /// Whether to try again.
    async fn send(
        &self,
        shard: ShardSlot,
        payload: serde_json::Value,
        until: Instant,
    ) -> Result<(), CommandFailed>;
}

/// A command did not go out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandFailed {
    /// It never will: the command is malformed.
    #[error("{0}")]
    ForGood(String),
    /// It may, later.
    #[error("{0}")]
    ForNow(String),
}

/// Hands commands on until `stop`, whenever `acts` says that it is this process's turn.
pub async fn run(
    relay: RedisRelay,
    worker: WorkerId,
    send: Arc<dyn SendCommand>,
    metrics: RelayMetrics,
    acts: impl Fn() -> bool + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let reader = Arc::new(Reader {
        reading: relay.apart(),
        relay,
        worker,
        send,
        metrics,
        acts: Box::new(acts),
        lanes: Mutex::default(),
        clock: Mutex::new((Instant::now(), 0)),
    });
    let reading = async {
        let mut turn = ReaderTurn::default();
        let mut said = false;
        loop {
            if !(reader.acts)() {
                // The reader whose turn it is claims unfinished commands.
                turn = ReaderTurn::default();
                *reader.lanes() = CommandLanes::default();
                tokio::time::sleep(BLOCK).await;
                continue;
            }
            match reader.read(&mut turn).await {
                Ok(()) => said = false,
                Err(error) => {
                    // An answer may have been lost with its commands: read them again before newer ones.
                    turn.recovering = Some(EntryId::default());
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(%error, "commands of bots cannot be read; trying again");
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
    /// Whether it is this process's turn.
    acts: Box<dyn Fn() -> bool + Send + Sync>,
    lanes: Mutex<CommandLanes>,
    /// When Redis's clock was last read, and its time in milliseconds.
    clock: Mutex<(Instant, u64)>,
}

/// The state of one turn of this process.
struct ReaderTurn {
    /// The lanes' tasks.
    tasks: JoinSet<()>,
    /// How far commands of other readers were claimed; nothing new is read before all of them are.
    recovering: Option<EntryId>,
    /// Commands to acknowledge.
    finished: Vec<EntryId>,
}

impl Default for ReaderTurn {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), recovering: Some(EntryId::default()), finished: Vec::new() }
    }
}

impl Reader {
    fn lanes(&self) -> MutexGuard<'_, CommandLanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self) -> String {
        self.relay.stream(STREAM)
    }

    async fn read(self: &Arc<Self>, turn: &mut ReaderTurn) -> Result<(), LinkError> {
        while turn.tasks.try_join_next().is_some() {}
        self.trim().await?;
        self.acknowledge(turn).await?;
        if self.lanes().at_hand() >= AT_HAND {
            tokio::time::sleep(AGAIN).await;
            return Ok(());
        }
        if let Some(cursor) = turn.recovering {
            // Other readers act no more: their commands are claimed at once, in order.
            let (next, commands) = self.claim(cursor, Duration::ZERO).await?;
            self.take(turn, commands);
            turn.recovering = next;
            return self.acknowledge(turn).await;
        }
        let (_, stale) = self.claim(EntryId::default(), STALE).await?;
        self.take(turn, stale);
        let to_refill = self.lanes().to_refill();
        for (key, from) in to_refill {
            self.refill(turn, key, from).await?;
        }
        let mut read = self.read_group(">");
        read.arg(">");
        let new = entries_read(&self.reading.link().command(&read).await?);
        self.take(turn, new);
        self.acknowledge(turn).await
    }

    /// Keeps the stream within its bounds, and reads Redis's clock.
    async fn trim(&self) -> Result<(), LinkError> {
        let (stream, bounds) = (self.stream(), [IN_STREAM, IN_STREAM_BYTES].map(|bound| bound.to_string()));
        let (seconds, micros, gone): (u64, u64, u64) =
            self.relay.link().script(&scripts::COMMANDS, &[&stream], &bounds).await?;
        if gone > 0 {
            self.metrics.count_commands("cut", gone);
            tracing::warn!(commands = gone, "oldest commands in gateway_send deleted; stream over its limit");
        }
        let now = seconds.saturating_mul(1_000).saturating_add(micros / 1_000);
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), now);
        self.lanes().forget_before(now.saturating_sub(TOO_OLD.as_millis() as u64));
        Ok(())
    }

    /// Claims a page of commands that have been idle for `idle`. Returns where to go on, if there is more.
    async fn claim(
        &self,
        cursor: EntryId,
        idle: Duration,
    ) -> Result<(Option<EntryId>, Vec<Command>), LinkError> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(self.stream()).arg(GROUP).arg(self.worker.as_str());
        claim.arg(idle.as_millis() as u64).arg(cursor.to_string()).arg("COUNT").arg(PAGE);
        match self.relay.link().command::<redis::Value>(&claim).await {
            Ok(claimed) => Ok(entries_claimed(&claimed)),
            Err(LinkError::Refused(words)) if words.contains("NOGROUP") => {
                self.make_group().await?;
                Ok((None, Vec::new()))
            }
            Err(error) => Err(error),
        }
    }

    fn read_group(&self, from: &str) -> redis::Cmd {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(self.worker.as_str()).arg("COUNT").arg(PAGE);
        if from == ">" {
            read.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        }
        read.arg("STREAMS").arg(self.stream());
        read
    }

    /// Reads deferred commands of a lane again, in order, until it is full.
    async fn refill(
        self: &Arc<Self>,
        turn: &mut ReaderTurn,
        key: Key,
        from: EntryId,
    ) -> Result<(), LinkError> {
        let mut after = before(from);
        for _ in 0..PAGES {
            let mut read = self.read_group("");
            read.arg(after.to_string());
            let page = entries_read(&self.relay.link().command(&read).await?);
            let is_last = page.len() < PAGE;
            for command in page {
                after = command.id;
                let Some(taken) = command.taken().filter(|taken| taken.key() == key) else { continue };
                if self.put(turn, taken, true) == PutOutcome::Deferred {
                    return Ok(());
                }
            }
            if is_last {
                self.lanes().refilled(key, None);
                return Ok(());
            }
        }
        self.lanes().refilled(key, Some(EntryId { number: after.number.saturating_add(1), ..after }));
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

    /// Puts commands into their lanes.
    fn take(self: &Arc<Self>, turn: &mut ReaderTurn, commands: Vec<Command>) {
        for command in commands {
            let id = command.id;
            if let Some(taken) = command.taken() {
                self.put(turn, taken, false);
            } else {
                tracing::warn!(%id, "malformed command in gateway_send");
                self.metrics.count_command("refused");
                turn.finished.push(id);
            }
        }
    }

    fn put(self: &Arc<Self>, turn: &mut ReaderTurn, taken: QueuedCommand, again: bool) -> PutOutcome {
        let (id, key) = (taken.id, taken.key());
        let (put, replaced) = self.lanes().put(taken, again);
        if put == PutOutcome::Start {
            turn.tasks.spawn(self.clone().run_lane(key));
        }
        let outdated = (put == PutOutcome::Outdated).then_some(id);
        for id in replaced.into_iter().chain(outdated) {
            self.metrics.count_command("replaced");
            turn.finished.push(id);
        }
        put
    }

    /// Sends a lane's commands until it is empty.
    async fn run_lane(self: Arc<Self>, key: Key) {
        loop {
            let next = self.lanes().next(key);
            let Some(taken) = next else { return };
            while !self.send(&taken).await {
                tokio::time::sleep(AGAIN).await;
                if self.lanes().is_outdated(key, taken.id) {
                    self.metrics.count_command("replaced");
                    break;
                }
            }
            while let Err(error) = self.done(&[taken.id]).await {
                tracing::debug!(%error, "a command cannot be acknowledged yet");
                tokio::time::sleep(AGAIN).await;
            }
            self.lanes().finished(taken.id);
        }
    }

    /// Sends a command once it is this process's turn. Returns whether it is finished.
    async fn send(&self, taken: &QueuedCommand) -> bool {
        let QueuedCommand { id, shard, payload } = taken;
        while !(self.acts)() {
            tokio::time::sleep(AGAIN).await;
        }
        if self.age(*id) > TOO_OLD {
            tracing::warn!(%id, shard.id = %shard, "bot command expired; dropped");
            self.metrics.count_command("given_up");
            return true;
        }
        let sent = self.send.send(*shard, payload.clone(), Instant::now() + DEADLINE).await;
        let (outcome, done) = match sent {
            Ok(()) => ("sent", true),
            Err(CommandFailed::ForGood(why)) => {
                tracing::warn!(%id, shard.id = %shard, why, "bot command refused");
                ("refused", true)
            }
            Err(CommandFailed::ForNow(why)) => {
                tracing::debug!(%id, shard.id = %shard, why, "bot command delayed");
                ("waits", false)
            }
        };
        self.metrics.count_command(outcome);
        done
    }

    async fn acknowledge(&self, turn: &mut ReaderTurn) -> Result<(), LinkError> {
        if !turn.finished.is_empty() {
            self.done(&turn.finished).await?;
            turn.finished.clear();
        }
        Ok(())
    }

    async fn done(&self, ids: &[EntryId]) -> Result<(), LinkError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let mut ack = redis::cmd("XACK");
        self.relay.link().command::<u64>(ack.arg(self.stream()).arg(GROUP).arg(&ids)).await?;
        let mut delete = redis::cmd("XDEL");
        self.relay.link().command::<u64>(delete.arg(self.stream()).arg(&ids)).await.map(drop)
    }

    /// An entry's age by Redis's clock.
    fn age(&self, id: EntryId) -> Duration {
        let (read_at, ms) = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        (Duration::from_millis(ms) + read_at.elapsed()).saturating_sub(Duration::from_millis(id.ms))
    }
}

/// A command as stored in the stream.
struct Command {
    id: EntryId,
    /// `None` for entries that are not commands.
    data: Option<Bytes>,
}

impl Command {
    fn taken(self) -> Option<QueuedCommand> {
        #[derive(Deserialize)]
        struct Data {
            #[serde(rename = "shardId")]
            shard_id: u32,
            payload: serde_json::Value,
        }
        let data = self.data.filter(|data| data.len() <= LARGEST)?;
        let Data { shard_id, payload } = crate::entry::from_message_pack(&data).ok()?;
        Some(QueuedCommand { id: self.id, shard: ShardSlot(shard_id), payload })
    }
}

/// The id right before this one.
fn before(id: EntryId) -> EntryId {
    match id.number.checked_sub(1) {
        Some(number) => EntryId { number, ..id },
        None => EntryId { ms: id.ms.saturating_sub(1), number: u64::MAX },
    }
}

/// The entries in an answer of XAUTOCLAIM, and where to go on, if there is more.
fn entries_claimed(answer: &redis::Value) -> (Option<EntryId>, Vec<Command>) {
    let parts = answer.as_sequence().unwrap_or_default();
    let next = parts.first().and_then(|next| redis::from_redis_value::<String>(next.clone()).ok());
    let next = next.and_then(|next| next.parse().ok()).filter(|next| *next != EntryId::default());
    (next, parts.get(1).map(commands).unwrap_or_default())
}

/// The entries in an answer of XREADGROUP for one stream.
fn entries_read(answer: &redis::Value) -> Vec<Command> {
    let of_stream = match answer {
        redis::Value::Map(streams) => streams.first().map(|(_, entries)| entries),
        other => other.as_sequence().and_then(|streams| streams.first()?.as_sequence()?.get(1)),
    };
    of_stream.map(commands).unwrap_or_default()
}

/// Entries of a stream. Deleted ones have no fields, or are nil.
fn commands(entries: &redis::Value) -> Vec<Command> {
    let entry = |entry: &redis::Value| {
        let [id, fields] = entry.as_sequence()? else { return None };
        let id: String = redis::from_redis_value(id.clone()).ok()?;
        let fields: HashMap<String, redis::Value> =
            redis::from_redis_value(fields.clone()).unwrap_or_default();
        Some(Command { id: id.parse().ok()?, data: data(fields) })
    };
    entries.as_sequence().unwrap_or_default().iter().filter_map(entry).collect()
}

fn data(mut fields: HashMap<String, redis::Value>) -> Option<Bytes> {
    match fields.remove("data")? {
        redis::Value::BulkString(bytes) => Some(bytes.into()),
        _ => None,
    }
}

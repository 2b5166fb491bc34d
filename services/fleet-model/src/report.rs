//! One shard as the worker that runs it sees it.

use std::fmt;

use crate::{Epoch, ProblemCode, ShardSlot, StartOutcome};

/// Where a shard is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShardStatus {
    /// No worker runs it.
    Unassigned,
    /// A worker has it and waits for a permit to IDENTIFY.
    Queued,
    /// The permit came; READY or the last guild has not.
    Identifying,
    /// A RESUME is under way.
    Resuming,
    /// Connected, with all its guilds.
    Ready,
    /// Given up by one worker so that another can take it.
    Moving,
    /// Connected, but nothing is heard that should be.
    Silent,
    /// The connection was lost; it is being made again.
    Reconnecting,
    /// Closed on purpose, or because the worker could not know that its lease was still its own.
    Stopped,
    /// Discord refused for good.
    Failed,
}

impl ShardStatus {
    /// Every status, in the order of a shard's life.
    pub const ALL: [Self; 10] = [
        Self::Unassigned,
        Self::Queued,
        Self::Identifying,
        Self::Resuming,
        Self::Ready,
        Self::Moving,
        Self::Silent,
        Self::Reconnecting,
        Self::Stopped,
        Self::Failed,
    ];

    /// Its name for people, JSON and metrics, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unassigned => "unassigned",
            Self::Queued => "queued",
            Self::Identifying => "identifying",
            Self::Resuming => "resuming",
            Self::Ready => "ready",
            Self::Moving => "moving",
            Self::Silent => "silent",
            Self::Reconnecting => "reconnecting",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for ShardStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One shard: its state and its counts.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardReport {
    /// The shard.
    pub shard: ShardSlot,
    /// The epoch that it runs under.
    pub epoch: Epoch,
    /// Where it is in its life.
    pub status: ShardStatus,
    /// The last sequence number received; 0 before the first.
    pub sequence: u64,
    /// Average round trip to Discord, in milliseconds; `None` before the first heartbeat came back.
    pub latency_ms: Option<f64>,
    /// Guilds on the shard.
    pub guilds: u32,
    /// Members of those guilds, added up; `None` when the intents do not tell.
    pub users: Option<u64>,
    /// Channels without threads; `None` when the intents do not tell.
    pub channels: Option<u32>,
    /// Users connected to voice; `None` when intent or cache is off.
    pub voice_connections: Option<u32>,
    /// How long the session has been connected, in seconds.
    pub uptime_seconds: u64,
    /// Why it is in this state, for people; empty when there is nothing to say.
    pub detail: String,
    /// The close code with which Discord refused it for good
    /// ([codes](https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes)).
    pub close_code: Option<u16>,
    /// The problem that keeps it from being ready, when its status does not say which; `None` from older workers.
    pub cause: Option<ProblemCode>,
    /// How it last came to be connected; `None` before it was.
    pub outcome: Option<StartOutcome>,
    /// Guilds that READY named and of which nothing has come: the other figures are without them.
    pub pending_guilds: u32,
    /// Guilds whose figures are missing or may be wrong, pending ones included.
    pub uncertain_guilds: u32,
}

impl ShardReport {
    /// A shard of which nothing is known but its status.
    pub fn bare(shard: impl Into<ShardSlot>, epoch: Epoch, status: ShardStatus) -> Self {
        Self {
            shard: shard.into(),
            epoch,
            status,
            sequence: 0,
            latency_ms: None,
            guilds: 0,
            users: None,
            channels: None,
            voice_connections: None,
            uptime_seconds: 0,
            detail: String::new(),
            close_code: None,
            cause: None,
            outcome: None,
            pending_guilds: 0,
            uncertain_guilds: 0,
        }
    }
}

/// One report of one worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerReport {
    /// Revision of the last assignment that it has applied.
    pub assignment_revision: u64,
    /// All shards that it runs.
    pub shards: Vec<ShardReport>,
    /// Shards that it released on its own.
    pub released: Vec<(ShardSlot, Epoch)>,
    /// Shards that it has copied from their owners, with the owners' epochs.
    pub arrived: Vec<(ShardSlot, Epoch)>,
    /// Its resident memory.
    pub rss_bytes: u64,
    /// It drains: it hands off its shards.
    pub draining: bool,
    /// It runs no shards and exits.
    pub leaving: bool,
    /// The worker cannot reach the store.
    pub store_away: bool,
    /// The worker's figures that are not about one shard; `None` from older workers.
    pub figures: Option<WorkerFigures>,
    /// How it takes the routing table.
    pub routing: RoutingUpdates,
}

/// How a worker takes the routing table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoutingUpdates {
    /// Only whole: it is older.
    #[default]
    Whole,
    /// What has changed.
    Changes,
    /// What has changed; but an update is missing, so it needs the whole table.
    Missed,
}

/// A worker's figures that are not about one shard. Counters start at 0 with the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerFigures {
    /// Times that events were or may have been lost on the way from Discord.
    pub gaps: u64,
    /// Events that were dropped because a queue was full for long.
    pub dropped: u64,
    /// Events that bot code was given a second time, marked as replayed.
    pub replayed: u64,
    /// The 99th percentile of the time from receipt to handler or stream, in microseconds, over the last minute; `None` without events.
    pub delay_p99_us: Option<u64>,
    /// REST requests that wait for their turn.
    pub rest_waiting: u64,
    /// Answers 401, 403 and 429 of the whole fleet in ten minutes, when last counted by this worker.
    pub rest_invalid: u64,
    /// Whether the REST breaker is open: no requests are sent to Discord's REST API.
    pub rest_blocked: bool,
    /// Whether the worker relays events.
    pub relays: bool,
    /// Events that the relay's streams have not taken yet.
    pub relay_waiting: u64,
    /// Times that the streams did not take events.
    pub relay_failures: u64,
    /// Checkpoint heads that were refused for their signature, until an hour has passed without another one.
    pub refused_heads: u64,
}

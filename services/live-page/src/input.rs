//! What the page shows, as plain data: the coordinator fills it from its published state.

use std::{net::SocketAddr, time::Duration};

use fleet_model::{Problem, ShardStatus, WorkerFigures};
use futures_util::future::BoxFuture;
use serde::Serialize;

/// Where the page gets its data. Every method reads what is published already, or waits for a bounded time.
pub trait PageSource: Send + Sync + 'static {
    /// Returns the fleet as it was published last.
    fn fleet(&self) -> FleetData;
    /// Returns everything about one shard; `None` when there is no such shard.
    fn shard(&self, number: u32) -> Option<ShardDetail>;
    /// Returns what happened since a time, in milliseconds since the Unix epoch.
    fn history(&self, since_unix_ms: u64) -> BoxFuture<'_, HistoryData>;
    /// Returns why a guild is silent, as `altergolden why` says it.
    fn why(&self, guild_id: u64) -> BoxFuture<'_, WhyData>;
}

/// The fleet at one moment.
#[derive(Clone, Debug, Default)]
pub struct FleetData {
    /// The coordinator acts; false on a standby.
    pub acting: bool,
    /// Term of the acting coordinator.
    pub term: u64,
    /// How old this data is.
    pub age: Duration,
    /// How many shards the bot has; 0 before that is settled.
    pub shard_total: u32,
    /// The generation on which shards are placed; empty before the first worker.
    pub active_generation: String,
    /// How long a lease lasts after a report.
    pub lease_ttl: Duration,
    /// Every shard, by number.
    pub shards: Vec<ShardData>,
    /// Every worker, in an order that changes only with the workers.
    pub workers: Vec<WorkerData>,
    /// The identify queue.
    pub identify: IdentifyData,
    /// Current problems.
    pub problems: Vec<Problem>,
    /// The plan that is under way, or was last.
    pub plan: Option<PlanData>,
}

/// One shard.
#[derive(Clone, Debug)]
pub struct ShardData {
    /// Its number.
    pub number: u32,
    /// Its owner's index in [`FleetData::workers`].
    pub worker: Option<u32>,
    /// Its state.
    pub status: ShardStatus,
    /// Guilds.
    pub guilds: u32,
    /// Round trip to Discord, in milliseconds.
    pub latency_ms: Option<f64>,
    /// The last sequence number; 0 before the first.
    pub sequence: u64,
    /// When it was reported, on a clock that never steps.
    pub reported_at: Option<Duration>,
    /// Since when it is in this state, in milliseconds since the Unix epoch.
    pub since_unix_ms: Option<u64>,
    /// Why it is in this state; empty when there is nothing to say.
    pub detail: String,
}

/// One worker.
#[derive(Clone, Debug)]
pub struct WorkerData {
    /// Its name.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Its generation; empty when unknown.
    pub generation: String,
    /// Where its gRPC server answers.
    pub url: String,
    /// The address that answered when it registered.
    pub address: Option<SocketAddr>,
    /// The most shards it takes.
    pub capacity: Option<u32>,
    /// Resident memory, in bytes; 0 before the first report.
    pub rss_bytes: u64,
    /// Its heartbeat stream is open.
    pub connected: bool,
    /// It is handing off its shards.
    pub draining: bool,
    /// How long ago it was heard.
    pub heard: Duration,
    /// The worker's figures that are not about one shard; `None` from older workers.
    pub figures: Option<WorkerFigures>,
}

/// The identify queue and the day's budget.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdentifyData {
    /// IDENTIFYs a day.
    pub total: u32,
    /// IDENTIFYs left.
    pub remaining: u32,
    /// How many of these are reserved.
    pub reserve: u32,
    /// Until Discord resets the count.
    pub resets_in: Duration,
    /// How many requests wait.
    pub waiting: u32,
    /// How many may be sent at once.
    pub max_concurrency: u32,
    /// Until the last waiting request has its turn; `None` while none waits or no permit is granted.
    pub last_turn_in: Option<Duration>,
}

/// A plan.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PlanData {
    /// Its number, as text: it is beyond JavaScript's numbers.
    pub id: String,
    /// What it does, for people.
    pub description: String,
    /// Its state: `running`, `paused`, `done`, ...
    pub state: String,
    /// Why it is in this state, for people.
    pub reason: String,
    /// Shards that have moved.
    pub done: u32,
    /// Shards that move.
    pub all: u32,
    /// IDENTIFYs that it needs.
    pub identifies: u32,
    /// Its estimated duration, in milliseconds.
    pub estimated_ms: u64,
    /// Its duration so far, in milliseconds.
    pub elapsed_ms: u64,
    /// How many shards move at once.
    pub at_once: u32,
    /// The first steps, those to come before those that are done.
    pub steps: Vec<StepData>,
}

/// One shard of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct StepData {
    /// The shard.
    pub shard: u32,
    /// The previous owner.
    pub from: String,
    /// The target.
    pub to: String,
    /// The target must IDENTIFY.
    pub identifies: bool,
    /// It runs there, and is ready.
    pub done: bool,
}

/// Everything about one shard.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ShardDetail {
    /// Its number.
    pub number: u32,
    /// Its state.
    pub status: String,
    /// Its owner; empty when it has none.
    pub worker: String,
    /// The epoch of its assignment, as text: it is beyond JavaScript's numbers.
    pub epoch: String,
    /// Why it is in this state.
    pub detail: String,
    /// How long it is in this state, in milliseconds, where that is known.
    pub state_for_ms: Option<u64>,
    /// Guilds.
    pub guilds: u32,
    /// Guilds that READY named and of which nothing has come.
    pub pending_guilds: u32,
    /// Round trip to Discord, in milliseconds.
    pub latency_ms: Option<f64>,
    /// The last sequence number.
    pub sequence: u64,
    /// How long it has been connected, in seconds.
    pub uptime_seconds: u64,
    /// How long ago it was reported, in milliseconds.
    pub reported_ms: Option<u64>,
    /// How it was last connected: `resumed in 0.2 s, 3 replayed`; empty before it was.
    pub start: String,
    /// How long ago that was, in milliseconds.
    pub started_ms: Option<u64>,
    /// What was or may have been lost at that start; empty when nothing was.
    pub gap: String,
}

/// What happened, newest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HistoryData {
    /// The entries.
    pub entries: Vec<LineData>,
    /// Older entries exist and are not here.
    pub more: bool,
    /// Why entries are missing, if some are.
    pub missing: Option<String>,
}

/// One entry of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LineData {
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// When it last happened.
    pub until: u64,
    /// The kind of event.
    pub kind: String,
    /// What happened, in one line.
    pub text: String,
    /// How many equal events it stands for.
    pub count: u64,
}

/// Why a guild is silent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WhyData {
    /// `works`, `not_there` or `fails`.
    pub verdict: String,
    /// The reason in one sentence.
    pub sentence: String,
    /// The shard, when the fleet has shards.
    pub shard: Option<u32>,
    /// What is known, a line each.
    pub lines: Vec<String>,
    /// What happened to the shard in the last 24 hours, newest first.
    pub lately: Vec<LineData>,
    /// Why the history is not complete, if it is not.
    pub missing: Option<String>,
}

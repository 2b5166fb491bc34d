//! What the process at hand can answer by itself.

use std::time::Duration;

use fleet_model::{GuildRecord, ShardReport, UserLookup, WorkerId};

/// The shards of the worker at hand: asked without a network hop.
pub trait LocalShards: Send + Sync + 'static {
    /// The worker's name.
    fn worker(&self) -> WorkerId;
    /// The shards it runs, as they are now.
    fn shards(&self) -> Vec<ShardReport>;
    /// Guilds out of its caches, in the order asked.
    fn guilds(&self, guild_ids: &[u64]) -> Vec<GuildRecord>;
    /// Users out of its caches, in the order asked.
    fn users(&self, user_ids: &[u64]) -> UserLookup;
}

/// Reports that came by themselves: the coordinator has them from heartbeats.
pub trait RecentReports: Send + Sync + 'static {
    /// What is known of each assigned shard, without asking anybody.
    fn reports(&self) -> Vec<TimedReport>;
}

/// A report and its age.
#[derive(Clone, Debug)]
pub struct TimedReport {
    /// Who sent it.
    pub worker: WorkerId,
    /// What it says.
    pub report: ShardReport,
    /// How long ago it came.
    pub age: Duration,
}

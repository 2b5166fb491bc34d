//! What the process at hand can answer by itself.

use std::time::Duration;

use fleet_model::{GuildRecord, ShardNumber, ShardReport, UserLookup, WorkerId};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::{
    command::{CommandRefused, GatewayCommand},
    object::{ObjectQuery, ObjectRefused},
};

/// Ends when a command has gone out.
pub type CommandFuture<'a> = BoxFuture<'a, Result<(), CommandRefused>>;

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
    /// Sends a command on a shard's connection; answers when it has gone out.
    fn send_command(&self, shard: ShardNumber, command: GatewayCommand, until: Instant) -> CommandFuture<'_>;
    /// An object out of a guild's cache, as Discord's own JSON.
    ///
    /// # Errors
    /// It is not there, or this can't be told: why.
    fn object(&self, query: &ObjectQuery) -> Result<String, ObjectRefused>;
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

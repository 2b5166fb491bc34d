//! What the process at hand can answer by itself.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use fleet_model::{GuildRecord, ShardReport, ShardSlot, UserLookup, WorkerId};
use futures_util::{future::BoxFuture, stream::BoxStream};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    answer::{BridgeError, ReplyFailure, TimedReport},
    command::{CommandRefused, GatewayCommand, MembersQuery},
    object::{FoundObject, ObjectQuery, ObjectRefused},
    snapshot::{SnapshotPart, SnapshotQuery},
};

/// Ends when a command has gone out.
pub type CommandFuture<'a> = BoxFuture<'a, Result<(), CommandRefused>>;

/// The shards of the worker at hand: asked without a network hop.
#[async_trait]
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
    fn send_command(&self, shard: ShardSlot, command: GatewayCommand, until: Instant) -> CommandFuture<'_>;
    /// An object out of a guild's cache, as Discord's own JSON.
    ///
    /// # Errors
    /// It is not there, or this can't be told: why.
    fn object(&self, query: &ObjectQuery) -> Result<FoundObject, ObjectRefused>;
    /// A shard's guilds for a client of the gateway; each guild is read when its part is asked for. `None`: the shard does not run here.
    ///
    /// # Errors
    /// `Unavailable`: the shard has no session yet.
    fn snapshot(
        &self,
        query: &SnapshotQuery,
    ) -> Result<Option<BoxStream<'static, SnapshotPart>>, BridgeError>;
    /// Cached members, as the data of GUILD_MEMBERS_CHUNK events without a nonce; empty when the cache may lack one of them. `None`: the
    /// guild's shard does not run here.
    fn cached_members(&self, query: &MembersQuery) -> Option<BoxStream<'static, String>>;
    /// Gives a message to bot code, and to the subscribers here. Answers by `until`; what bot code has begun with then goes on.
    async fn deliver(&self, message: Arc<ShardMessage>, until: Instant) -> Delivered;
    /// Puts a question to bot code, for each of these shards. Answers by the question's deadline, in the order asked, with
    /// `max_bytes` of replies at most. Dropped, it ends what bot code is at.
    async fn ask(
        &self,
        shards: Vec<ShardSlot>,
        request: Arc<ShardRequest>,
        max_bytes: usize,
    ) -> Vec<ShardAnswer>;
}

/// A message to one shard.
#[derive(Clone, PartialEq)]
pub struct ShardMessage {
    /// The shard.
    pub shard: ShardSlot,
    /// What kind of message it is: up to 100 characters.
    pub kind: String,
    /// The sender's data. Integers of up to 64 bits are exact, other numbers are doubles.
    pub data: Value,
    /// The data as the sender's JSON text, up to 256 KiB.
    pub json: String,
    /// The process that sent it, for people.
    pub sender: String,
}

impl fmt::Debug for ShardMessage {
    /// Without the data, which is the bot's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardMessage")
            .field("shard", &self.shard)
            .field("kind", &self.kind)
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

/// What became of a message to one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Bot code has begun with it, or somebody who is subscribed has it.
    Yes,
    /// Neither takes it.
    NoListener,
    /// The shard does not run here.
    NotMine,
    /// The worker does not know whether its lease holds. The message was not delivered.
    NoLease,
    /// Too much is under way. The message was not delivered.
    Busy,
    /// Bot code had not begun with it in time, and will not.
    TooLate,
}

/// A question of the bot's own to a shard.
#[derive(Clone, PartialEq)]
pub struct ShardRequest {
    /// What is asked: up to 100 characters.
    pub kind: String,
    /// More about it. Integers of up to 64 bits are exact, other numbers are doubles.
    pub data: Value,
    /// The data as the sender's JSON text, up to 256 KiB.
    pub json: String,
    /// The process that asks, for people.
    pub sender: String,
    /// When the reply comes too late.
    pub deadline: Instant,
}

impl fmt::Debug for ShardRequest {
    /// Without the data, which is the bot's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardRequest")
            .field("kind", &self.kind)
            .field("sender", &self.sender)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// What one shard said to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardAnswer {
    /// The shard.
    pub shard: ShardSlot,
    /// What it said.
    pub outcome: AnswerOutcome,
}

/// See [`ShardAnswer`].
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerOutcome {
    /// Its reply, as JSON text.
    Json(String),
    /// There is no reply, and why.
    Failed(ReplyFailure),
    /// The shard does not run here.
    NotMine,
}

/// Reports that came by themselves: the coordinator has them from heartbeats.
pub trait RecentReports: Send + Sync + 'static {
    /// What is known of each assigned shard, without asking anybody.
    fn reports(&self) -> Vec<TimedReport>;
}

//! Answers of a [`Bridge`](crate::Bridge), and its error.

use std::time::Duration;

use fleet_model::{Classified, ErrorClass, ShardKey, ShardReport, ShardSlot, WorkerId};
use serde_json::Value;

use crate::{
    command::{CommandRefused, InvalidCommand},
    content::InvalidContent,
};

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

/// Totals over all shards, and each shard's report.
#[derive(Clone, Debug, Default)]
pub struct FleetStats {
    /// Guilds.
    pub total_guilds: u32,
    /// Users; `None` when no shard counts them.
    pub total_users: Option<u64>,
    /// Channels; `None` when no shard counts them.
    pub total_channels: Option<u32>,
    /// Voice connections; `None` when no shard counts them.
    pub total_voice_connections: Option<u32>,
    /// Number of shards of the bot.
    pub shard_count: u32,
    /// Whether every shard is ready and counted with all its guilds.
    pub complete: bool,
    /// Shards without a report.
    pub missing_shards: Vec<ShardKey>,
    /// The reports, by shard.
    pub shards: Vec<TimedReport>,
}

/// Where a guild is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuildAnswer {
    /// The guild.
    pub guild_id: u64,
    /// Whether the bot is in the guild.
    pub found: bool,
    /// Whether `found` can be relied upon; otherwise `reason` says why not.
    pub complete: bool,
    /// The shard of the guild; `None` before the number of shards is known.
    pub shard: Option<ShardKey>,
    /// The worker that runs the shard.
    pub worker: Option<WorkerId>,
    /// The guild's name, if it is known.
    pub name: Option<String>,
    /// Number of members, if it is known.
    pub member_count: Option<u64>,
    /// Whether the guild has an outage.
    pub unavailable: bool,
    /// Why the answer is not complete; empty when it is.
    pub reason: String,
}

/// Where a user is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAnswer {
    /// The user.
    pub user_id: u64,
    /// Whether a shard knows the user.
    pub found: bool,
    /// Whether the answer can be relied upon; otherwise `reason` says why not.
    pub complete: bool,
    /// The shards that know the user.
    pub shards: Vec<ShardSlot>,
    /// The user's name; empty when no shard knows the user.
    pub username: String,
    /// Why the answer is not complete; empty when it is.
    pub reason: String,
}

/// The workers that a broadcast reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BroadcastReceipt {
    /// The id of the message.
    pub message_id: String,
    /// Number of workers in the routing table.
    pub workers_expected: u32,
    /// How many of them acknowledged the message by the deadline.
    pub workers_acknowledged: u32,
    /// The others.
    pub missing_workers: Vec<WorkerId>,
}

/// What became of a message to one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageReceipt {
    /// Whether bot code or a subscriber took it.
    pub delivered: bool,
    /// The worker that runs the shard.
    pub worker: WorkerId,
    /// Why it was not delivered; empty when it was.
    pub reason: String,
}

/// The shards' replies to a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardReplies {
    /// Whether every shard replied with a value, and at least one was asked.
    pub complete: bool,
    /// The replies, by shard.
    pub replies: Vec<ShardReply>,
}

/// One shard's reply to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardReply {
    /// The shard.
    pub shard: ShardSlot,
    /// The worker that runs it.
    pub worker: Option<WorkerId>,
    /// The reply, or why there is none.
    pub outcome: Result<ReplyValue, ReplyFailure>,
}

/// The value of a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyValue {
    /// The value: integers of up to 64 bits are exact, other numbers are doubles.
    pub value: Value,
    /// The JSON text as the shard's bot code wrote it, if doubles cannot hold its integers; otherwise empty.
    pub(crate) exact_text: String,
}

/// Why a shard gave no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyFailure {
    /// The kind of failure.
    pub kind: ReplyFailureKind,
    /// The reason, for people; at most 256 bytes.
    pub reason: String,
}

/// The longest reason of a failure, in bytes: so that 10,000 of them fit into the usual answer.
pub(crate) const LONGEST_REASON: usize = 256;

impl ReplyFailure {
    /// Returns a failure. The reason is cut to 256 bytes.
    pub fn new(kind: ReplyFailureKind, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if reason.len() > LONGEST_REASON {
            reason.truncate(reason.floor_char_boundary(LONGEST_REASON - "…".len()));
            reason.push('…');
        }
        Self { kind, reason }
    }
}

/// See [`ReplyFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyFailureKind {
    /// A kind that this version does not know.
    Unknown,
    /// No worker runs the shard.
    Unassigned,
    /// Its worker cannot be reached, does not know whether its lease holds, or is too old to be asked.
    Unreachable,
    /// There was no reply by the deadline.
    TooLate,
    /// Its bot code does not know the type of the question.
    UnknownType,
    /// Its bot code failed, or the worker was too busy to run it.
    Failed,
    /// The reply is over 256 KiB, or all replies together are over the limit.
    TooLarge,
}

/// The shards whose presence was not updated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceReceipt {
    /// Each such shard with the reason, by shard.
    pub failures: Vec<(ShardSlot, String)>,
}

/// A question or a message failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BridgeError {
    class: ErrorClass,
    message: String,
}

impl BridgeError {
    /// Returns an error of a class, with its text.
    pub(crate) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::InvalidInput, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::NotFound, message)
    }

    /// Returns an error that may pass: the process that must answer is away.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Unavailable, message)
    }

    pub(crate) fn too_late(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::TooLate, message)
    }

    /// Returns what the error means for the caller.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// Returns the text.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Classified for BridgeError {
    fn class(&self) -> ErrorClass {
        self.class
    }
}

/// Errors of the bridge's parts, which keep their class and text.
macro_rules! from_classified {
    ($($error:ty),*) => {$(
        impl From<$error> for BridgeError {
            fn from(error: $error) -> Self {
                Self::new(error.class(), error.to_string())
            }
        }
    )*};
}

from_classified!(InvalidContent, InvalidCommand, CommandRefused, event_bus::BusError);

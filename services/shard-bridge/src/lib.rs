//! ShardBridge: questions and messages across all shards.
//!
//! Two halves. [`BridgeClient`] is what a Rust program calls. [`Bridge`] is what answers: the same in the coordinator and in
//! every worker, so that bot code asks its own process.
//!
//! A question's way: [`Bridge`] takes the routing table as it is now, [`ask`](fan_out) puts the question to the workers that it
//! concerns (its own process without a network hop), all at once and until the deadline, and [`merge`] makes one answer of
//! what came, naming what did not.
//!
//! A broadcast's way: the event bus carries it to every process's [`Hub`], which hands it to all local subscribers and only
//! then acknowledges it. So does a message to the manager, which is not acknowledged. A message to one shard goes straight to
//! the worker that runs it.
//!
//! A command's way: it is checked ([`GatewayCommand`]), then goes to the worker that runs the shard, and after it when it moves. An
//! object out of a cache comes the same way.

mod answer;
mod bridge;
mod client;
mod command;
mod content;
mod deadline;
mod fan_out;
mod hub;
mod local;
mod merge;
mod metrics;
mod object;
mod peers;
mod replies;
mod service;
mod snapshot;
pub mod why;
mod wire;
mod worker_client;

pub use answer::{
    BridgeError, BroadcastReceipt, FleetStats, GuildAnswer, MessageReceipt, PresenceReceipt, ReplyFailure,
    ReplyFailureKind, ReplyValue, ShardReplies, ShardReply, TimedReport, UserAnswer,
};
pub use bridge::{Bridge, BridgeParts};
pub use client::{BridgeClient, ClientError, ConnectedWorker, FleetGlance, FleetGlances};
pub use command::{CommandKind, CommandRefused, GatewayCommand, InvalidCommand, MembersQuery};
pub use content::{Data, InvalidContent, LARGEST, MOST_SHARDS, exact_value, nests_too_deep, one_line};
pub use deadline::{Deadlines, hop_until};
pub use hub::{Hub, HubItem, HubSubscription, RecipientKind, Wants};
pub use local::{
    AnswerOutcome, CommandFuture, Delivered, LocalShards, RecentReports, ShardAnswer, ShardMessage,
    ShardRequest,
};
pub use metrics::BridgeMetrics;
pub use object::{FoundObject, ObjectKind, ObjectQuery, ObjectRefused, check_size};
pub use peers::Peers;
pub use replies::LARGEST_ANSWER;
pub use snapshot::{GuildSnapshot, MemberChunks, SnapshotPart, SnapshotParts, SnapshotQuery};

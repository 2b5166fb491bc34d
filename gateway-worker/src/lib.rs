//! The data plane: runs a set of shards, keeps their cache, answers about them.
//!
//! The link to the coordinator owns the lease and the set of shards; each [shard] has one task, one
//! gateway connection and one [cache]. Permits to IDENTIFY come from the coordinator. Queries are answered from what
//! the shards publish, without asking their tasks.
//!
//! A bot is an [`EventHandler`] and a `main` that calls [`run`]. Everything that it needs of the platform is exported here,
//! including the [`Bridge`] with the types of its answers ([`FleetStats`], [`GuildAnswer`] and others).

mod bot;
mod bot_gateway;
pub mod cache;
mod callbacks;
mod checkpoints;
pub mod clock;
pub mod config;
mod coordinator;
mod discord;
mod event;
mod figures;
#[cfg(test)]
mod fuzzing;
mod gateway_address;
pub mod handler;
mod handoff;
mod identify;
pub mod lease;
mod link;
mod metrics;
mod payload;
mod reading;
mod relay;
pub mod rest;
mod rpc;
mod run;
mod service;
pub mod shard;
pub mod shard_state;
pub mod shards;
mod singleton;
pub mod status;
mod tap;
#[cfg(test)]
mod testing;
mod threads;

pub use async_trait::async_trait;
pub use checkpoints::Keep;
pub use config::{WorkerArgs, WorkerConfig};
pub use discord::TokenRefused;
pub use event::{Event, EventError, Mark, Position, Wanted};
pub use fleet_model::{Epoch, ErrorClass, ShardKey, ShardReport, ShardSlot, ShardStatus, WorkerId};
pub use handler::{
    Command, Context, EventHandler, MessageOutcome, NoHandler, RequestError, ShardMessage, ShardRequest,
};
pub use link::CoordinatorLinkError;
pub use relay::Relay;
pub use rest::RestBudget;
pub use run::run;
pub use serde_json;
pub use service::{Worker, WorkerError, WorkerParts};
pub use shard_bridge::{
    Bridge, BridgeError, BroadcastReceipt, FleetStats, GuildAnswer, Hub, HubItem, HubSubscription,
    MessageReceipt, PresenceReceipt, RecipientKind, ReplyFailure, ReplyFailureKind, ReplyValue, ShardReplies,
    ShardReply, TimedReport, UserAnswer, Wants,
};
pub use tokio_util::sync::CancellationToken;

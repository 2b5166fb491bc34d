//! The data plane: runs a set of shards, keeps their cache, answers about them.
//!
//! The [link](mod@status) to the coordinator owns the lease and the set of shards; each [shard] has one task over one twilight
//! connection; the [cache] is one per shard. Permits to IDENTIFY come from the coordinator through twilight's own queue
//! trait. Everything that others ask is answered from what the shards publish, without asking their tasks.

pub mod cache;
pub mod clock;
pub mod config;
mod discord;
mod identify;
pub mod lease;
mod link;
mod metrics;
mod rpc;
mod service;
pub mod shard;
pub mod shards;
pub mod status;
pub mod tally;

pub use config::{Args, Config};
pub use discord::TokenRefused;
pub use link::LinkError;
pub use service::{Parts, Worker, WorkerError};

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
//! then acknowledges it.

mod bridge;
mod client;
mod deadline;
mod fan_out;
mod hub;
mod local;
mod merge;
mod metrics;
mod peers;
mod service;

pub use bridge::Bridge;
pub use client::{BridgeClient, ClientError};
pub use deadline::Deadlines;
pub use hub::{Hub, HubItem, HubSubscription};
pub use local::{LocalShards, RecentReports, TimedReport};
pub use metrics::BridgeMetrics;
pub use peers::Peers;

//! The control plane: decides which worker runs which shard, queues IDENTIFYs, answers questions about the whole fleet.
//!
//! A pure core in a thin shell. The state machines of [`fleet`] decide: no I/O, no clock, time goes in as an argument. The
//! driver owns them while this coordinator holds the [term](fleet_store::FleetStore::claim_term): it feeds them
//! what workers report and what the store says, and carries out what they want. Everything else reads published
//! [snapshots](snapshot) and never waits for the driver.

mod clock;
pub mod config;
mod dial_back;
pub mod discord;
mod driver;
#[cfg(test)]
mod fuzzing;
mod handle;
mod health;
mod history;
mod https;
mod live_page;
pub mod metrics;
mod rpc;
mod run;
mod service;
pub mod snapshot;
mod term;
mod webhook;
mod webhook_target;

pub use config::{CoordinatorArgs, CoordinatorConfig};
pub use run::run;
pub use service::{Coordinator, CoordinatorError, CoordinatorParts};

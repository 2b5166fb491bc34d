//! The task of one shard: its gateway connections, and what becomes of an event.
//!
//! The [`runner`] makes one [`connection`] after another over a [`socket`], and publishes what it learns in the
//! [`ShardState`](crate::shard_state::ShardState), which it alone changes. An event passes the socket, the lease check,
//! and the [`intake`] with cache and queue; then the watermark moves. An event that arrives while the lease is not known to
//! hold is dropped, so that a later RESUME brings it again.

mod commands;
mod connection;
mod dialing;
mod hints;
mod intake;
mod parts;
mod protocol;
mod runner;
mod silence;
mod socket;
mod starting;

pub(crate) use commands::Commands;
pub(crate) use dialing::Dialing;
pub(crate) use parts::RunnerParts;
pub use protocol::GatewayCompression;
pub(crate) use protocol::GatewaySettings;
pub(crate) use runner::Runner;

//! The handoff of a shard from one live worker to another.
//!
//! The [target](arrival) asks the source for a copy while that runs on, and gets the records of all guilds ([`outgoing`]).
//! When the source must release the shard it closes the connection, and sends what has changed since, what is not handled yet,
//! and its last head. So the target has everything before it starts the shard, and starts without reading. The checkpoint in
//! the store is written too; the target resumes from it when the copy is incomplete.

pub(crate) mod arrival;
pub(crate) mod outgoing;
mod source;

pub(crate) use arrival::{Arrival, Arrivals, HandoffState};
pub(crate) use outgoing::CopySlot;

#[cfg(test)]
mod tests;

//! The way of a shard from one live worker to another.
//!
//! The [target](arrival) asks the source for a copy while that runs on, and gets the records of all guilds ([`outgoing`]).
//! When the source is told to run the shard no more it closes the connection, and sends what has changed since, what is not
//! handled yet, and its last head. So the target has everything before it is told to begin, and begins without reading. The
//! checkpoint in the store is written all the same, and is what the target goes on from when the copy has not come to its end.

pub(crate) mod arrival;
pub(crate) mod outgoing;

pub(crate) use arrival::{Arrival, Arrivals, HandoffState};
pub(crate) use outgoing::CopySlot;

#[cfg(test)]
mod tests;

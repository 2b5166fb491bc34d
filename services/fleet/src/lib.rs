//! The decisions of the coordinator as pure state machines.
//!
//! [`Fleet`] decides which worker runs which shard, [`placement`] computes where shards go, [`identify`] grants permits
//! for IDENTIFY, [`shard_total`] computes how many shards the bot needs, [`history`] keeps what happened until it is written. None of them does I/O, reads a clock or draws
//! random numbers: time goes in as an argument, effects come out as values, so every run can be replayed. The coordinator
//! owns these machines and carries out their effects.

mod fleet;
pub mod history;
pub mod identify;
pub mod placement;
pub mod shard_total;

pub use fleet::*;

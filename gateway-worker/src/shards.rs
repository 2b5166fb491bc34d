//! The shards of this worker: started, stopped, watched, and asked.
//!
//! The [link](mod@crate::status) owns the [`ShardSet`] and alone changes it. [`RunningShards`] is what all others read: each
//! [`RunningShard`] has the state of a shard and what reaches its task and its bot code.

mod abort;
mod answers;
mod commands;
mod messages;
mod objects;
mod published;
mod running;
mod set;
mod snapshot;

#[cfg(test)]
pub(crate) use messages::CALLS;
pub use published::RunningShards;
pub use running::RunningShard;
pub(crate) use set::{ShardParts, ShardSet};

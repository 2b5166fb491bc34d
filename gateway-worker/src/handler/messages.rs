//! What a shard is told and asked by other parts of the bot, and what bot code says to it.

use std::fmt;

pub use shard_bridge::{ShardMessage, ShardRequest};

/// Whether bot code takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOutcome {
    /// It does.
    Accepted,
    /// It does not know this type, say: the sender is told so, unless somebody else here takes the message.
    Declined,
}

/// There is no reply to a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Bot code does not know what is asked.
    #[error("it does not know what is asked")]
    UnknownType,
    /// It failed, and why: for whoever asked. Cut to 256 bytes.
    #[error("{0}")]
    Failed(String),
}

impl RequestError {
    /// It failed for this reason.
    pub fn failed(reason: impl fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}

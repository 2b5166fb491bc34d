//! Messages and requests from other parts of the bot to a shard, and the answers of bot code.

use std::fmt;

pub use shard_bridge::{ShardMessage, ShardRequest};

/// Whether bot code accepts a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOutcome {
    /// It handles the message.
    Accepted,
    /// It does not handle this message, for example because it does not know its type. The sender is told so, unless a
    /// subscriber on this worker receives the message.
    Declined,
}

/// There is no reply to a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Bot code does not know the type of the request.
    #[error("bot code does not know this type of request")]
    UnknownType,
    /// It failed; the reason is sent to the caller, cut to 256 bytes.
    #[error("{0}")]
    Failed(String),
}

impl RequestError {
    /// It failed for this reason.
    pub fn failed(reason: impl fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}

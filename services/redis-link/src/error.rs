//! What can go wrong between us and Redis.

use std::time::Duration;

use crate::script::TOO_LARGE;
use outside_text::printable;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// A command has no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Redis can't be reached, is not ready to serve, or did not answer in time. Whether the command was carried out is
    /// not known.
    #[error("{0}")]
    Away(String),
    /// Redis answered, and refused the command: its words.
    #[error("redis refused: {0}")]
    Refused(String),
    /// Redis answered something other than what was asked for.
    #[error("redis answered something unexpected: {0}")]
    Unexpected(String),
}

impl LinkError {
    pub(crate) fn late(deadline: Duration) -> Self {
        Self::Away(format!("redis gave no answer within {} ms", deadline.as_millis()))
    }
}

impl From<RedisError> for LinkError {
    fn from(error: RedisError) -> Self {
        // Part of it is the server's own text.
        let text = printable(&error.to_string()).to_string();
        match error.kind() {
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask,
            )
            | ErrorKind::Io
            | ErrorKind::ClusterConnectionNotFound => Self::Away(text),
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse => Self::Unexpected(text),
            _ if error.code() == Some(TOO_LARGE) => Self::Unexpected(text),
            _ => Self::Refused(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_server_is_escaped_and_cut() {
        let said = format!("no\u{1b}[2J\r\n{}", "x".repeat(10_000));
        let error = RedisError::from((ErrorKind::Extension, "refused", said));
        let shown = LinkError::from(error).to_string();
        assert!(shown.contains("no\\u{1b}[2J\\r\\n") && shown.len() < 300, "{shown}");
    }
}

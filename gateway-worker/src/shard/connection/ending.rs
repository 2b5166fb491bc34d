//! How a connection ends.

use outside_text::printable;

use super::{Connection, ConnectionEnd};
use crate::shard::protocol::fatal_meaning;

/// The close code for a RESUME with a sequence that the session never reached: another RESUME would repeat it.
const INVALID_SEQUENCE: u16 = 4007;

impl Connection<'_> {
    /// Handles a close by Discord; `None` without a code.
    pub(super) fn closed(&self, close: Option<(u16, String)>) -> ConnectionEnd {
        let Some((code, reason)) = close else {
            return ConnectionEnd::Lost("closed without a code".to_owned());
        };
        let reason = printable(&reason);
        if let Some(meaning) = fatal_meaning(code) {
            tracing::error!(shard.id = %self.shard().key(), code, %reason, "shard failed: {meaning}");
            return ConnectionEnd::Failed(code, format!("closed with {code}: {meaning}"));
        }
        let cause = format!("closed with {code} {reason}").trim_end().to_owned();
        if code == INVALID_SEQUENCE { ConnectionEnd::Hopeless(cause) } else { ConnectionEnd::Lost(cause) }
    }
}

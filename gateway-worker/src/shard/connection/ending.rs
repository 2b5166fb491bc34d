//! How a connection ends.

use outside_text::printable;

use super::{Life, Over};
use crate::shard::protocol::fatal_meaning;

/// The close code for a RESUME with a sequence that the session never reached: another RESUME would repeat it.
const INVALID_SEQUENCE: u16 = 4007;

impl Life<'_> {
    /// Handles a close by Discord; `None` without a code.
    pub(super) fn closed(&self, close: Option<(u16, String)>) -> Over {
        let Some((code, reason)) = close else {
            return Over::Lost("closed without a code".to_owned());
        };
        let reason = printable(&reason);
        if let Some(meaning) = fatal_meaning(code) {
            tracing::error!(shard.id = %self.shard().number(), code, %reason, "shard failed: {meaning}");
            return Over::Failed(code, format!("closed with {code}: {meaning}"));
        }
        let cause = format!("closed with {code} {reason}").trim_end().to_owned();
        if code == INVALID_SEQUENCE { Over::Hopeless(cause) } else { Over::Lost(cause) }
    }
}

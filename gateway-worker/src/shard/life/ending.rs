//! How a connection ends.

use outside_text::printable;

use super::{Life, Over};
use crate::shard::connection::fatal_meaning;

impl Life<'_> {
    /// Handles a close by Discord; `None` without a code.
    pub(super) fn closed(&self, close: Option<(u16, String)>) -> Over {
        let Some((code, reason)) = close else {
            return Over::Lost("closed without a code".to_owned());
        };
        let reason = printable(&reason);
        if let Some(meaning) = fatal_meaning(code) {
            tracing::error!(shard.id = %self.shard().number, code, %reason, "shard failed: {meaning}");
            self.shard().set_failed(code, format!("closed with {code}: {meaning}"));
            return Over::Failed;
        }
        Over::Lost(format!("closed with {code} {reason}").trim_end().to_owned())
    }
}

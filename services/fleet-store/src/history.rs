//! The store of the fleet's history: the last entries, bounded by number and bytes.
//!
//! Entries are the coordinator's own text; the store knows only who wrote them and their numbers. They are not fenced: two
//! coordinators may append, and each entry says under which term it was written.

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use fleet_model::Incarnation;

use crate::FleetStoreError;

/// The most entries that a store keeps.
pub const HISTORY_ENTRIES: usize = 10_000;

/// The most bytes of all entries' texts.
pub const HISTORY_BYTES: usize = 4 << 20;

/// How many entries a repeated write looks back for those that it wrote already: more than a coordinator writes at once.
pub(crate) const LOOKED_BACK: usize = 1_024;

/// Keeps the history. Every method has a deadline of its own (2 s).
#[async_trait]
pub trait HistoryStore: Send + Sync + 'static {
    /// Appends entries in order, and removes the oldest beyond the bounds. `repeated`: an earlier call with some of them failed
    /// and may have been carried out; then entries up to the last number that `writer` has written are skipped.
    async fn append_history(
        &self,
        writer: &Incarnation,
        repeated: bool,
        entries: &[HistoryText],
    ) -> Result<(), FleetStoreError>;

    /// Returns the newest entries, newest first; with `before` those that are older than that one.
    async fn read_history(
        &self,
        before: Option<HistoryId>,
        most: usize,
    ) -> Result<Vec<StoredHistory>, FleetStoreError>;
}

/// An entry as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryText {
    /// Its number: higher than the one before it of the same writer.
    pub number: u64,
    /// The text.
    pub text: String,
}

/// An entry as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHistory {
    /// Its place.
    pub id: HistoryId,
    /// The coordinator that wrote it.
    pub writer: String,
    /// The number and the text.
    pub entry: HistoryText,
}

/// The place of an entry in the store: later entries have higher ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryId {
    /// The store's clock when it was written, in milliseconds since the Unix epoch.
    pub ms: u64,
    /// Its place among the entries of that millisecond.
    pub sequence: u64,
}

/// The text is not the id of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the id of a history entry, such as 1760000000000-0")]
pub struct InvalidHistoryId;

impl fmt::Display for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.sequence)
    }
}

impl FromStr for HistoryId {
    type Err = InvalidHistoryId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ms, sequence) = text.split_once('-').ok_or(InvalidHistoryId)?;
        let number = |text: &str| text.parse().map_err(|_| InvalidHistoryId);
        Ok(Self { ms: number(ms)?, sequence: number(sequence)? })
    }
}

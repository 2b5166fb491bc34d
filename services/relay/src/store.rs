//! The streams as everybody else sees them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fleet_model::{Classified, Epoch, ErrorClass, ShardKey, ShardSlot};

use crate::{Entry, EntryId, EventNames, NewEntry, Position};

/// Where the streams are.
#[async_trait]
pub trait RelayStore: Send + Sync + 'static {
    /// Appends a shard's entries, each to the stream of its name, in order of their positions. One at or below the position that the shard
    /// has reached already is left out.
    ///
    /// `believed`: the position that the caller knows to be reached; when the store has not come so far it has lost writes, and nothing
    /// is appended. `None` from a caller that does not know.
    ///
    /// # Errors
    /// [`RelayError::Away`]; then all, some or none of them may be there.
    async fn append(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        believed: Option<Position>,
        entries: &[NewEntry],
    ) -> Result<Appended, RelayError>;

    /// Moves the shard's fence from `seen` back to `to`, so that entries above `to` are taken again. Does nothing if the fence is
    /// elsewhere, so it can be sent twice.
    ///
    /// # Errors
    /// [`RelayError::Away`]: the fence may have been moved.
    async fn rewind(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        seen: Position,
        to: Position,
    ) -> Result<Appended, RelayError>;

    /// The same streams for one reader, whose waiting delays no other call.
    fn reader(&self) -> Arc<dyn RelayStore>;

    /// The id of the last entry of all streams.
    ///
    /// # Errors
    /// [`RelayError::Away`].
    async fn newest(&self) -> Result<EntryId, RelayError>;

    /// The generation of the numbers of entries. In another generation they are other entries': the store has lost writes, or is new.
    ///
    /// # Errors
    /// [`RelayError::Away`].
    async fn generation(&self) -> Result<u64, RelayError>;

    /// The positions that shards have reached; `None` for a shard without entries.
    ///
    /// # Errors
    /// [`RelayError::Away`].
    async fn reached(&self, shards: &[ShardSlot]) -> Result<Vec<Option<Position>>, RelayError>;

    /// An id from which [`RelayStore::read`] returns every entry that has a higher number, and a few before.
    ///
    /// # Errors
    /// [`RelayError::Away`].
    async fn locate(&self, number: u64) -> Result<EntryId, RelayError>;

    /// What comes after an id in the streams of these names, in order; waits so long for the first.
    ///
    /// # Errors
    /// [`RelayError::Away`].
    async fn read(&self, names: &EventNames, after: EntryId, wait: Duration) -> Result<Page, RelayError>;
}

/// What became of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// They are in the streams.
    Done {
        /// The position that the shard has reached; `None` when it has none yet.
        reached: Option<Position>,
        /// How many of them were not there before.
        appended: u64,
        /// How many old entries made room for them.
        cut: u64,
    },
    /// The store has lost writes: it has come only so far, and took nothing.
    Lost {
        /// How far; `None` when it knows nothing of the shard.
        reached: Option<Position>,
    },
    /// Another worker relays the shard, under this epoch.
    Outranked(Epoch),
}

/// A part of the streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In order; may be empty.
    pub entries: Vec<Entry>,
    /// All up to here was looked at: where to go on.
    pub next: EntryId,
    /// Entries after the requested id are gone: trimmed, or lost with the store's last writes.
    pub cut: bool,
    /// The generation of the numbers, as it was before the entries were read. Entries that were appended meanwhile can have the next one.
    pub generation: u64,
}

/// How much the streams hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Entries of a stream. Approximate: a few more may be there.
    pub length: u64,
    /// Their size, in bytes, as the entries' average has it.
    pub bytes: u64,
    /// Their age.
    pub age: Duration,
}

impl Default for Caps {
    /// 100,000 entries, 256 MiB, an hour.
    fn default() -> Self {
        Self { length: 100_000, bytes: 256 * 1024 * 1024, age: Duration::from_hours(1) }
    }
}

/// The streams don't answer as they should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// They can't be reached.
    #[error("the relay's Redis is away: {0}")]
    Away(String),
    /// They hold something else.
    #[error("unexpected data in the relay's Redis: {0}")]
    Unexpected(String),
}

impl Classified for RelayError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Away(_) => ErrorClass::Unavailable,
            Self::Unexpected(_) => ErrorClass::NotPermitted,
        }
    }
}

//! What a store does for a checkpoint: claim it, write it step by step, read it page by page.
//!
//! Two numbers guard it. The *epoch* keeps earlier owners out. The *serial* grows with each step: a writer whose serial is not the
//! store's learns that the store lost what it had been told, and writes everything again.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use fleet_model::{Classified, Epoch, ErrorClass, ShardKey};
use redis_link::RecordError;

use crate::RecordKey;

/// How long a checkpoint is kept after the last claim or write. A session lives for minutes, so an older one can't be resumed.
pub const KEPT: Duration = Duration::from_hours(1);

/// About as large a step should be, in bytes: a store does nothing else meanwhile.
pub const CHUNK: usize = 256 * 1024;

/// A serial from here on was never given out; stores count in numbers of 15 digits.
pub(crate) const SERIALS: u64 = 1_000_000_000_000_000;

/// The store's rules.
///
/// Every method has a deadline of its own (2 s over Redis) and fails with [`CheckpointStoreError`] rather than wait longer. Ages are counted by
/// the store's clock.
#[async_trait]
pub trait CheckpointStore: Send + Sync + 'static {
    /// Claims a shard's checkpoint for the owner at this epoch: from here on lower epochs can't write. Returns what is stored by
    /// an earlier owner. The same epoch may claim again and gets the same answer.
    async fn claim(&self, shard: ShardKey, epoch: Epoch) -> Result<ClaimAnswer, CheckpointStoreError>;

    /// Writes one step, wholly or not at all. `serial` is what the last answer said.
    ///
    /// After an error it is unknown whether the step was written. If the next step's answer is then [`StepAnswer::Lost`] with exactly
    /// `serial + 1`, it was: only this owner writes at this epoch, and what a store loses makes the serial lower.
    async fn write(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        serial: u64,
        step: &WriteStep,
    ) -> Result<StepAnswer, CheckpointStoreError>;

    /// Reads one page of the records, in no order, beginning at [`Cursor::START`]. `serial` is what the claim said, so that all pages
    /// are of one state: the owner that claimed does not write until the last page. A record may come more than once.
    async fn read(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        serial: u64,
        cursor: Cursor,
    ) -> Result<PageRead, CheckpointStoreError>;

    /// How old the head is and for which total; `None` without one. Asked without being the owner.
    async fn freshness(&self, shard: ShardKey) -> Result<Option<Freshness>, CheckpointStoreError>;
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// It is the caller's.
    Yours(StoredCheckpoint),
    /// Refused: the shard has this higher epoch.
    Outranked(Epoch),
}

/// What is there of a shard's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// For the next step, or for reading. 0 when nothing was ever written.
    pub serial: u64,
    /// How many records there are: the pages bring exactly these.
    pub records: u64,
    /// The head. Records without one are of a first write that was not finished.
    pub head: Option<StoredHead>,
    /// The epoch of the owner before the caller, if one claimed within [`KEPT`], even if it wrote nothing.
    pub owner_before: Option<Epoch>,
}

/// A head as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHead {
    /// For [`HeadKeys::decode_head`](crate::HeadKeys::decode_head).
    pub bytes: Bytes,
    /// How long ago it was written.
    pub age: Duration,
}

/// One step of a write.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WriteStep {
    /// Everything stored before goes first, the head too: a new session begins, or the store lost what it was told. Is written if
    /// the store's serial is not above the writer's, even if the store lost steps.
    pub fresh: bool,
    /// Records to be removed. No error for one that is not there.
    pub remove: Vec<RecordKey>,
    /// Records to be set. One that is to be removed too is set.
    pub set: Vec<(RecordKey, Bytes)>,
    /// The new head.
    pub head: Option<HeadWrite>,
}

/// A head to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct HeadWrite {
    /// From [`HeadKeys::encode_head`](crate::HeadKeys::encode_head).
    pub bytes: Bytes,
    /// The session's shard total, for [`CheckpointStore::freshness`].
    pub total: u32,
}

/// The answer to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepAnswer {
    /// Written.
    Yes {
        /// For the next step.
        serial: u64,
    },
    /// Nothing was written: the store is not where the writer left it. It writes everything again, with this serial and the first
    /// step `fresh`.
    Lost {
        /// Where the store is; 0 when it has nothing.
        serial: u64,
    },
    /// Nothing was written: the shard has this higher epoch.
    Outranked(Epoch),
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) position: u64,
    /// How many records to ask for.
    pub(crate) count: u32,
}

impl Cursor {
    /// At the first page.
    pub const START: Self = Self { position: 0, count: 64 };
}

/// The answer to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageRead {
    /// Some of the records.
    Page(Page),
    /// The store is not in the state that was claimed: what was read so far is not all of it.
    Lost {
        /// Where the store is.
        serial: u64,
    },
    /// The shard has this higher epoch.
    Outranked(Epoch),
}

/// Some of the records.
#[derive(Clone, PartialEq, Eq)]
pub struct Page {
    /// The records' names, for [`RecordKey`]'s `FromStr`, and their bytes, for [`decode_record`](crate::decode_record).
    pub records: Vec<(String, Bytes)>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
}

/// How fresh a shard's checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The epoch of the owner.
    pub epoch: Epoch,
    /// The session's shard total.
    pub total: u32,
    /// How long ago the head was written.
    pub age: Duration,
    /// How many records there are.
    pub records: u64,
}

/// The store can't say.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CheckpointStoreError {
    /// It did not answer, or not in time.
    #[error("the checkpoint store is away: {0}")]
    Away(String),
    /// Unexpected record format at this key.
    #[error("unexpected record format in the checkpoint store: {0}")]
    Unexpected(String),
}

impl From<RecordError> for CheckpointStoreError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Unexpected(key) => Self::Unexpected(key),
            RecordError::Away(why) => Self::Away(why),
        }
    }
}

impl Classified for CheckpointStoreError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Away(_) => ErrorClass::Unavailable,
            Self::Unexpected(_) => ErrorClass::DataLoss,
        }
    }
}

impl fmt::Debug for StoredHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredHead({} bytes, {} ms old)", self.bytes.len(), self.age.as_millis())
    }
}

impl fmt::Debug for HeadWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadWrite({} bytes, total {})", self.bytes.len(), self.total)
    }
}

impl fmt::Debug for WriteStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<_> =
            self.set.iter().map(|(key, bytes)| format!("{key}={} bytes", bytes.len())).collect();
        f.debug_struct("WriteStep")
            .field("fresh", &self.fresh)
            .field("remove", &self.remove)
            .field("set", &set)
            .field("head", &self.head)
            .finish()
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.records.iter().map(|(_, bytes)| bytes.len()).sum();
        write!(f, "Page({} records, {bytes} bytes, next {:?})", self.records.len(), self.next)
    }
}

//! What a store does against an event that kills its worker: notes with which events handlers begin, and keeps those that were
//! noted too often, apart from the checkpoint.
//!
//! A note is an owner's: of the epoch under which a handler was about to begin. One that is still there under the next epoch is of a
//! handler that never came to its end. Notes and setting aside are fenced by the epoch, as writes are; what operators do with
//! events that are set aside is not.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use fleet_model::{ByteString, Epoch, Position, ShardKey, ShardSlot};

use crate::CheckpointStoreError;

/// The most events that are set aside for a shard: one more, and the oldest goes.
pub const MOST_SET_ASIDE: usize = 100;

/// The most bytes of them, as they are stored: beyond it the oldest go. The newest is kept at any size.
pub const MOST_SET_ASIDE_BYTES: usize = 4 * 1024 * 1024;

/// How long an event stays set aside.
pub const SET_ASIDE_KEPT: Duration = Duration::from_hours(30 * 24);

/// The store's rules. Every method has a deadline of its own (2 s over Redis) and fails with [`CheckpointStoreError`] rather than wait longer.
#[async_trait]
pub trait SetAsideStore: Send + Sync + 'static {
    /// Notes that a handler is about to begin with an event, if less than `below` other owners noted it. A note is kept for
    /// [`KEPT`](crate::KEPT) after the shard's last one.
    ///
    /// After an error it is unknown whether the attempt was noted; noting it again under the same epoch changes nothing.
    async fn note(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        at: Position,
        below: u32,
    ) -> Result<NoteAnswer, CheckpointStoreError>;

    /// Removes the notes of these owners, of one event or of all.
    async fn void_notes(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        at: Option<Position>,
        owners: &[Epoch],
    ) -> Result<Fenced, CheckpointStoreError>;

    /// A handler came to its end with an event: all notes of it go, other owners' too. No error when there are none.
    async fn take_back(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        at: Position,
    ) -> Result<Fenced, CheckpointStoreError>;

    /// Sets an event aside for [`SET_ASIDE_KEPT`]; takes the place of one at the same position. Its notes stay: until a
    /// checkpoint is without it, it may come again.
    async fn set_aside(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        event: &SetAside,
    ) -> Result<Fenced, CheckpointStoreError>;

    /// What is set aside of a shard, by position.
    async fn list_aside(&self, shard: ShardSlot) -> Result<Vec<SetAsideSummary>, CheckpointStoreError>;

    /// One event that is set aside.
    async fn get_aside(
        &self,
        shard: ShardSlot,
        at: Position,
    ) -> Result<Option<SetAside>, CheckpointStoreError>;

    /// Deletes one event that is set aside; false when it does not exist.
    async fn drop_aside(&self, shard: ShardSlot, at: Position) -> Result<bool, CheckpointStoreError>;
}

/// The answer to a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteAnswer {
    /// It is noted.
    Yes {
        /// By how many other owners before.
        before: u32,
    },
    /// Already noted this many times, so it is not noted again.
    No {
        /// By how many.
        before: u32,
    },
    /// Nothing was noted: the shard has this higher epoch.
    Outranked(Epoch),
}

/// The answer to what is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// Done.
    Done {
        /// How many events that had been set aside before went to make room.
        forgotten: u32,
    },
    /// Nothing was done: the shard has this higher epoch.
    Outranked(Epoch),
}

/// An event that is set aside.
#[derive(Clone, PartialEq, Eq)]
pub struct SetAside {
    /// All but its payload.
    pub summary: SetAsideSummary,
    /// The gateway payload as it came.
    pub text: ByteString,
}

/// An event that is set aside, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAsideSummary {
    /// Which.
    pub at: Position,
    /// Discord's name for it.
    pub name: String,
    /// When a worker first received it, in milliseconds since the Unix epoch.
    pub received_at_unix_ms: u64,
    /// When it was set aside, in milliseconds since the Unix epoch.
    pub set_aside_at_unix_ms: u64,
    /// How often it was noted, and its handler did not come to its end.
    pub noted: u32,
}

impl fmt::Debug for SetAside {
    /// Without what people wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetAside({:?}, {} bytes)", self.summary, self.text.len())
    }
}

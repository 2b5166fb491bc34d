//! What another worker needs to take a shard over without an IDENTIFY: the records, their formats, and where they are kept.
//!
//! Owns the types of the records, their compressed and versioned form, and the compare-and-write rules that fence them.
//! Knows nothing of sockets or of the cache: blocks pass unchanged, and in older formats Discord's objects are JSON. The worker decides
//! what to write and when; this crate only refuses stale writes.
//!
//! Writing goes [`Record`] -> [`encode_record`] -> [`WriteStep`] -> [`CheckpointStore::write`]; reading goes
//! [`CheckpointStore::claim`] -> [`CheckpointStore::read`] -> [`decode_record`]. Two stores keep the same contract:
//! [`CheckpointMemoryStore`] for one process, [`CheckpointRedisStore`] for many.
//!
//! Beside the checkpoint, [`SetAsideStore`] keeps what is known of events whose handlers killed their workers.
//!
//! What makes it safe to die at any moment: [`Head::read`] is written last, in or after the step with the last change up to it. So
//! the records may be newer than the head, never older, and each says by its stamp which events it holds already.

mod format;
#[cfg(test)]
mod fuzzing;
mod head_keys;
mod memory;
mod page;
mod record;
mod redis;
mod set_aside;
mod store;

pub use fleet_model::Position;
pub use format::{
    FORMAT_MAX, FORMAT_MIN, FORMAT_OF_BLOCKS, FormatError, decode_head, decode_record, encode_head,
    encode_record, format_of,
};
pub use head_keys::{HeadKeys, HeadPlace, HeadRefused, InvalidHeadKeys, ReadHeadError};
pub use memory::CheckpointMemoryStore;
pub use record::{Extras, GuildCore, Head, InvalidKey, Members, PendingEvent, Record, RecordKey, Session};
pub use redis::CheckpointRedisStore;
pub use set_aside::{
    Fenced, MOST_SET_ASIDE, MOST_SET_ASIDE_BYTES, NoteAnswer, SET_ASIDE_KEPT, SetAside, SetAsideStore,
    SetAsideSummary,
};
pub use store::{
    CHUNK, CheckpointStore, CheckpointStoreError, ClaimAnswer, Cursor, Freshness, HeadWrite, KEPT, Page,
    PageRead, StepAnswer, StoredCheckpoint, StoredHead, WriteStep,
};

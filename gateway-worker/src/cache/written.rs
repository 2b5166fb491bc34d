//! The records of a guild, and how they are written.

use bytes::Bytes;
use checkpoint::{FORMAT_OF_BLOCKS, RecordKey};

/// The records of one guild to write and to remove.
#[derive(Debug, Default)]
pub(crate) struct GuildRecords {
    /// Records of members, to be written in this order and before `together`. They may be newer than the core.
    pub(crate) members: Vec<(RecordKey, Bytes)>,
    /// Records to write in one step, all of one moment.
    pub(crate) together: Vec<(RecordKey, Bytes)>,
    /// Records to remove in the same step.
    pub(crate) gone: Vec<RecordKey>,
}

/// How records are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrittenAs {
    pub(crate) format: u16,
    /// The store may hold records of the guild with keys of other formats. These are removed, and all records are written.
    pub(crate) moves: bool,
}

impl WrittenAs {
    /// Records in a format, for a reader that holds no records with other keys.
    pub(crate) fn only(format: u16) -> Self {
        Self { format, moves: false }
    }

    pub(crate) fn is_blocks(self) -> bool {
        self.format >= FORMAT_OF_BLOCKS
    }
}

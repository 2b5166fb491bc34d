//! The records of a guild, and how they are written.

use bytes::Bytes;
use checkpoint::{FORMAT_OF_BLOCKS, RecordKey};

/// The records of one guild that are to be written, and those that are to be removed.
#[derive(Debug, Default)]
pub(crate) struct GuildRecords {
    /// Records of members, to be written in this order and before `together`: newer ones do no harm.
    pub(crate) members: Vec<(RecordKey, Bytes)>,
    /// To be written in one step: all of one moment.
    pub(crate) together: Vec<(RecordKey, Bytes)>,
    /// To be removed in that step.
    pub(crate) gone: Vec<RecordKey>,
}

/// How records are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrittenAs {
    pub(crate) format: u16,
    /// The store may hold the guild in the keys of the other formats: those are removed, and everything is written.
    pub(crate) moves: bool,
}

impl WrittenAs {
    /// In a format, to a reader that holds nothing else.
    pub(crate) fn only(format: u16) -> Self {
        Self { format, moves: false }
    }

    pub(crate) fn is_blocks(self) -> bool {
        self.format >= FORMAT_OF_BLOCKS
    }
}

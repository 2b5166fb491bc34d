//! What a worker reports about itself when it registers.

use std::collections::BTreeMap;

use crate::{Epoch, Generation, HeadKeyId, SessionNeeds, ShardKey};

/// The checkpoint format that every version reads.
pub const FIRST_FORMAT: u16 = 1;

/// A worker's description of itself.
#[derive(Clone, Debug, Default)]
pub struct WorkerProfile {
    /// Its advertised URL.
    pub url: String,
    /// Version of the program.
    pub version: String,
    /// How many shards it takes at most; `None` means no cap.
    pub capacity: Option<u32>,
    /// Its generation; `None` before it has registered.
    pub generation: Option<Generation>,
    /// What it opens sessions with; `None` from older versions.
    pub needs: Option<SessionNeeds>,
    /// The checkpoint formats that it reads.
    pub formats: CheckpointFormats,
    /// The head keys that it holds, newest first; none without credentials and from older versions.
    pub head_keys: Vec<HeadKeyId>,
    /// It was told once that unsigned heads are refused.
    pub refuses_unsigned_heads: bool,
}

/// The checkpoint formats that a worker reads, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CheckpointFormats {
    /// The oldest format.
    pub oldest: u16,
    /// The newest format.
    pub newest: u16,
}

impl Default for CheckpointFormats {
    /// The formats of a worker that reports none.
    fn default() -> Self {
        Self { oldest: FIRST_FORMAT, newest: FIRST_FORMAT }
    }
}

/// The shards that a worker runs already when it registers.
#[derive(Clone, Debug, Default)]
pub struct ClaimedShards {
    /// The shards with their epochs.
    pub shards: BTreeMap<ShardKey, Epoch>,
    /// The total that it runs them with; 0 if it runs none.
    pub total: u32,
}

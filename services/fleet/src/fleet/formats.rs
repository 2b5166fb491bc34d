//! Which format checkpoints are written in: the newest that every worker reads.
//!
//! Whoever takes a shard over must be able to read what its owner wrote, so the format goes down as soon as an older worker
//! registers, and up when the last of them is gone. Workers that were written down and have not been heard by this coordinator may
//! read anything. Until they are heard or lost nothing is changed, as far as the others agree: what is in force was right for all
//! of them, and a format that goes down costs each worker all its records.

use super::Fleet;

/// The format that every version has read.
const FIRST: u16 = 1;

/// What tells a worker to go on as it does.
const AS_BEFORE: u16 = 0;

/// The checkpoint formats that a worker reads, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Formats {
    /// The oldest.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
}

impl Default for Formats {
    /// Those of a worker that does not say.
    fn default() -> Self {
        Self { oldest: FIRST, newest: FIRST }
    }
}

impl Fleet {
    /// What every worker is told to write in. One that does not read it, as it reads newer ones only, identifies.
    pub(super) fn checkpoint_format(&self) -> u16 {
        let newest = |heard| {
            let some = self.workers.values().filter(move |worker| worker.heard == heard);
            some.map(|worker| worker.formats.newest)
        };
        let Some(lowest) = newest(true).min() else { return AS_BEFORE };
        let unheard = newest(false).next().is_some();
        match newest(true).max() {
            Some(highest) if unheard && highest == lowest => AS_BEFORE,
            _ if unheard => FIRST,
            _ => lowest,
        }
    }
}

//! The format of checkpoints: the newest that every worker reads.
//!
//! A shard's next owner must be able to read the previous owner's checkpoint, so the format goes down as soon as an older
//! worker registers, and up when the last of them is gone. The formats of recovered workers that have not registered here are
//! unknown. Until they register or are lost, the format stays as it is if the others agree: it was right for all of them, and
//! a lower format makes each worker write all its records again.

use fleet_model::FIRST_FORMAT;

use super::Fleet;

/// Tells a worker to keep its format.
const AS_BEFORE: u16 = 0;

impl Fleet {
    /// Returns the format that every worker is told to write. A worker that reads only newer formats must IDENTIFY.
    pub(super) fn checkpoint_format(&self) -> u16 {
        let newest = |heard| {
            let some = self.workers.values().filter(move |worker| worker.liveness.heard == heard);
            some.map(|worker| worker.profile.formats.newest)
        };
        let Some(lowest) = newest(true).min() else { return AS_BEFORE };
        let unheard = newest(false).next().is_some();
        match newest(true).max() {
            Some(highest) if unheard && highest == lowest => AS_BEFORE,
            _ if unheard => FIRST_FORMAT,
            _ => lowest,
        }
    }
}

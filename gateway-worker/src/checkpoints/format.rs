//! The format that this worker writes checkpoints in: the newest that every worker of the fleet reads, as the coordinator says.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use checkpoint::FORMAT_MIN;

/// Set with each assignment, read by every writer at each pass. Clones share the value.
#[derive(Clone, Debug)]
pub(crate) struct WrittenFormat {
    now: Arc<AtomicU16>,
    newest: u16,
}

impl WrittenFormat {
    /// Begins with the oldest. `newest`: never one above it.
    pub(crate) fn up_to(newest: u16) -> Self {
        Self { now: Arc::new(AtomicU16::new(FORMAT_MIN)), newest }
    }

    /// Sets the format that the coordinator assigned; 0 changes nothing.
    pub(crate) fn assign(&self, format: u16) {
        if format > 0 {
            self.now.store(format.clamp(FORMAT_MIN, self.newest), Ordering::Relaxed);
        }
    }

    pub(crate) fn now(&self) -> u16 {
        self.now.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_begins_with_the_oldest_and_follows_the_fleet_within_bounds() {
        let format = WrittenFormat::up_to(2);
        let told = [0, 2, 0, 1, 0, 9].map(|told| {
            format.assign(told);
            format.now()
        });
        assert_eq!(told, [1, 2, 2, 1, 1, 2]);
        let held_back = WrittenFormat::up_to(1);
        held_back.assign(2);
        assert_eq!(held_back.now(), 1);
    }
}

//! Uncached members that recently joined or left, so that a repeated event changes a count only once.

use crate::rules::LATE_EVENTS;

/// The most ids in a generation. A guild remembers two generations, at most 8 KiB.
const MOST: usize = 512;

/// Two generations of ids, each sorted. An entry is twice the id, plus 1 if the member joined. Checkpoints do not hold them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moves {
    young: Vec<u64>,
    old: Vec<u64>,
    /// Sequence at which the young generation began.
    began_at: u64,
}

impl Moves {
    /// Notes that a member joined or left. False when the last noted event of the member was the same: it was counted already.
    pub(crate) fn note(&mut self, id: u64, came: bool, sequence: u64) -> bool {
        if self.young.len() >= MOST || sequence.saturating_sub(self.began_at) > LATE_EVENTS {
            self.old = std::mem::take(&mut self.young);
            self.old.shrink_to_fit();
            self.began_at = sequence;
        }
        // Discord's ids are below 2^63.
        let (key, entry) = (id.wrapping_mul(2), id.wrapping_mul(2) + u64::from(came));
        let found = |list: &[u64]| {
            let place = list.partition_point(|known| *known < key);
            (place, list.get(place).copied().filter(|known| *known | 1 == key | 1))
        };
        let (place, known) = found(&self.young);
        if let Some(known) = known {
            self.young[place] = entry;
            return known != entry;
        }
        if found(&self.old).1 == Some(entry) {
            return false;
        }
        self.young.insert(place, entry);
        true
    }

    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + (self.young.capacity() + self.old.capacity()) * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_event_is_counted_once() {
        let mut moves = Moves::default();
        assert!(moves.note(5, true, 1) && !moves.note(5, true, 2));
        assert!(moves.note(5, false, 3) && !moves.note(5, false, 4));
        assert!(moves.note(4, false, 5) && moves.note(6, true, 6));
        // Ids of the old generation are still known.
        assert!(!moves.note(5, false, 2 + LATE_EVENTS) && moves.note(5, true, 3 + LATE_EVENTS));
        assert!(!moves.note(5, true, 4 + LATE_EVENTS) && !moves.note(6, true, 4 + LATE_EVENTS));
    }

    #[test]
    fn memory_is_bounded_by_number_and_time() {
        let mut moves = Moves::default();
        for id in 1..=100_000 {
            assert!(moves.note(id, true, id));
        }
        assert!(moves.memory() <= 3 * MOST * size_of::<u64>(), "{}", moves.memory());
        assert!(!moves.note(100_000 - MOST as u64, true, 100_000), "recently seen");
        assert!(moves.note(7, true, 200_000) && moves.note(8, true, 400_000));
        assert!(moves.memory() < 200, "{}", moves.memory());
    }
}

//! Members that came and went without being cached, so that a repeated event changes a count once.

/// The most ids that are remembered; about a quarter of a megabyte.
const MOST: usize = 1 << 15;

/// For each id its double, and 1 more if it came; sorted. Checkpoints do not hold it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moves(Vec<u64>);

/// What an id's arrival or departure does to the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// The number changes.
    New,
    /// The id was last seen this way: the event was counted.
    Again,
    /// The number changes, and a repeated event will change it again: too many ids are remembered.
    Forgotten,
}

impl Moves {
    pub(crate) fn note(&mut self, id: u64, came: bool) -> Move {
        // Discord's ids are below 2^63.
        let (key, entry) = (id.wrapping_mul(2), id.wrapping_mul(2) + u64::from(came));
        let (at, is_full) = (self.0.partition_point(|known| *known < key), self.0.len() >= MOST);
        match self.0.get_mut(at) {
            Some(known) if *known == entry => return Move::Again,
            Some(known) if *known == key || *known == key + 1 => *known = entry,
            _ if is_full => return Move::Forgotten,
            _ => {
                self.0.reserve_exact(self.0.len() / 8 + 1);
                self.0.insert(at, entry);
            }
        }
        Move::New
    }

    pub(crate) fn memory(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_event_is_counted_once() {
        let mut moves = Moves::default();
        assert_eq!(moves.note(5, true), Move::New);
        assert_eq!(moves.note(5, true), Move::Again);
        assert_eq!(moves.note(5, false), Move::New);
        assert_eq!(moves.note(5, false), Move::Again);
        assert_eq!(moves.note(4, false), Move::New);
    }

    #[test]
    fn memory_is_bounded() {
        let mut moves = Moves::default();
        for id in 1..=MOST as u64 {
            assert_eq!(moves.note(id, true), Move::New);
        }
        assert_eq!(moves.note(u64::MAX / 2, true), Move::Forgotten);
        assert_eq!(moves.note(7, true), Move::Again);
    }
}

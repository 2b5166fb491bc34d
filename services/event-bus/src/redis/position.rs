//! How far a process has read, and what the next broadcast means for that. No I/O.
//!
//! A stream entry has an id, a sequence number without holes, and the generation of the stream. A Redis that lost all its
//! keys starts a new generation. One that lost its last writes (a replica took over) goes on in the same generation with
//! sequence numbers that were used before, under later ids.

use std::{fmt, str::FromStr};

/// The id of a stream entry. Later entries have greater ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId {
    millis: u64,
    counter: u64,
}

impl FromStr for StreamId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (millis, counter) = text.split_once('-').ok_or(())?;
        Ok(Self { millis: millis.parse().map_err(drop)?, counter: counter.parse().map_err(drop)? })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.counter)
    }
}

/// Where a broadcast is in the stream; or the last one read; or the last one there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Of the stream; empty while there was no broadcast ever.
    pub(super) generation: String,
    /// Counts from 1 in each generation.
    pub(super) sequence: u64,
    /// The entry's id.
    pub(super) id: StreamId,
}

/// Broadcasts that can't be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// How many, when that is known.
    pub(super) count: Option<u64>,
    /// Why, for people.
    pub(super) reason: &'static str,
}

/// What a broadcast that came over the channel means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Live {
    /// It is the next one.
    Next,
    /// It was delivered before.
    Repeat,
    /// The stream has to tell what is between.
    Gap,
}

/// What the stream's state means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Everything is read.
    No,
    /// There is more to read, after a hole perhaps.
    ReadOn(Option<Hole>),
}

const LOST_WRITES: Hole = Hole { count: None, reason: "redis lost its last writes" };

/// How far a process has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    last: Stamp,
}

impl Position {
    /// From here on.
    pub(super) fn at(last: Stamp) -> Self {
        Self { last }
    }

    /// The id to read on from.
    pub(super) fn id(&self) -> StreamId {
        self.last.id
    }

    /// Takes a broadcast that came over the channel; moves on only with the very next one.
    pub(super) fn live(&mut self, stamp: &Stamp) -> Live {
        if stamp.generation != self.last.generation {
            return Live::Gap;
        }
        if stamp.sequence == self.last.sequence + 1 {
            self.last = stamp.clone();
            return Live::Next;
        }
        if stamp.sequence <= self.last.sequence && stamp.id <= self.last.id {
            Live::Repeat
        } else {
            Live::Gap
        }
    }

    /// Compares with the last entry that the stream had.
    pub(super) fn compare(&mut self, newest: &Stamp) -> Behind {
        if newest.generation.is_empty() {
            // Wiped, and nothing was published since: the generation will tell when something is.
            return Behind::No;
        }
        if newest.generation != self.last.generation {
            let first = self.last.generation.is_empty();
            self.last = Stamp { generation: newest.generation.clone(), ..Stamp::default() };
            return Behind::ReadOn(
                (!first).then_some(Hole { count: None, reason: "redis lost the broadcasts" }),
            );
        }
        if newest.sequence < self.last.sequence {
            self.last = newest.clone();
            return Behind::ReadOn(Some(LOST_WRITES));
        }
        if newest.sequence == self.last.sequence { Behind::No } else { Behind::ReadOn(None) }
    }

    /// Takes the next entry of the stream after [`id`](Self::id), and tells what is missing before it. `Err` when the
    /// stream has begun anew in the meantime.
    pub(super) fn read(&mut self, stamp: &Stamp) -> Result<Option<Hole>, ()> {
        if stamp.generation != self.last.generation {
            return Err(());
        }
        let hole = match stamp.sequence.checked_sub(self.last.sequence + 1) {
            Some(0) => None,
            Some(count) => Some(Hole { count: Some(count), reason: "the history no longer has them" }),
            None => Some(LOST_WRITES),
        };
        self.last = stamp.clone();
        Ok(hole)
    }

    /// The stream has no more entries: what it should have had up to `newest` is gone.
    pub(super) fn read_all(&mut self, newest: &Stamp) -> Option<Hole> {
        if newest.generation != self.last.generation || newest.sequence <= self.last.sequence {
            return None;
        }
        let count = newest.sequence - self.last.sequence;
        self.last = newest.clone();
        Some(Hole { count: Some(count), reason: "the history no longer has them" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(generation: &str, sequence: u64, millis: u64) -> Stamp {
        Stamp { generation: generation.to_owned(), sequence, id: StreamId { millis, counter: 0 } }
    }

    #[test]
    fn live_broadcasts_follow_each_other() {
        let mut position = Position::at(stamp("g", 5, 50));
        assert_eq!(position.live(&stamp("g", 5, 50)), Live::Repeat);
        assert_eq!(position.live(&stamp("g", 6, 60)), Live::Next);
        assert_eq!(position.live(&stamp("g", 8, 80)), Live::Gap);
        assert_eq!(position.live(&stamp("h", 7, 70)), Live::Gap);
        assert_eq!(position.live(&stamp("g", 4, 90)), Live::Gap, "used before, under a later id");
        assert_eq!(position, Position::at(stamp("g", 6, 60)));
    }

    #[test]
    fn the_history_fills_a_gap_or_says_what_is_gone() {
        let mut position = Position::at(stamp("g", 5, 50));
        let newest = stamp("g", 10, 100);
        assert_eq!(position.compare(&newest), Behind::ReadOn(None));
        assert_eq!(position.read(&stamp("g", 6, 60)), Ok(None));
        assert_eq!(position.read(&stamp("g", 9, 90)).unwrap().unwrap().count, Some(2));
        assert_eq!(position.read_all(&newest).unwrap().count, Some(1));
        assert_eq!(position.compare(&newest), Behind::No);
        assert_eq!(position.read_all(&newest), None);
    }

    #[test]
    fn a_new_generation_is_read_from_its_start() {
        let mut position = Position::at(stamp("g", 5, 50));
        assert_eq!(position.compare(&Stamp::default()), Behind::No);
        assert!(matches!(
            position.compare(&stamp("h", 2, 20)),
            Behind::ReadOn(Some(Hole { count: None, .. }))
        ));
        assert_eq!(position.id(), StreamId::default());
        assert_eq!(position.read(&stamp("h", 1, 10)), Ok(None));
        assert_eq!(position.read(&stamp("i", 2, 20)), Err(()));
    }

    #[test]
    fn the_first_broadcast_ever_is_no_loss() {
        let mut position = Position::at(Stamp::default());
        assert_eq!(position.live(&stamp("g", 1, 10)), Live::Gap);
        assert_eq!(position.compare(&stamp("g", 1, 10)), Behind::ReadOn(None));
        assert_eq!(position.read(&stamp("g", 1, 10)), Ok(None));
    }

    #[test]
    fn lost_writes_are_noticed_before_and_after_they_are_overtaken() {
        let mut position = Position::at(stamp("g", 95, 950));
        let mut overtaken = position.clone();
        assert_eq!(position.compare(&stamp("g", 90, 900)), Behind::ReadOn(Some(LOST_WRITES)));
        assert_eq!(position.live(&stamp("g", 91, 991)), Live::Next);

        assert_eq!(overtaken.compare(&stamp("g", 97, 997)), Behind::ReadOn(None));
        assert_eq!(overtaken.read(&stamp("g", 91, 991)), Ok(Some(LOST_WRITES)));
        assert_eq!(overtaken.read(&stamp("g", 92, 992)), Ok(None));
    }
}

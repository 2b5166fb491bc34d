//! How far a process has read, and what the next broadcast means for that. No I/O.
//!
//! A stream entry has an id, a sequence number without holes, and the generation of the stream. A Redis that lost all its
//! keys starts a new generation. One that lost its last writes (a replica took over) goes on in the same generation with
//! sequence numbers that were used before, under other ids: later ones, or earlier ones where its clock is behind. So an entry is known
//! by its id and its sequence number together.

use std::{collections::VecDeque, fmt, str::FromStr};

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
pub(super) struct MissedBroadcasts {
    /// How many, when that is known.
    pub(super) count: Option<u64>,
    /// Why, for people.
    pub(super) reason: &'static str,
}

/// What a broadcast that came over the channel means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LiveBroadcast {
    /// It is the next one.
    Next,
    /// It was delivered before.
    Repeat,
    /// The stream has to tell what is between.
    Gap,
}

/// What the stream's state means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StreamState {
    /// Everything is read.
    No,
    /// There is more to read, after a hole perhaps.
    ReadOn(Option<MissedBroadcasts>),
}

const LOST_WRITES: MissedBroadcasts = MissedBroadcasts { count: None, reason: "redis lost its last writes" };

/// How many entries are remembered, to find the last one that a Redis with lost writes still has.
const REMEMBERED: usize = 1_024;

/// What to do with an entry of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Ignore it; it was delivered before.
    Known,
    /// Deliver it, possibly after a hole.
    New(Option<MissedBroadcasts>),
}

/// How far a process has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadPosition {
    last: Stamp,
    /// The last entries read, up to `last`.
    recent: VecDeque<(u64, StreamId)>,
}

impl ReadPosition {
    /// From here on.
    pub(super) fn at(last: Stamp) -> Self {
        let mut position = Self { last: Stamp::default(), recent: VecDeque::new() };
        position.move_to(last);
        position
    }

    fn move_to(&mut self, stamp: Stamp) {
        if stamp.generation != self.last.generation {
            self.recent.clear();
        }
        // Entries that were sent again replace the lost ones.
        while self.recent.back().is_some_and(|(sequence, _)| *sequence >= stamp.sequence) {
            self.recent.pop_back();
        }
        if stamp.sequence > 0 {
            if self.recent.len() >= REMEMBERED {
                self.recent.pop_front();
            }
            self.recent.push_back((stamp.sequence, stamp.id));
        }
        self.last = stamp;
    }

    /// The id of the last entry read.
    pub(super) fn id(&self) -> StreamId {
        self.last.id
    }

    /// Where to read from when the stream has lost the last entry: an older remembered one may be there.
    pub(super) fn oldest_id(&self) -> StreamId {
        self.recent.iter().map(|(_, id)| *id).min().unwrap_or_default()
    }

    /// Takes a broadcast that came over the channel; moves on only with the very next one.
    pub(super) fn live(&mut self, stamp: &Stamp) -> LiveBroadcast {
        if stamp.generation != self.last.generation {
            return LiveBroadcast::Gap;
        }
        if stamp.sequence == self.last.sequence + 1 && stamp.id > self.last.id {
            self.move_to(stamp.clone());
            return LiveBroadcast::Next;
        }
        if self.knows(stamp) { LiveBroadcast::Repeat } else { LiveBroadcast::Gap }
    }

    /// Whether an entry was read, or is older than all that is remembered.
    fn knows(&self, stamp: &Stamp) -> bool {
        match self.recent.front() {
            Some((oldest, id)) if stamp.sequence < *oldest => stamp.id < *id,
            _ => self.recent.contains(&(stamp.sequence, stamp.id)),
        }
    }

    /// Compares with the last entry that the stream had.
    pub(super) fn compare(&mut self, newest: &Stamp) -> StreamState {
        if newest.generation.is_empty() {
            // Wiped, and nothing was published since: the generation will tell when something is.
            return StreamState::No;
        }
        if newest.generation != self.last.generation {
            let first = self.last.generation.is_empty();
            self.move_to(Stamp { generation: newest.generation.clone(), ..Stamp::default() });
            return StreamState::ReadOn(
                (!first).then_some(MissedBroadcasts { count: None, reason: "redis lost the broadcasts" }),
            );
        }
        if *newest == self.last { StreamState::No } else { StreamState::ReadOn(None) }
    }

    /// Takes the stream's next entry, and finds what is missing before it. `Err` when the stream has begun a new generation
    /// meanwhile.
    pub(super) fn read(&mut self, stamp: &Stamp) -> Result<Entry, ()> {
        if stamp.generation != self.last.generation {
            return Err(());
        }
        if self.knows(stamp) {
            return Ok(Entry::Known);
        }
        let hole = match stamp.sequence.checked_sub(self.last.sequence + 1) {
            Some(0) if stamp.id > self.last.id => None,
            Some(count) if count > 0 && stamp.id > self.last.id => {
                Some(MissedBroadcasts { count: Some(count), reason: "the history no longer has them" })
            }
            _ => Some(LOST_WRITES),
        };
        self.move_to(stamp.clone());
        Ok(Entry::New(hole))
    }

    /// Handles the end of the stream. Entries up to `newest` that were not read are gone, or those read after `newest` are.
    /// `has_read`: an entry was new, so `newest` may be older than the last one.
    pub(super) fn read_all(&mut self, newest: &Stamp, has_read: bool) -> Option<MissedBroadcasts> {
        let is_past = has_read && self.knows(newest);
        if newest.generation != self.last.generation || *newest == self.last || is_past {
            return None;
        }
        let hole = match newest.sequence.checked_sub(self.last.sequence) {
            Some(count) if count > 0 && newest.id >= self.last.id => {
                MissedBroadcasts { count: Some(count), reason: "the history no longer has them" }
            }
            _ => LOST_WRITES,
        };
        self.move_to(newest.clone());
        Some(hole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(generation: &str, sequence: u64, millis: u64) -> Stamp {
        Stamp { generation: generation.to_owned(), sequence, id: StreamId { millis, counter: 0 } }
    }

    /// Reads a stream as the reader does. Returns what is delivered, with `0` for a hole.
    fn catch_up(position: &mut ReadPosition, stream: &[Stamp]) -> Vec<u64> {
        let newest = stream.last().cloned().unwrap_or_default();
        let mut seen = Vec::new();
        match position.compare(&newest) {
            StreamState::No => return seen,
            StreamState::ReadOn(hole) => seen.extend(hole.map(|_| 0)),
        }
        let has_last = stream.iter().any(|stamp| stamp.id == position.id());
        let after = if has_last { position.id() } else { position.oldest_id() };
        let mut has_read = false;
        for stamp in stream.iter().filter(|stamp| stamp.id > after) {
            if let Entry::New(hole) = position.read(stamp).unwrap() {
                seen.extend(hole.map(|_| 0));
                seen.push(stamp.sequence);
                has_read = true;
            }
        }
        seen.extend(position.read_all(&newest, has_read).map(|_| 0));
        seen
    }

    /// Entries of one generation, as sequence number and milliseconds of the id.
    fn stream(entries: &[(u64, u64)]) -> Vec<Stamp> {
        entries.iter().map(|(sequence, millis)| stamp("g", *sequence, *millis)).collect()
    }

    #[test]
    fn broadcasts_sent_after_lost_writes_are_all_delivered() {
        // Read up to 95, but the replica has only up to 90.
        let before: Vec<(u64, u64)> = (81..=95).map(|n| (n, n * 10)).collect();
        let kept = &before[..10];
        for (name, sent, expected) in [
            ("nothing was sent", vec![], vec![0]),
            ("fewer than were lost", vec![(91, 991), (92, 992)], vec![0, 91, 92]),
            (
                "as many as were lost",
                vec![(91, 991), (92, 992), (93, 993), (94, 994), (95, 995)],
                vec![0, 91, 92, 93, 94, 95],
            ),
            (
                "more than were lost",
                (91..=97).map(|n| (n, n + 900)).collect(),
                vec![0, 91, 92, 93, 94, 95, 96, 97],
            ),
            ("the clock is behind", vec![(91, 901), (92, 902)], vec![0, 91, 92]),
            (
                "the clock is behind, and as many as were lost",
                vec![(91, 911), (92, 912), (93, 913), (94, 914), (95, 915)],
                vec![0, 91, 92, 93, 94, 95],
            ),
            (
                "the clock is behind at first",
                vec![(91, 901), (92, 902), (93, 993), (94, 994), (95, 995), (96, 996)],
                vec![0, 91, 92, 93, 94, 95, 96],
            ),
        ] {
            let mut position = ReadPosition::at(stamp("g", 80, 800));
            assert_eq!(catch_up(&mut position, &stream(&before)), (81..=95).collect::<Vec<_>>());
            let after = stream(&[kept, &sent].concat());
            assert_eq!(catch_up(&mut position, &after), expected, "{name}");
            assert_eq!(catch_up(&mut position, &after), Vec::<u64>::new(), "{name}: reported once");
            let next = stamp("g", after.last().unwrap().sequence + 1, 2_000);
            assert_eq!(position.live(&next), LiveBroadcast::Next, "{name}");
        }
    }

    #[test]
    fn live_broadcasts_follow_each_other() {
        let mut position = ReadPosition::at(stamp("g", 5, 50));
        assert_eq!(position.live(&stamp("g", 5, 50)), LiveBroadcast::Repeat);
        assert_eq!(position.live(&stamp("g", 6, 60)), LiveBroadcast::Next);
        assert_eq!(position.live(&stamp("g", 8, 80)), LiveBroadcast::Gap);
        assert_eq!(position.live(&stamp("h", 7, 70)), LiveBroadcast::Gap);
        assert_eq!(position.live(&stamp("g", 4, 90)), LiveBroadcast::Gap, "used before, under a later id");
        assert_eq!(position.last, stamp("g", 6, 60));
        assert_eq!(
            position.live(&stamp("g", 7, 59)),
            LiveBroadcast::Gap,
            "the next number, under an earlier id"
        );
    }

    #[test]
    fn history_fills_a_gap_or_names_what_is_missing() {
        let mut position = ReadPosition::at(stamp("g", 5, 50));
        let seen = catch_up(&mut position, &stream(&[(5, 50), (6, 60), (9, 90)]));
        assert_eq!(seen, [6, 0, 9]);
        let newest = stamp("g", 10, 100);
        assert_eq!(position.compare(&newest), StreamState::ReadOn(None));
        assert_eq!(position.read_all(&newest, false).unwrap().count, Some(1));
        assert_eq!(position.compare(&newest), StreamState::No);
        assert_eq!(position.read_all(&newest, false), None);
        // The stream was cut past the last entry read.
        assert_eq!(catch_up(&mut position, &stream(&[(13, 130)])), [0, 13]);
    }

    #[test]
    fn a_new_generation_is_read_from_its_start() {
        let mut position = ReadPosition::at(stamp("g", 5, 50));
        assert_eq!(position.compare(&Stamp::default()), StreamState::No);
        assert!(matches!(
            position.compare(&stamp("h", 2, 20)),
            StreamState::ReadOn(Some(MissedBroadcasts { count: None, .. }))
        ));
        assert_eq!(position.id(), StreamId::default());
        assert_eq!(position.read(&stamp("h", 1, 10)), Ok(Entry::New(None)));
        assert_eq!(position.read(&stamp("i", 2, 20)), Err(()));
    }

    #[test]
    fn first_broadcast_is_not_a_loss() {
        let mut position = ReadPosition::at(Stamp::default());
        assert_eq!(position.live(&stamp("g", 1, 10)), LiveBroadcast::Gap);
        assert_eq!(position.compare(&stamp("g", 1, 10)), StreamState::ReadOn(None));
        assert_eq!(position.read(&stamp("g", 1, 10)), Ok(Entry::New(None)));
    }
}

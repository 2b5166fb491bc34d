//! What the store has taken lately: pure. A store that lost its last writes gets it again.

use std::{collections::VecDeque, time::Duration};

use crate::{NewEntry, Position};

/// Entries that are kept, their bytes, and for how long.
const ENTRIES: usize = 2_048;
const BYTES: usize = 1024 * 1024;
const AGE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: VecDeque<(Duration, NewEntry)>,
    bytes: usize,
    /// The last position that is not kept any more.
    forgotten: Option<Position>,
}

/// What a store that has lost writes is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resend {
    /// Of what is lost and not kept: the last position. A gap takes its place.
    pub(super) hole: Option<Position>,
    pub(super) entries: Vec<NewEntry>,
}

impl Tail {
    /// The store has taken these. What is here already is not taken in again.
    pub(super) fn push(&mut self, entries: impl IntoIterator<Item = NewEntry>, now: Duration) {
        let last = self.entries.back().map(|(_, entry)| entry.position).or(self.forgotten);
        for entry in entries.into_iter().filter(|entry| Some(entry.position) > last) {
            self.bytes += entry.data.len();
            self.entries.push_back((now, entry));
        }
        while let Some((since, _)) = self.entries.front()
            && (self.entries.len() > ENTRIES || self.bytes > BYTES || now.saturating_sub(*since) > AGE)
        {
            if let Some((_, entry)) = self.entries.pop_front() {
                self.bytes -= entry.data.len();
                self.forgotten = Some(entry.position);
            }
        }
    }

    /// What is behind a position. An owner's first word says where the store was: `forgotten` is not below it.
    pub(super) fn behind(&self, reached: Option<Position>) -> Resend {
        let behind =
            self.entries.iter().map(|(_, entry)| entry).filter(|entry| Some(entry.position) > reached);
        Resend {
            hole: self.forgotten.filter(|last| Some(*last) > reached),
            entries: behind.cloned().collect(),
        }
    }

    /// Starts over at `to`, where the store's fence was moved: earlier entries count as stored.
    pub(super) fn restart_at(&mut self, to: Position) {
        *self = Self { forgotten: Some(to), ..Self::default() };
    }

    /// The first word of the store: so far it has come without us.
    pub(super) fn begin_at(&mut self, reached: Option<Position>) {
        if self.entries.is_empty() && self.forgotten.is_none() {
            self.forgotten = reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mark, Position};

    fn at(sequence: u64) -> Position {
        Position { session: 1, sequence }
    }

    fn entry(sequence: u64, bytes: usize) -> NewEntry {
        NewEntry {
            position: at(sequence),
            name: "A".into(),
            guild: None,
            received_at_unix_ms: 0,
            mark: Mark::Fresh,
            traceparent: None,
            data: vec![0; bytes].into(),
        }
    }

    fn positions(again: &Resend) -> Vec<u64> {
        again.entries.iter().map(|entry| entry.position.sequence).collect()
    }

    #[test]
    fn kept_events_are_sent_again_and_others_become_a_hole() {
        let mut tail = Tail::default();
        tail.push((1..=3).map(|n| entry(n, 10)), Duration::ZERO);
        let again = tail.behind(Some(at(1)));
        assert_eq!((again.hole, positions(&again)), (None, vec![2, 3]));
        let again = tail.behind(None);
        assert_eq!((again.hole, positions(&again)), (None, vec![1, 2, 3]));
        // Time goes by.
        tail.push([entry(4, 10)], Duration::from_secs(11));
        let again = tail.behind(Some(at(1)));
        assert_eq!((again.hole, positions(&again)), (Some(at(3)), vec![4]));
        let again = tail.behind(Some(at(3)));
        assert_eq!((again.hole, positions(&again)), (None, vec![4]));
    }

    #[test]
    fn tail_is_bounded_by_number_and_bytes() {
        let mut tail = Tail::default();
        tail.push((1..=ENTRIES as u64 + 5).map(|n| entry(n, 1)), Duration::ZERO);
        assert_eq!(tail.behind(None).entries.len(), ENTRIES);
        assert_eq!(tail.behind(None).hole, Some(at(5)));
        let mut tail = Tail::default();
        tail.push((1..=5).map(|n| entry(n, BYTES / 2)), Duration::ZERO);
        assert_eq!(positions(&tail.behind(None)), [4, 5]);
    }

    #[test]
    fn lost_events_of_an_earlier_owner_are_a_hole() {
        let mut tail = Tail::default();
        tail.begin_at(Some(at(10)));
        tail.push([entry(11, 1)], Duration::ZERO);
        assert_eq!(tail.behind(Some(at(10))).hole, None);
        let again = tail.behind(Some(at(7)));
        assert_eq!((again.hole, positions(&again)), (Some(at(10)), vec![11]));
    }
}

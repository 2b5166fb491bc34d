//! Brings the two sides together: which session each handled event belongs to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Handled, Repeat, Session, Unplaced};
use crate::line::{Book, Line, Start};

/// One start of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Started {
    at_us: u64,
    /// Which book.
    by: usize,
    replayed: bool,
}

/// The starts of each session's sequences.
#[derive(Debug)]
pub(super) struct Placed {
    /// For each session, by sequence: its starts in order of time.
    starts: Vec<BTreeMap<u64, Vec<Started>>>,
    names: Vec<String>,
    ids: Vec<(u32, String)>,
    pub(super) unplaced: Vec<Unplaced>,
}

fn starts(book: &Book) -> impl Iterator<Item = &Start> {
    book.lines.iter().filter_map(|line| if let Line::Start(start) = line { Some(start) } else { None })
}

impl Placed {
    pub(super) fn new(sessions: &[Session], books: &[Book]) -> Self {
        let mut placed = Self {
            starts: vec![BTreeMap::new(); sessions.len()],
            names: books.iter().map(|book| book.process.clone()).collect(),
            ids: sessions.iter().map(|session| (session.shard, session.id.clone())).collect(),
            unplaced: Vec::new(),
        };
        let known = placed.ordinals(sessions, books);
        let mut nowhere: BTreeMap<(u32, u64), u64> = BTreeMap::new();
        for (by, book) in books.iter().enumerate() {
            for start in starts(book) {
                let place = start.place;
                let Some(&at) = known.get(&(place.shard, place.session)) else {
                    *nowhere.entry((place.shard, place.session)).or_default() += 1;
                    continue;
                };
                if place.sequence == 0 || place.sequence > sessions[at].last {
                    placed.unplaced.push(Unplaced::NeverDispatched { by: book.process.clone(), place });
                    continue;
                }
                let started = Started { at_us: start.at_us, by, replayed: start.replayed };
                placed.starts[at].entry(place.sequence).or_default().push(started);
            }
        }
        for ((shard, session), events) in nowhere {
            placed.unplaced.push(Unplaced::NoSession { shard, session, events });
        }
        for runs in placed.starts.iter_mut().flat_map(BTreeMap::values_mut) {
            // Stable: lines of one process at one time keep their order.
            runs.sort_by_key(|started| started.at_us);
        }
        placed
    }

    /// Which session an ordinal of a shard is, as the READYs say that were handled.
    fn ordinals(&mut self, sessions: &[Session], books: &[Book]) -> BTreeMap<(u32, u64), usize> {
        let by_id: BTreeMap<&str, usize> =
            sessions.iter().enumerate().map(|(at, session)| (session.id.as_str(), at)).collect();
        let mut said: BTreeMap<(u32, u64), BTreeSet<&str>> = BTreeMap::new();
        for start in books.iter().flat_map(starts) {
            if let Some(id) = &start.session_id {
                said.entry((start.place.shard, start.place.session)).or_default().insert(id);
            }
        }
        let mut known = BTreeMap::new();
        for ((shard, session), ids) in said {
            if ids.len() > 1 {
                let ids = ids.iter().map(ToString::to_string).collect();
                self.unplaced.push(Unplaced::OrdinalTwice { shard, session, ids });
            }
            for id in ids {
                match by_id.get(id) {
                    Some(&at) => _ = known.insert((shard, session), at),
                    None => self.unplaced.push(Unplaced::UnknownSession { shard, id: id.to_owned() }),
                }
            }
        }
        known
    }

    /// When each handled sequence of a session was first started.
    pub(super) fn first_starts(&self, session: usize) -> BTreeMap<u64, u64> {
        let first = |(sequence, runs): (&u64, &Vec<Started>)| Some((*sequence, runs.first()?.at_us));
        self.starts[session].iter().filter_map(first).collect()
    }

    /// Events that were started again without the mark.
    pub(super) fn repeats(&self) -> Vec<Repeat> {
        let mut repeats = Vec::new();
        for (session, (shard, id)) in self.starts.iter().zip(&self.ids) {
            for (sequence, runs) in session {
                let Some((first, again)) = runs.split_first() else { continue };
                for later in again.iter().filter(|later| !later.replayed) {
                    repeats.push(Repeat {
                        shard: *shard,
                        session_id: id.clone(),
                        sequence: *sequence,
                        first_by: self.names[first.by].clone(),
                        first_at_us: first.at_us,
                        again_by: self.names[later.by].clone(),
                        again_at_us: later.at_us,
                    });
                }
            }
        }
        repeats
    }
}

/// What each process did.
pub(super) fn handled(books: &[Book]) -> BTreeMap<String, Handled> {
    let mut handled: BTreeMap<String, Handled> = BTreeMap::new();
    for book in books {
        let entry = handled.entry(book.process.clone()).or_default();
        entry.died_at = book.lines.iter().find_map(|line| match line {
            Line::Death(death) => Some(death.point.clone()),
            Line::Start(_) | Line::End(_) | Line::Gap(_) => None,
        });
        for start in starts(book) {
            entry.events += 1;
            entry.replayed += u64::from(start.replayed);
            entry.shards.insert((start.place.shard, start.place.epoch));
        }
    }
    handled
}

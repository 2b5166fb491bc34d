//! What the comparer found, and how it reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::line::{Gap, Place};

/// How many findings of a kind are printed.
const FIRST: usize = 5;

/// What the comparer found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Events that were dispatched, RESUMED left out.
    pub dispatched: u64,
    /// What each process did.
    pub handled: BTreeMap<String, Handled>,
    /// Dispatched, never started by a handler, and no gap was told for it.
    pub lost: Vec<Loss>,
    /// Sessions that were handled and gave way to another, though no gap was told: the shard, the one, the other.
    pub untold: Vec<(u32, String, String)>,
    /// Started again without the mark.
    pub repeated: Vec<Repeat>,
    /// Started out of turn in a guild.
    pub backwards: Vec<Backwards>,
    /// Started by one whose time was over.
    pub two_owners: Vec<TwoOwners>,
    /// Lines that fit no session.
    pub unplaced: Vec<Unplaced>,
    /// The gaps that were told, and what they were.
    pub gaps: Vec<GapTold>,
}

/// What one process did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// Events that it started.
    pub events: u64,
    /// How many of them were marked.
    pub replayed: u64,
    /// Of which shards, at which epochs.
    pub shards: BTreeSet<(u32, u64)>,
    /// The failpoint at which it died.
    pub died_at: Option<String>,
}

/// A run of events that no worker handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The shard.
    pub shard: u32,
    /// Its session.
    pub session_id: String,
    /// First sequence.
    pub from: u64,
    /// Last sequence.
    pub to: u64,
}

/// An event that was started twice, the second time as if it were new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The shard.
    pub shard: u32,
    /// Its session.
    pub session_id: String,
    /// The event.
    pub sequence: u64,
    /// Who was first.
    pub first_by: String,
    /// When, in microseconds since the Unix epoch.
    pub first_at_us: u64,
    /// Who was second.
    pub again_by: String,
    /// When, in microseconds since the Unix epoch.
    pub again_at_us: u64,
}

/// An event that started before the one before it had ended, or after a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backwards {
    /// Whose.
    pub by: String,
    /// In which guild.
    pub guild: u64,
    /// The one that should have been over, or should come later.
    pub before: Place,
    /// The one that started.
    pub started: Place,
}

/// An event that was started at an epoch that was over, or that another process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwoOwners {
    /// By whom.
    pub by: String,
    /// Which event.
    pub place: Place,
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// The other's epoch.
    pub other_epoch: u64,
    /// When the other one began.
    pub other_began_us: u64,
}

/// What handlers say and Discord knows nothing of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// No READY told which session this ordinal is.
    NoSession {
        /// The shard.
        shard: u32,
        /// The ordinal.
        session: u64,
        /// How many events have it.
        events: u64,
    },
    /// Two sessions have one ordinal.
    OrdinalTwice {
        /// The shard.
        shard: u32,
        /// The ordinal.
        session: u64,
        /// The sessions.
        ids: Vec<String>,
    },
    /// A READY names a session that Discord does not know.
    UnknownSession {
        /// The shard.
        shard: u32,
        /// The session.
        id: String,
    },
    /// A sequence that the session never reached.
    NeverDispatched {
        /// Who says so.
        by: String,
        /// Which.
        place: Place,
    },
}

/// A gap that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapTold {
    /// By whom.
    pub by: String,
    /// What was told.
    pub gap: Gap,
    /// What it was.
    pub was: GapWas,
}

/// What a gap was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapWas {
    /// Events were lost.
    True {
        /// Events.
        events: u64,
    },
    /// A session gave way to another; nothing that was dispatched to the old one was lost.
    Replacement,
    /// Nothing was lost.
    Harmless,
}

impl Verdict {
    /// Nothing is wrong. Gaps that were told are no wrong.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.untold.is_empty()
            && self.repeated.is_empty()
            && self.backwards.is_empty()
            && self.two_owners.is_empty()
            && self.unplaced.is_empty()
    }

    /// Events that were lost without a word.
    pub fn lost_events(&self) -> u64 {
        self.lost.iter().map(|loss| loss.to - loss.from + 1).sum()
    }

    /// Events that a gap was told for.
    pub fn told_events(&self) -> u64 {
        let told = |gap: &GapTold| if let GapWas::True { events } = gap.was { events } else { 0 };
        self.gaps.iter().map(told).sum()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, replayed) = self
            .handled
            .values()
            .fold((0, 0), |(events, replayed), one| (events + one.events, replayed + one.replayed));
        writeln!(
            f,
            "{} events dispatched, {events} handled, {replayed} of them marked as replayed",
            self.dispatched
        )?;
        for (process, handled) in &self.handled {
            let (events, replayed) = (handled.events, handled.replayed);
            let shards: BTreeSet<u32> = handled.shards.iter().map(|(shard, _)| *shard).collect();
            let died = handled.died_at.as_ref().map_or(String::new(), |point| format!(", died at {point}"));
            writeln!(f, "  {process}: {events}, {replayed} replayed, shards {shards:?}{died}")?;
        }
        writeln!(f, "lost without a word: {}", self.lost_events())?;
        list(f, &self.lost)?;
        writeln!(f, "sessions replaced without a word: {}", self.untold.len())?;
        list(f, &self.untold)?;
        writeln!(f, "repeated without the mark: {}", self.repeated.len())?;
        list(f, &self.repeated)?;
        writeln!(f, "out of turn in a guild: {}", self.backwards.len())?;
        list(f, &self.backwards)?;
        writeln!(f, "by two owners: {}", self.two_owners.len())?;
        list(f, &self.two_owners)?;
        writeln!(f, "unplaced: {}", self.unplaced.len())?;
        list(f, &self.unplaced)?;
        writeln!(f, "gaps told: {}, {} events lost in them", self.gaps.len(), self.told_events())?;
        list(f, &self.gaps)
    }
}

fn list<T: fmt::Debug>(f: &mut fmt::Formatter<'_>, found: &[T]) -> fmt::Result {
    for one in found.iter().take(FIRST) {
        writeln!(f, "  {one:?}")?;
    }
    if found.len() > FIRST {
        writeln!(f, "  and {} more", found.len() - FIRST)?;
    }
    Ok(())
}

//! Entries on their way to the store.
//!
//! An entry stays *open* for a second, and equal events of other shards are added to it. If they keep coming, the next entry
//! about them stays open for twice as long, up to a minute: a start of thousands of shards, or the resumes of every day, take
//! a few entries. Then entries wait until they are written, in order. What waits is bounded; entries beyond are dropped and
//! counted, and an entry says so.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use fleet_model::{HistoryEntry, HistoryKind, Term};

use crate::Now;

/// How long an entry stays open at first.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long an entry stays open at most.
const LONGEST: Duration = Duration::from_mins(1);

/// The most entries that are open or wait.
const WAITING: usize = 4_096;

/// The most ranges of shards in one entry, of 8 bytes each; a further shard begins another entry.
const RANGES: usize = 256;

/// How many written entries are kept for answers while the store is away.
const KEPT: usize = 512;

/// The most subjects whose last entry is remembered.
const SUBJECTS: usize = 4_096;

/// An entry that waits or was written, and its number: numbers of one log grow by one with each entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEntry {
    /// The number.
    pub number: u64,
    /// The entry.
    pub entry: HistoryEntry,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct HistoryLog {
    opened: u64,
    numbered: u64,
    /// By the order in which they were opened.
    open: BTreeMap<u64, OpenEntry>,
    subjects: BTreeMap<HistoryEntry, Subject>,
    waiting: VecDeque<NumberedEntry>,
    written: VecDeque<NumberedEntry>,
    /// Entries that were dropped and of which no entry tells yet: how many, and the first one's time and term.
    lost: Option<(u64, u64, Term)>,
    lost_in_all: u64,
}

#[derive(Debug)]
struct OpenEntry {
    entry: HistoryEntry,
    closes: Duration,
}

/// What is remembered of entries that say the same.
#[derive(Debug)]
struct Subject {
    /// Key of the one that is open.
    open: Option<u64>,
    window: Duration,
    /// When the last one closes, or closed.
    closes: Duration,
}

impl HistoryLog {
    /// Adds an entry, or adds it to an open one that says the same.
    pub fn add(&mut self, entry: HistoryEntry, now: Now) {
        let subject = entry.subject();
        let known = self.subjects.get(&subject);
        if let Some(open) = known.and_then(|known| known.open).and_then(|key| self.open.get_mut(&key))
            && open.entry.shards.ranges().len() < RANGES
        {
            return open.entry.merge(&entry);
        }
        if self.unwritten_count() >= WAITING {
            return self.lose(&entry);
        }
        let busy = known.filter(|known| now.mono < known.closes.saturating_add(known.window));
        let window = busy.map_or(SHORTEST, |known| (known.window * 2).min(LONGEST));
        let closes = now.mono.saturating_add(window);
        self.opened += 1;
        self.forget_subjects(now);
        if self.subjects.len() < SUBJECTS {
            self.subjects.insert(subject, Subject { open: Some(self.opened), window, closes });
        }
        self.open.insert(self.opened, OpenEntry { entry, closes });
    }

    /// Closes the entries whose time is over; all of them with `all`.
    pub fn close(&mut self, all: bool, now: Now) {
        let due: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| all || open.closes <= now.mono)
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            let Some(OpenEntry { entry, .. }) = self.open.remove(&key) else { continue };
            if let Some(subject) = self.subjects.get_mut(&entry.subject())
                && subject.open == Some(key)
            {
                subject.open = None;
            }
            self.wait(entry);
        }
        if let Some((count, at, term)) = self.lost.take_if(|_| self.waiting.len() < WAITING / 2) {
            let lost = HistoryEntry::new(HistoryKind::EntriesLost, term, at);
            let lost = HistoryEntry { count, until_unix_ms: now.unix_ms, ..lost };
            self.wait(lost.detail(format!("{count}, as too many waited to be written")));
        }
    }

    /// Returns when the next open entry closes.
    pub fn next_close(&self) -> Option<Duration> {
        self.open.values().map(|open| open.closes).min()
    }

    /// Returns the entries to write next, at most `most`, in order.
    pub fn to_write(&self, most: usize) -> Vec<NumberedEntry> {
        self.waiting.iter().take(most).cloned().collect()
    }

    /// Notes that the store has the first `count` entries of [`to_write`](Self::to_write).
    pub fn mark_written(&mut self, count: usize) {
        let count = count.min(self.waiting.len());
        self.written.extend(self.waiting.drain(..count));
        let beyond = self.written.len().saturating_sub(KEPT);
        self.written.drain(..beyond);
    }

    /// Returns the last entries that were written, and those that wait, oldest first.
    pub fn numbered(&self) -> impl Iterator<Item = &NumberedEntry> {
        self.written.iter().chain(&self.waiting)
    }

    /// Returns the open entries.
    pub fn open(&self) -> impl Iterator<Item = &HistoryEntry> {
        self.open.values().map(|open| &open.entry)
    }

    /// Returns how many entries are not in the store yet.
    pub fn unwritten_count(&self) -> usize {
        self.open.len() + self.waiting.len()
    }

    /// Returns how many entries were dropped since the start.
    pub fn lost_count(&self) -> u64 {
        self.lost_in_all
    }

    /// Numbers in the order of writing: the store skips what it has already when a write is repeated.
    fn wait(&mut self, entry: HistoryEntry) {
        self.numbered += 1;
        self.waiting.push_back(NumberedEntry { number: self.numbered, entry });
    }

    fn lose(&mut self, entry: &HistoryEntry) {
        let (count, ..) = self.lost.get_or_insert((0, entry.at_unix_ms, entry.term));
        *count = count.saturating_add(entry.count);
        self.lost_in_all = self.lost_in_all.saturating_add(entry.count);
    }

    /// Forgets subjects of which nothing was heard for so long that the next entry about them opens for a second.
    fn forget_subjects(&mut self, now: Now) {
        if self.subjects.len() >= SUBJECTS / 2 {
            self.subjects.retain(|_, subject| {
                subject.open.is_some() || now.mono < subject.closes.saturating_add(subject.window)
            });
        }
    }
}

//! Problems that begin and end, as entries of the history.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{
    HistoryEntry, HistoryKind, Problem, ProblemCode, ShardSlot, Term, Weight, without_numbers,
};

use crate::Now;

/// How long a problem must last to be an entry: workers are cut off for a moment whenever one stops.
const LASTING: Duration = Duration::from_secs(1);

/// The most problems that are followed: one for each shard of the largest fleet.
const FOLLOWED: usize = 65_536;

/// Compares the problems of each moment with those before.
#[derive(Debug, Default)]
pub struct ProblemChanges {
    known: BTreeMap<(ProblemCode, Option<ShardSlot>, String), Known>,
}

#[derive(Debug)]
struct Known {
    began: Duration,
    began_unix_ms: u64,
    last_seen: Duration,
    message: String,
    /// It was an entry.
    told: bool,
}

impl ProblemChanges {
    /// Takes all current problems. Returns an entry for each that has just become lasting or has ended, one for all shards with
    /// the same problem. What only takes time, as waiting in the identify queue, is no entry.
    pub fn observe(&mut self, problems: &[Problem], term: Term, now: Now) -> Vec<HistoryEntry> {
        let mut entries = Vec::new();
        let lasting = problems.iter().filter(|problem| problem.code.weight() != Weight::Progress);
        for problem in lasting {
            let none = problem.shards.is_empty().then_some(None);
            for shard in none.into_iter().chain(problem.shards.iter().copied().map(Some)) {
                self.see(problem, shard, term, now, &mut entries);
            }
        }
        let ended = self.known.extract_if(.., |_, known| known.last_seen < now.mono);
        for ((code, shard, _), known) in ended {
            known.end("", code, shard, term, now, &mut entries);
        }
        entries
    }

    /// Returns an entry for each problem that is open at the end of a term. The next coordinator knows only its own problems, and would
    /// never record that these ended.
    pub fn end_of_term(&mut self, term: Term, now: Now) -> Vec<HistoryEntry> {
        let mut entries = Vec::new();
        for ((code, shard, _), known) in std::mem::take(&mut self.known) {
            known.end(", when the term ended", code, shard, term, now, &mut entries);
        }
        entries
    }

    fn see(
        &mut self,
        problem: &Problem,
        shard: Option<ShardSlot>,
        term: Term,
        now: Now,
        entries: &mut Vec<HistoryEntry>,
    ) {
        // Messages of shards change with their state, others name their subject.
        let text = if shard.is_some() { String::new() } else { without_numbers(&problem.message) };
        let key = (problem.code, shard, text);
        if self.known.len() >= FOLLOWED && !self.known.contains_key(&key) {
            return;
        }
        let known = self.known.entry(key).or_insert_with(|| Known {
            began: now.mono,
            began_unix_ms: problem.since_unix_ms.unwrap_or(now.unix_ms),
            last_seen: now.mono,
            message: String::new(),
            told: false,
        });
        known.last_seen = now.mono;
        problem.message.clone_into(&mut known.message);
        if !known.told && now.mono.saturating_sub(known.began) >= LASTING {
            known.told = true;
            let began = HistoryEntry::new(HistoryKind::ProblemRaised, term, known.began_unix_ms);
            add(entries, about(began, problem.code, shard).detail(problem.message.clone()));
        }
    }
}

impl Known {
    /// Adds that the problem ended, if its beginning was an entry.
    fn end(
        self,
        how: &str,
        code: ProblemCode,
        shard: Option<ShardSlot>,
        term: Term,
        now: Now,
        entries: &mut Vec<HistoryEntry>,
    ) {
        if self.told {
            let lasted = now.mono.saturating_sub(self.began).as_secs();
            let ended = HistoryEntry::new(HistoryKind::ProblemCleared, term, now.unix_ms);
            add(
                entries,
                about(ended, code, shard).detail(format!("after {lasted} s{how}: {}", self.message)),
            );
        }
    }
}

fn about(entry: HistoryEntry, code: ProblemCode, shard: Option<ShardSlot>) -> HistoryEntry {
    let mut entry = HistoryEntry { code: code.as_str().to_owned(), ..entry };
    if let Some(shard) = shard {
        entry.shards.insert(shard);
    }
    entry
}

/// Adds an entry, or adds its shards to one that says the same.
fn add(entries: &mut Vec<HistoryEntry>, entry: HistoryEntry) {
    let subject = entry.subject();
    match entries.iter_mut().find(|known| known.subject() == subject) {
        Some(known) => known.merge(&entry),
        None => entries.push(entry),
    }
}

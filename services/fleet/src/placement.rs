//! Which worker should run which shard: a pure function.
//!
//! Properties of a solution, which the tests check:
//! - **within capacity**: no worker is given more shards than it takes;
//! - **balanced**: two workers with room differ by at most one shard;
//! - **sticky**: no solution that is as balanced moves fewer shards;
//! - **pinned**: a pinned shard stays with its holder, and the others are spread as evenly as that allows;
//! - **contiguous where free**: shards without a holder are assigned as ranges;
//! - **idempotent**: solving the solution again changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fleet_model::{ShardKey, WorkerId};

#[cfg(test)]
mod tests;

/// Shards and workers to match.
#[derive(Clone, Debug, Default)]
pub struct PlacementProblem {
    /// The shards, each with the worker that runs it now, if any. That worker need not be one of `workers`.
    pub shards: BTreeMap<ShardKey, Option<WorkerId>>,
    /// The workers that may get shards, each with its capacity; `None` means no limit.
    pub workers: BTreeMap<WorkerId, Option<u32>>,
    /// Shards that stay with their holder, if that is one of `workers`.
    pub pinned: BTreeSet<ShardKey>,
}

/// The worker that should run each shard. A missing shard has no room anywhere and stays where it is.
pub type Placement = BTreeMap<ShardKey, WorkerId>;

/// One worker while the problem is solved.
struct Candidate<'a> {
    worker: &'a WorkerId,
    capacity: usize,
    /// Its shards, pinned ones first.
    holds: Vec<ShardKey>,
    /// How many of its shards are pinned.
    pinned: usize,
    quota: usize,
}

impl Candidate<'_> {
    /// Returns how many shards it takes at this level.
    fn share_at(&self, level: usize) -> usize {
        self.capacity.min(level).max(self.pinned)
    }
}

/// Solves a placement problem.
pub fn solve(problem: &PlacementProblem) -> Placement {
    let mut candidates: Vec<Candidate<'_>> = problem
        .workers
        .iter()
        .map(|(worker, cap)| Candidate {
            worker,
            capacity: cap.map_or(usize::MAX, |cap| cap as usize),
            holds: Vec::new(),
            pinned: 0,
            quota: 0,
        })
        .collect();
    let places: HashMap<&WorkerId, usize> =
        candidates.iter().enumerate().map(|(place, candidate)| (candidate.worker, place)).collect();
    let mut free: Vec<ShardKey> = Vec::new();
    for (&shard, holder) in &problem.shards {
        let holder = holder.as_ref().and_then(|name| candidates.get_mut(*places.get(name)?));
        match holder {
            Some(candidate) if problem.pinned.contains(&shard) => {
                candidate.holds.insert(candidate.pinned, shard);
                candidate.pinned += 1;
            }
            Some(candidate) => candidate.holds.push(shard),
            None => free.push(shard),
        }
    }
    set_quotas(&mut candidates, problem.shards.len());

    for candidate in &mut candidates {
        free.extend(candidate.holds.drain(candidate.quota.min(candidate.holds.len())..));
    }
    free.sort_unstable();
    let mut free = free.into_iter();
    let mut target = Placement::new();
    for candidate in candidates {
        let room = candidate.quota - candidate.holds.len();
        for shard in candidate.holds.into_iter().chain(free.by_ref().take(room)) {
            target.insert(shard, candidate.worker.clone());
        }
    }
    target
}

/// Fills the workers with shards to one level, like water. Shards that are left over after the last full level go to the
/// workers that hold the most already, so that the fewest move.
fn set_quotas(candidates: &mut [Candidate<'_>], shards: usize) {
    let poured = |candidates: &[Candidate<'_>], level: usize| -> usize {
        candidates.iter().fold(0, |sum: usize, candidate| sum.saturating_add(candidate.share_at(level)))
    };
    // The highest level that does not need more shards than there are.
    let (mut level, mut too_high) = (0, shards + 1);
    while too_high - level > 1 {
        let middle = level + (too_high - level) / 2;
        if poured(candidates, middle) <= shards { level = middle } else { too_high = middle }
    }
    let left_over = shards - poured(candidates, level);
    for candidate in candidates.iter_mut() {
        candidate.quota = candidate.share_at(level);
    }
    let mut with_room: Vec<&mut Candidate<'_>> = candidates
        .iter_mut()
        .filter(|candidate| candidate.capacity > level && candidate.quota == level)
        .collect();
    with_room.sort_by_key(|candidate| std::cmp::Reverse(candidate.holds.len()));
    for candidate in with_room.into_iter().take(left_over) {
        candidate.quota += 1;
    }
}

//! Which worker should run which shard: a pure function.
//!
//! What a solution must be, and the tests hold it to:
//! - **within capacity**: no worker is given more shards than it takes;
//! - **balanced**: two workers with room differ by at most one shard;
//! - **sticky**: no solution that is as balanced moves fewer shards;
//! - **pins hold**: a pinned shard stays with its holder, and the others are spread as evenly as that leaves room for;
//! - **contiguous where free**: shards that nobody runs are handed out as ranges;
//! - **idempotent**: solving the solution again changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use fleet_model::{ShardNumber, WorkerId};

#[cfg(test)]
mod tests;

/// What there is to place.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// The shards, each with the worker that runs it now, if any. That worker need not be one of `workers`.
    pub shards: BTreeMap<ShardNumber, Option<WorkerId>>,
    /// The workers that may be given shards, each with the most that it takes; `None` means no cap.
    pub workers: BTreeMap<WorkerId, Option<u32>>,
    /// Shards that stay with their holder, if that is one of `workers`.
    pub pinned: BTreeSet<ShardNumber>,
}

/// Where each shard should run. A shard that is not in it has no room anywhere and stays where it is.
pub type Target = BTreeMap<ShardNumber, WorkerId>;

/// One worker while the problem is solved.
struct Place<'a> {
    worker: &'a WorkerId,
    capacity: usize,
    /// The pinned first.
    holds: Vec<ShardNumber>,
    /// How many of these are pinned.
    pinned: usize,
    quota: usize,
}

impl Place<'_> {
    /// How much of a level it takes.
    fn up_to(&self, level: usize) -> usize {
        self.capacity.min(level).max(self.pinned)
    }
}

/// Solves a problem.
pub fn solve(problem: &Problem) -> Target {
    let mut places: Vec<Place<'_>> = problem
        .workers
        .iter()
        .map(|(worker, cap)| Place {
            worker,
            capacity: cap.map_or(usize::MAX, |cap| cap as usize),
            holds: Vec::new(),
            pinned: 0,
            quota: 0,
        })
        .collect();
    let mut free: Vec<ShardNumber> = Vec::new();
    for (&shard, holder) in &problem.shards {
        let holder = holder.as_ref().and_then(|name| places.iter_mut().find(|place| place.worker == name));
        match holder {
            Some(place) if problem.pinned.contains(&shard) => {
                place.holds.insert(place.pinned, shard);
                place.pinned += 1;
            }
            Some(place) => place.holds.push(shard),
            None => free.push(shard),
        }
    }
    set_quotas(&mut places, problem.shards.len());

    for place in &mut places {
        free.extend(place.holds.drain(place.quota.min(place.holds.len())..));
    }
    free.sort_unstable();
    let mut free = free.into_iter();
    let mut target = Target::new();
    for place in places {
        let room = place.quota - place.holds.len();
        for shard in place.holds.into_iter().chain(free.by_ref().take(room)) {
            target.insert(shard, place.worker.clone());
        }
    }
    target
}

/// Pours the shards into the workers to one level, like water. The shards that are left over after the last full level
/// go to those that hold the most already, so that the fewest move.
fn set_quotas(places: &mut [Place<'_>], shards: usize) {
    let poured = |places: &[Place<'_>], level: usize| -> usize {
        places.iter().fold(0, |sum: usize, place| sum.saturating_add(place.up_to(level)))
    };
    // The highest level that does not need more shards than there are.
    let (mut level, mut too_high) = (0, shards + 1);
    while too_high - level > 1 {
        let middle = level + (too_high - level) / 2;
        if poured(places, middle) <= shards { level = middle } else { too_high = middle }
    }
    let left_over = shards - poured(places, level);
    for place in places.iter_mut() {
        place.quota = place.up_to(level);
    }
    let mut with_room: Vec<&mut Place<'_>> =
        places.iter_mut().filter(|place| place.capacity > level && place.quota == level).collect();
    with_room.sort_by_key(|place| std::cmp::Reverse(place.holds.len()));
    for place in with_room.into_iter().take(left_over) {
        place.quota += 1;
    }
}

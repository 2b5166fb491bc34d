//! How long it takes to decide which worker runs which shard, without a coordinator around it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fleet::placement::{Placement, PlacementProblem, solve};
use fleet_model::{ShardKey, WorkerId};

/// Each case is solved this often; the median counts.
const RUNS: usize = 11;

/// The times of a placement from nothing, of one after half of the workers died, and of one that changes nothing.
pub(crate) fn times(workers: u32, shards: u32) -> [Duration; 3] {
    let named = |number: u32| -> WorkerId { format!("w{number:04}").parse().expect("it is a name") };
    let problem = |holders: &Placement, from: u32| PlacementProblem {
        shards: ShardKey::all(shards).map(|shard| (shard, holders.get(&shard).cloned())).collect(),
        workers: (from..workers).map(|number| (named(number), None)).collect(),
        ..PlacementProblem::default()
    };
    let (from_nothing, placed) = timed(&problem(&BTreeMap::new(), 0));
    let (half_died, _) = timed(&problem(&placed, workers / 2));
    let (unchanged, _) = timed(&problem(&placed, 0));
    [from_nothing, half_died, unchanged]
}

fn timed(problem: &PlacementProblem) -> (Duration, Placement) {
    let mut times = [Duration::ZERO; RUNS];
    let mut placed = Placement::new();
    for time in &mut times {
        let since = Instant::now();
        placed = solve(problem);
        *time = since.elapsed();
    }
    times.sort_unstable();
    (times[RUNS / 2], placed)
}

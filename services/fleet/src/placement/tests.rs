use proptest::prelude::*;

use super::*;

fn worker(n: usize) -> WorkerId {
    format!("w{n:02}").parse().unwrap()
}

/// Problems with up to 6 workers and 40 shards; holders may be workers that are gone.
fn problems() -> impl Strategy<Value = PlacementProblem> {
    (1usize..7).prop_flat_map(|workers| {
        let caps = prop::collection::vec(prop::option::weighted(0.4, 0u32..12), workers);
        let holders = prop::collection::vec(prop::option::of(0..workers + 2), 0..40);
        (caps, holders).prop_map(|(caps, holders)| {
            let workers: BTreeMap<_, _> =
                caps.into_iter().enumerate().map(|(n, cap)| (worker(n), cap)).collect();
            let shards = holders
                .into_iter()
                .enumerate()
                .map(|(n, holder)| (ShardKey::new(n as u32, 1_000), holder.map(worker)))
                .collect();
            PlacementProblem { shards, workers, pinned: BTreeSet::new() }
        })
    })
}

fn loads(problem: &PlacementProblem, target: &Placement) -> BTreeMap<WorkerId, usize> {
    let mut loads: BTreeMap<_, _> = problem.workers.keys().map(|worker| (worker.clone(), 0)).collect();
    for worker in target.values() {
        *loads.get_mut(worker).expect("only workers of the problem are given shards") += 1;
    }
    loads
}

fn moves(problem: &PlacementProblem, target: &Placement) -> usize {
    let moved = |(shard, holder): (&ShardKey, &Option<WorkerId>)| {
        holder
            .as_ref()
            .is_some_and(|holder| problem.workers.contains_key(holder) && target.get(shard) != Some(holder))
    };
    problem.shards.iter().filter(|entry| moved(*entry)).count()
}

/// The fewest moves with which any solution of these loads gets by: every shard above a worker's load must go; which
/// of the workers with room get the odd shards is free, so the best choice is searched over all.
fn fewest_moves(problem: &PlacementProblem, loads: &BTreeMap<WorkerId, usize>) -> usize {
    let held = |worker: &WorkerId| problem.shards.values().filter(|h| h.as_ref() == Some(worker)).count();
    let level = loads.values().copied().max().unwrap_or(0);
    let capacity = |worker: &WorkerId| problem.workers[worker].map_or(usize::MAX, |cap| cap as usize);
    // Workers at the top level or one below it with room may swap their places.
    let swappable: Vec<&WorkerId> =
        loads.keys().filter(|w| capacity(w) >= level && loads[*w] + 1 >= level).collect();
    let tops = swappable.iter().filter(|w| loads[**w] == level).count();
    let fixed: usize = loads
        .iter()
        .filter(|(worker, _)| !swappable.contains(worker))
        .map(|(worker, load)| held(worker).saturating_sub(*load))
        .sum();
    (0u32..1 << swappable.len())
        .filter(|mask| mask.count_ones() as usize == tops)
        .map(|mask| {
            swappable
                .iter()
                .enumerate()
                .map(|(n, worker)| {
                    let load = if mask & (1 << n) != 0 { level } else { level.saturating_sub(1) };
                    held(worker).saturating_sub(load)
                })
                .sum::<usize>()
        })
        .min()
        .unwrap_or(0)
        + fixed
}

proptest! {
    #[test]
    fn placement_respects_capacity_and_places_all_that_fits(problem in problems()) {
        let target = solve(&problem);
        let loads = loads(&problem, &target);
        let mut room = 0usize;
        for (worker, cap) in &problem.workers {
            let cap = cap.map_or(usize::MAX, |cap| cap as usize);
            prop_assert!(loads[worker] <= cap);
            room = room.saturating_add(cap - loads[worker]);
        }
        prop_assert!(target.len() == problem.shards.len() || room == 0);
    }

    #[test]
    fn balanced_to_within_one(problem in problems()) {
        let loads = loads(&problem, &solve(&problem));
        let most = loads.values().max().copied().unwrap_or(0);
        for (worker, cap) in &problem.workers {
            let full = cap.is_some_and(|cap| loads[worker] == cap as usize);
            prop_assert!(full || loads[worker] + 1 >= most, "{worker} has {} of {most}", loads[worker]);
        }
    }

    #[test]
    fn idempotent(problem in problems()) {
        let target = solve(&problem);
        let shards = problem.shards.iter().map(|(shard, holder)| {
            (*shard, target.get(shard).cloned().or_else(|| holder.clone()))
        });
        let again = PlacementProblem { shards: shards.collect(), ..problem.clone() };
        prop_assert_eq!(solve(&again), target);
    }

    #[test]
    fn pinned_shards_stay_and_the_others_are_spread_around_them(
        mut problem in problems(),
        pinned in prop::collection::btree_set(0u32..40, 0..20),
    ) {
        problem.pinned = pinned.into_iter().map(|n| ShardKey::new(n, 1_000)).collect();
        let target = solve(&problem);
        let mut pins: BTreeMap<&WorkerId, usize> = BTreeMap::new();
        for shard in &problem.pinned {
            let Some(Some(holder)) = problem.shards.get(shard) else { continue };
            if problem.workers.contains_key(holder) {
                prop_assert_eq!(target.get(shard), Some(holder));
                *pins.entry(holder).or_default() += 1;
            }
        }
        let loads = loads(&problem, &target);
        let pinned = |worker: &WorkerId| pins.get(worker).copied().unwrap_or(0);
        let most = loads.iter().filter(|(worker, load)| **load > pinned(worker)).map(|(_, load)| *load).max();
        for (worker, cap) in &problem.workers {
            let load = loads[worker];
            prop_assert!(cap.is_none_or(|cap| load <= (cap as usize).max(pinned(worker))));
            let full = cap.is_some_and(|cap| load >= cap as usize);
            prop_assert!(full || load + 1 >= most.unwrap_or(0), "{worker} has {load} of {most:?}");
        }
        let shards = problem.shards.iter().map(|(shard, holder)| {
            (*shard, target.get(shard).cloned().or_else(|| holder.clone()))
        });
        prop_assert_eq!(solve(&PlacementProblem { shards: shards.collect(), ..problem.clone() }), target);
    }

    #[test]
    fn no_solution_so_balanced_moves_fewer(problem in problems()) {
        let target = solve(&problem);
        prop_assert_eq!(moves(&problem, &target), fewest_moves(&problem, &loads(&problem, &target)));
    }
}

#[test]
fn new_fleet_is_placed_in_ranges() {
    let problem = PlacementProblem {
        shards: (0..12).map(|n| (ShardKey::new(n, 12), None)).collect(),
        workers: (0..3).map(|n| (worker(n), None)).collect(),
        ..PlacementProblem::default()
    };
    let target = solve(&problem);
    for (shard, owner) in target {
        assert_eq!(owner, worker(shard.number() as usize / 4));
    }
}

#[test]
fn joining_worker_takes_only_its_share() {
    let problem = PlacementProblem {
        shards: (0..12).map(|n| (ShardKey::new(n, 12), Some(worker(n as usize / 6)))).collect(),
        workers: (0..3).map(|n| (worker(n), None)).collect(),
        ..PlacementProblem::default()
    };
    let target = solve(&problem);
    assert_eq!(moves(&problem, &target), 4);
    assert_eq!(loads(&problem, &target)[&worker(2)], 4);
}

#[test]
fn no_workers_means_no_placement() {
    let problem = PlacementProblem {
        shards: BTreeMap::from([(ShardKey::new(0, 1), None)]),
        ..PlacementProblem::default()
    };
    assert_eq!(solve(&problem), Placement::new());
}

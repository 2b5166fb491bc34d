//! What operators ask for.

use fleet_model::{Generation, ProblemCode};

use super::*;

const MEANS: PlanBudget =
    PlanBudget { identifies: 100, max_concurrency: 1, identify_interval: Duration::from_secs(5) };

fn needs(intents: u64) -> SessionNeeds {
    SessionNeeds { intents, transport: "json".to_owned(), ..SessionNeeds::default() }
}

fn of_generation(worker: &str, generation: &str) -> Registration {
    with_profile(registration(worker, "1"), |profile| {
        profile.generation = Some(generation.parse().unwrap());
        profile.needs = Some(needs(1));
    })
}

fn promote(generation: &str) -> PlanKind {
    PlanKind::Promote(generation.parse().unwrap())
}

/// Two workers of generation blue with six shards each, and one of green that stands by.
fn blue_and_green() -> Fleet {
    let mut fleet = fleet(12);
    for (n, worker) in ["a", "b"].into_iter().enumerate() {
        fleet.join(of_generation(worker, "blue"), at(n as u64)).unwrap();
    }
    fleet.tick(at(1100));
    settle_writes(&mut fleet, at(1100));
    for worker in ["a", "b"] {
        report(&mut fleet, worker, at(1200));
    }
    fleet.join(of_generation("g", "green"), at(1300)).unwrap();
    settle_writes(&mut fleet, at(1300));
    fleet
}

/// Everybody reports a few times, and does what it is told. Who was told to go leaves when it has nothing left.
fn go_on(fleet: &mut Fleet, from: u64, workers: &[&str]) -> Vec<Note> {
    let mut notes = Vec::new();
    for round in 0..30 {
        let now = at(from + round * 100);
        for worker in workers {
            if !fleet.knows(&id(worker), &life("1")) {
                continue;
            }
            let report = obedient(fleet, worker);
            let leaving = fleet.drain_reason(&id(worker)).is_some() && report.shards.is_empty();
            let report = WorkerReport { leaving, draining: leaving, ..report };
            fleet.report(&id(worker), &life("1"), report, now).unwrap();
            notes.extend(settle_writes(fleet, now));
        }
        fleet.tick(now);
        notes.extend(settle_writes(fleet, now));
    }
    notes
}

fn state(fleet: &Fleet) -> PlanState {
    fleet.plan(at(9_999)).unwrap().state
}

#[test]
fn standby_generation_gets_no_shards() {
    let mut fleet = blue_and_green();
    go_on(&mut fleet, 1400, &["a", "b", "g"]);
    assert_eq!(shards(&fleet, "g"), [] as [u32; 0]);
    let view = fleet.view(at(5000));
    assert_eq!(view.active_generation.as_ref().unwrap().as_str(), "blue");
    let idle = view.problems.iter().find(|problem| problem.code == ProblemCode::GenerationIdle).unwrap();
    assert!(!idle.degrades(), "{idle}");
    assert!(idle.message.contains("altergolden deploy promote green"), "{idle}");
    assert!(idle.message.contains("(g)"), "{idle}");
}

/// A fleet of four shards on an empty store, for which workers of these generations register one after the other.
fn begun_with(generations: &[&str], named: Option<&str>) -> Fleet {
    let recovered =
        Recovered { named_generation: named.map(|name| name.parse().unwrap()), ..Recovered::default() };
    let mut fleet = Fleet::new(rules(), Term(1), WantedTotal::explicit(4), recovered, at(0));
    for (n, generation) in generations.iter().enumerate() {
        fleet.join(of_generation(&format!("w{n}"), generation), at(n as u64)).unwrap();
    }
    fleet.tick(at(1100));
    settle_writes(&mut fleet, at(1100));
    fleet
}

fn codes(fleet: &Fleet, now: u64) -> Vec<ProblemCode> {
    fleet.view(at(now)).problems.iter().map(|problem| problem.code).collect()
}

/// Rows: the generations of workers that register together on an empty store, in order; the one that the operator names; the one that gets
/// the shards.
#[test]
fn generations_that_begin_together_wait_for_the_operator() {
    for (registered, named, active) in [
        (&["blue", "blue"][..], None, Some("blue")),
        (&["blue", "green"], None, None),
        (&["green", "blue", "red", "blue"], None, None),
        (&["blue", "green"], Some("green"), Some("green")),
        (&["green", "blue", "red", "blue"], Some("red"), Some("red")),
    ] {
        let fleet = begun_with(registered, named);
        let view = fleet.view(at(1200));
        assert_eq!(view.active_generation.as_ref().map(Generation::as_str), active, "{registered:?}");
        let owned = |generation: &str| -> usize {
            let of = registered.iter().enumerate().filter(|(_, other)| **other == generation);
            of.map(|(n, _)| shards(&fleet, &format!("w{n}")).len()).sum()
        };
        let placed: usize = ["blue", "green", "red"].into_iter().map(owned).sum();
        assert_eq!(placed, if active.is_some() { 4 } else { 0 }, "{registered:?}");
        assert_eq!(active.map_or(4, owned), 4, "{registered:?}");
        let is_unchosen = codes(&fleet, 1200).contains(&ProblemCode::GenerationUnchosen);
        assert_eq!(is_unchosen, active.is_none(), "{registered:?}");
    }
}

#[test]
fn promotion_chooses_among_generations_that_began_together() {
    let mut fleet = begun_with(&["blue", "green"], None);
    let problems = fleet.view(at(1200)).problems;
    let unchosen = problems.iter().find(|problem| problem.code == ProblemCode::GenerationUnchosen).unwrap();
    let message = unchosen.to_string();
    assert!(message.contains("(blue, green)") && message.contains("deploy promote NAME"), "{message}");
    // It waits for as long as it takes.
    for round in 0..5 {
        go_on(&mut fleet, 1_200 + round * 3_000, &["w0", "w1"]);
    }
    assert!(shards(&fleet, "w0").is_empty() && shards(&fleet, "w1").is_empty());
    assert!(!codes(&fleet, 16_200).contains(&ProblemCode::NoWorker));
    let plan = fleet.start_plan(promote("green"), MEANS, at(16_200)).unwrap();
    assert_eq!((plan.state, plan.steps.len(), plan.identifies), (PlanState::Running, 0, 4));
    settle_writes(&mut fleet, at(16_200));
    // Not before every shard is ready.
    assert!(state(&fleet) == PlanState::Running && fleet.drain_reason(&id("w0")).is_none());
    go_on(&mut fleet, 16_200, &["w0", "w1"]);
    assert_eq!(shards(&fleet, "w1").len(), 4);
    assert!(state(&fleet) == PlanState::Done && !fleet.knows(&id("w0"), &life("1")));
    let problems = codes(&fleet, 19_200);
    assert!(!problems.contains(&ProblemCode::GenerationUnchosen), "{problems:?}");
}

#[test]
fn death_of_the_generation_that_was_chosen_first_leaves_the_other_one() {
    let mut fleet = begun_with(&["blue", "green"], None);
    fleet.start_plan(promote("green"), MEANS, at(1_200)).unwrap();
    settle_writes(&mut fleet, at(1_200));
    let evidence = RevocationCause::Evidence;
    fleet.on_lease_verdict(&id("w1"), &life("1"), evidence, LeaseVerdict::Revoked, at(1_300));
    for round in 0..5 {
        go_on(&mut fleet, 1_400 + round * 3_000, &["w0"]);
    }
    assert_eq!((state(&fleet), shards(&fleet, "w0").len()), (PlanState::RolledBack, 4));
}

/// The store lost which generation is active, and the next coordinator hears first from a worker of another one.
#[test]
fn running_shards_decide_when_the_store_lost_the_active_generation() {
    for first in ["a", "g"] {
        let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered(), at(0));
        let of = |worker: &str| {
            if worker == "g" {
                return of_generation("g", "green");
            }
            let from = if worker == "a" { 0 } else { 6 };
            let running = (from..from + 6).map(|shard| (ShardKey::new(shard, 12), Epoch(10))).collect();
            Registration { running: claimed(running, 12), ..of_generation(worker, "blue") }
        };
        let mut order = vec!["a", "b", "g"];
        order.sort_by_key(|worker| *worker != first);
        for (n, worker) in order.into_iter().enumerate() {
            fleet.join(of(worker), at(100 + n as u64 * 200)).unwrap();
            fleet.tick(at(200 + n as u64 * 200));
            settle_writes(&mut fleet, at(200 + n as u64 * 200));
        }
        for round in 0..4 {
            go_on(&mut fleet, 1_000 + round * 3_000, &["a", "b", "g"]);
        }
        let view = fleet.view(at(13_000));
        assert_eq!(
            view.active_generation.as_ref().map(Generation::as_str),
            Some("blue"),
            "{first} came first"
        );
        assert_eq!(shards(&fleet, "a").len() + shards(&fleet, "b").len(), 12, "{first} came first");
    }
}

#[test]
fn generation_that_is_left_alone_becomes_active() {
    let mut fleet = begun_with(&["blue", "green"], None);
    let leaving = WorkerReport { leaving: true, draining: true, ..WorkerReport::default() };
    fleet.report(&id("w0"), &life("1"), leaving, at(1300)).unwrap();
    go_on(&mut fleet, 1400, &["w1"]);
    assert_eq!(shards(&fleet, "w1").len(), 4);
}

/// The workers that the operator names may come later than others, but the fleet does not wait for them for ever.
#[test]
fn named_generation_without_workers_is_waited_for() {
    let mut fleet = begun_with(&["blue"], Some("green"));
    go_on(&mut fleet, 1200, &["w0"]);
    assert!(shards(&fleet, "w0").is_empty());
    fleet.join(of_generation("g", "green"), at(4_300)).unwrap();
    go_on(&mut fleet, 6_000, &["w0", "g"]);
    assert_eq!(shards(&fleet, "g").len(), 4);

    let mut fleet = begun_with(&["blue"], Some("green"));
    for second in 1..=20 {
        go_on(&mut fleet, 1_200 + second * 1_000, &["w0"]);
    }
    assert_eq!(shards(&fleet, "w0").len(), 4);
}

#[test]
fn dry_run_reports_its_steps_and_changes_nothing() {
    let mut fleet = blue_and_green();
    let plan = fleet.propose_plan(promote("green"), MEANS, at(1400)).unwrap();
    assert_eq!((plan.state, plan.steps.len(), plan.identifies), (PlanState::Proposed, 12, 0));
    assert!(plan.steps.iter().all(|step| step.to == id("g") && !step.done));
    assert!(!plan.estimated.is_zero());
    assert!(fleet.plan(at(1400)).is_none());
    go_on(&mut fleet, 1500, &["a", "b", "g"]);
    assert_eq!(shards(&fleet, "g"), [] as [u32; 0]);
}

#[test]
fn promotion_moves_all_shards_and_old_workers_exit() {
    let mut fleet = blue_and_green();
    let plan = fleet.start_plan(promote("green"), MEANS, at(1400)).unwrap();
    assert_eq!(plan.state, PlanState::Running);
    let notes = go_on(&mut fleet, 1500, &["a", "b", "g"]);
    assert_eq!(state(&fleet), PlanState::Done);
    assert_eq!(shards(&fleet, "g").len(), 12);
    for worker in ["a", "b"] {
        assert!(
            notes.contains(&Note::Left { worker: id(worker), incarnation: life("1") }),
            "{worker} is still there"
        );
    }
}

#[test]
fn deployment_whose_worker_dies_is_rolled_back() {
    let mut fleet = blue_and_green();
    fleet.start_plan(promote("green"), MEANS, at(1400)).unwrap();
    for worker in ["g", "a", "b", "g", "a"] {
        report(&mut fleet, worker, at(1500));
    }
    assert!(!shards(&fleet, "g").is_empty(), "it has begun");
    fleet.on_lease_verdict(&id("g"), &life("1"), RevocationCause::Evidence, LeaseVerdict::Revoked, at(1600));
    settle_writes(&mut fleet, at(1600));
    go_on(&mut fleet, 1700, &["a", "b"]);
    assert_eq!(state(&fleet), PlanState::RolledBack);
    assert!(fleet.plan(at(5000)).unwrap().reason.contains("worker g of generation green died"));
    assert_eq!(shards(&fleet, "a").len() + shards(&fleet, "b").len(), 12);
    assert!(fleet.drain_reason(&id("a")).is_none());
}

#[test]
fn shard_that_does_not_become_ready_rolls_the_deployment_back() {
    let mut fleet = blue_and_green();
    fleet.start_plan(promote("green"), MEANS, at(1400)).unwrap();
    for ms in (1500..60_000).step_by(500) {
        for worker in ["g", "a", "b"] {
            let mut report = obedient(&fleet, worker);
            if worker == "g" {
                report.shards.iter_mut().for_each(|shard| shard.status = ShardStatus::Reconnecting);
            }
            fleet.report(&id(worker), &life("1"), report, at(ms)).unwrap();
            settle_writes(&mut fleet, at(ms));
        }
        fleet.tick(at(ms));
        settle_writes(&mut fleet, at(ms));
        let moved = shards(&fleet, "g").len();
        assert!(moved <= rules().moves_at_once, "{moved} shards are on a worker that gets none ready");
    }
    let plan = fleet.plan(at(60_000)).unwrap();
    assert_eq!(plan.state, PlanState::RolledBack);
    assert!(plan.reason.contains("is not ready on worker g after 30 s"), "{}", plan.reason);
    assert_eq!(shards(&fleet, "g"), [] as [u32; 0]);
}

/// As `blue_and_green`, with a promotion under way and the first shards there.
fn promoted_in_part() -> Fleet {
    let mut fleet = blue_and_green();
    fleet.start_plan(promote("green"), MEANS, at(1400)).unwrap();
    for worker in ["g", "a", "b", "g"] {
        report(&mut fleet, worker, at(1500));
    }
    assert!(!shards(&fleet, "g").is_empty(), "it has begun");
    fleet
}

#[test]
fn reconnecting_shard_does_not_roll_back() {
    let mut fleet = promoted_in_part();
    // Long after, while the plan is still under way.
    for ms in (1600..40_000).step_by(500) {
        let mut report = obedient(&fleet, "g");
        report.arrived.clear();
        if ms > 35_000 {
            report.shards.iter_mut().for_each(|shard| shard.status = ShardStatus::Reconnecting);
        }
        fleet.report(&id("g"), &life("1"), report, at(ms)).unwrap();
        for worker in ["a", "b"] {
            let mut obedient = obedient(&fleet, worker);
            // They are slow to let go: so it takes long.
            obedient.assignment_revision = 0;
            fleet.report(&id(worker), &life("1"), obedient, at(ms)).unwrap();
        }
        fleet.tick(at(ms));
        settle_writes(&mut fleet, at(ms));
    }
    assert_eq!(state(&fleet), PlanState::Running);
}

#[test]
fn short_stream_loss_does_not_roll_back() {
    let mut fleet = promoted_in_part();
    fleet.stream_ended(&id("g"), &life("1"), at(1600));
    for ms in [1700, 1800, 1900] {
        fleet.tick(at(ms));
    }
    let running = fleet.assignment(&id("g")).unwrap().shards.clone();
    let back = Registration { running: claimed(running, 12), ..of_generation("g", "green") };
    fleet.join(back, at(2000)).unwrap();
    go_on(&mut fleet, 2100, &["g", "a", "b"]);
    assert_eq!(state(&fleet), PlanState::Done);
}

#[test]
fn a_drain_is_over_with_its_worker_though_a_shard_fails_elsewhere() {
    let mut fleet = running_fleet();
    fleet.start_plan(PlanKind::Drain(id("a")), MEANS, at(1400)).unwrap();
    for round in 0..30 {
        let now = at(1500 + round * 100);
        if fleet.knows(&id("a"), &life("1")) {
            let obedient = obedient(&fleet, "a");
            let leaving = obedient.shards.is_empty();
            fleet
                .report(&id("a"), &life("1"), WorkerReport { leaving, draining: true, ..obedient }, now)
                .unwrap();
        }
        settle_writes(&mut fleet, now);
        let mut report = obedient(&fleet, "b");
        report
            .shards
            .iter_mut()
            .filter(|one| one.shard.0 < 6)
            .for_each(|one| one.status = ShardStatus::Failed);
        fleet.report(&id("b"), &life("1"), report, now).unwrap();
        settle_writes(&mut fleet, now);
        fleet.tick(now);
    }
    let plan = fleet.plan(at(9_000)).unwrap();
    assert_eq!(plan.state, PlanState::Done);
    assert!(plan.reason.contains("failed on worker b"), "{}", plan.reason);
}

#[test]
fn drain_and_its_rollback_can_be_aborted() {
    let mut fleet = running_fleet();
    fleet.start_plan(PlanKind::Drain(id("a")), MEANS, at(1400)).unwrap();
    assert_eq!(fleet.abort_plan(at(1500)).unwrap().state, PlanState::Aborted);
    let mut fleet = promoted_in_part();
    assert_eq!(fleet.abort_plan(at(1600)).unwrap().state, PlanState::RollingBack);
    assert_eq!(fleet.abort_plan(at(1700)).unwrap().state, PlanState::Aborted);
    assert!(fleet.start_plan(promote("green"), MEANS, at(1800)).is_ok());
}

#[test]
fn last_worker_of_a_leaving_generation_hands_off_to_the_standby_generation() {
    let mut fleet = fleet(4);
    fleet.join(of_generation("a", "blue"), at(0)).unwrap();
    fleet.tick(at(1100));
    settle_writes(&mut fleet, at(1100));
    report(&mut fleet, "a", at(1200));
    fleet.join(of_generation("g", "green"), at(1300)).unwrap();
    for round in 0..20 {
        let now = at(1400 + round * 100);
        let draining = WorkerReport { draining: true, ..obedient(&fleet, "a") };
        fleet.report(&id("a"), &life("1"), draining, now).unwrap();
        settle_writes(&mut fleet, now);
        report(&mut fleet, "g", now);
        fleet.tick(now);
    }
    assert_eq!(shards(&fleet, "g").len(), 4);
}

#[test]
fn a_plan_outlives_its_coordinator() {
    let mut fleet = blue_and_green();
    fleet.start_plan(promote("green"), MEANS, at(1400)).unwrap();
    let mut written = fleet.take_effects().into_iter().filter_map(|effect| match effect {
        Effect::WriteIntent(intent) => Some(intent),
        _ => None,
    });
    let intent = written.next_back().unwrap();
    let text = serde_json::to_string(&intent).unwrap();
    let intent = serde_json::from_str(&text).unwrap();
    let recovered = Recovered { intent, ..recovered() };
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered, at(0));
    let running = |shards: std::ops::Range<u32>| shards.map(|s| (ShardKey::new(s, 12), Epoch(10))).collect();
    for (name, shards) in [("a", 0..6), ("b", 6..12)] {
        let back = Registration { running: claimed(running(shards), 12), ..of_generation(name, "blue") };
        fleet.join(back, at(500)).unwrap();
    }
    fleet.join(of_generation("g", "green"), at(600)).unwrap();
    for from in [700, 3_700, 6_700] {
        go_on(&mut fleet, from, &["a", "b", "g"]);
    }
    assert_eq!(state(&fleet), PlanState::Done);
    assert_eq!(shards(&fleet, "g").len(), 12);
}

#[test]
fn next_coordinator_repeats_the_drain_to_old_workers_only() {
    let mut fleet = blue_and_green();
    fleet.start_plan(promote("green"), MEANS, at(1400)).unwrap();
    // The coordinator dies before any worker hears that it must drain.
    for round in 0..20 {
        for worker in ["g", "a", "b"] {
            report(&mut fleet, worker, at(1500 + round * 50));
        }
    }
    assert_eq!(state(&fleet), PlanState::Done);
    let recovered = Recovered { intent: fleet.intent.clone(), owners: Vec::new(), ..recovered() };
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered, at(0));
    fleet.join(of_generation("a", "blue"), at(500)).unwrap();
    assert_eq!(fleet.drain_reason(&id("a")), Some("generation green has taken over"));
    // Another life: somebody started it to go back to it.
    let again = Registration { incarnation: life("2"), ..of_generation("c", "blue") };
    fleet.join(again, at(600)).unwrap();
    assert_eq!(fleet.drain_reason(&id("c")), None);
}

#[test]
fn an_abort_brings_everything_back() {
    let mut fleet = blue_and_green();
    fleet.start_plan(promote("green"), MEANS, at(1400)).unwrap();
    for worker in ["g", "a", "b"] {
        report(&mut fleet, worker, at(1500));
    }
    assert_eq!(fleet.abort_plan(at(1600)).unwrap().state, PlanState::RollingBack);
    go_on(&mut fleet, 1700, &["a", "b", "g"]);
    assert_eq!(state(&fleet), PlanState::RolledBack);
    assert_eq!(shards(&fleet, "g"), [] as [u32; 0]);
    assert_eq!(fleet.abort_plan(at(9000)), Err(PlanRefused::NoneUnderWay));
}

#[test]
fn impossible_plan_is_refused_with_its_reason() {
    let mut fleet = blue_and_green();
    let refused =
        |fleet: &Fleet, kind: PlanKind, means| fleet.propose_plan(kind, means, at(1400)).unwrap_err();
    assert!(matches!(refused(&fleet, promote("red"), MEANS), PlanRefused::Unknown(_)));
    assert!(matches!(refused(&fleet, promote("blue"), MEANS), PlanRefused::Pointless(_)));
    let to_green = PlanKind::Move { shard: ShardSlot(0), to: id("g") };
    assert!(matches!(refused(&fleet, to_green, MEANS), PlanRefused::Pointless(_)));
    let nowhere = PlanKind::Move { shard: ShardSlot(12), to: id("a") };
    assert!(matches!(refused(&fleet, nowhere, MEANS), PlanRefused::Unknown(_)));
    assert!(matches!(refused(&fleet, PlanKind::Drain(id("x")), MEANS), PlanRefused::Unknown(_)));

    // A small one, and one that wants other intents.
    let small = with_profile(of_generation("s", "small"), |profile| profile.capacity = Some(5));
    fleet.join(small, at(1400)).unwrap();
    match refused(&fleet, promote("small"), MEANS) {
        PlanRefused::NoRoom { shards, .. } => assert_eq!(shards.len(), 7),
        other => panic!("{other}"),
    }
    let other = with_profile(of_generation("o", "other"), |profile| profile.needs = Some(needs(3)));
    fleet.join(other, at(1400)).unwrap();
    assert_eq!(fleet.propose_plan(promote("other"), MEANS, at(1400)).unwrap().identifies, 12);
    let few = PlanBudget { identifies: 11, ..MEANS };
    assert_eq!(refused(&fleet, promote("other"), few), PlanRefused::Identifies { needed: 12, left: 11 });

    fleet.start_plan(promote("green"), MEANS, at(1400)).unwrap();
    assert!(matches!(refused(&fleet, PlanKind::Rebalance, MEANS), PlanRefused::UnderWay(_)));
    let mut fleet = blue_and_green();
    fleet.mark_store_away();
    assert_eq!(refused(&fleet, promote("green"), MEANS), PlanRefused::StoreAway);
}

#[test]
fn drained_worker_hands_off_everything_and_exits_without_its_stream() {
    let mut fleet = running_fleet();
    fleet.start_plan(PlanKind::Drain(id("a")), MEANS, at(1400)).unwrap();
    assert!(fleet.take_effects().contains(&Effect::Drain(id("a"))));
    // It never hears of it, and registers again.
    fleet.stream_ended(&id("a"), &life("1"), at(1500));
    let running = fleet.assignment(&id("a")).unwrap().shards.clone();
    let back = Registration { running: claimed(running, 12), ..registration("a", "1") };
    fleet.join(back, at(1600)).unwrap();
    assert_eq!(fleet.drain_reason(&id("a")), Some("drain worker a"));
    go_on(&mut fleet, 1700, &["a", "b"]);
    assert_eq!(state(&fleet), PlanState::Done);
    assert_eq!(shards(&fleet, "b").len(), 12);
    assert!(!fleet.knows(&id("a"), &life("1")));
}

#[test]
fn moved_shard_stays_until_a_rebalance() {
    let mut fleet = running_fleet();
    for shard in [0, 1, 2] {
        let to = id("b");
        fleet.start_plan(PlanKind::Move { shard: ShardSlot(shard), to }, MEANS, at(1400)).unwrap();
        go_on(&mut fleet, 1500, &["a", "b"]);
        assert_eq!(state(&fleet), PlanState::Done);
    }
    assert!([0, 1, 2].iter().all(|shard| shards(&fleet, "b").contains(shard)));
    assert_eq!(shards(&fleet, "a").len(), 6, "others have gone the other way");
    let nothing = fleet.start_plan(PlanKind::Rebalance, MEANS, at(5_000)).unwrap();
    assert_eq!((nothing.steps.len(), nothing.state), (0, PlanState::Done), "it is balanced already");
}

#[test]
fn generation_without_workers_is_replaced_by_another() {
    let mut fleet = blue_and_green();
    for worker in ["a", "b"] {
        fleet.on_lease_verdict(
            &id(worker),
            &life("1"),
            RevocationCause::Evidence,
            LeaseVerdict::Revoked,
            at(2000),
        );
    }
    settle_writes(&mut fleet, at(2000));
    for ms in (2_100..11_900).step_by(500) {
        report(&mut fleet, "g", at(ms));
        fleet.tick(at(ms));
        settle_writes(&mut fleet, at(ms));
        assert_eq!(shards(&fleet, "g"), [] as [u32; 0], "they may be back, at {ms}");
    }
    for ms in (11_900..14_000).step_by(500) {
        report(&mut fleet, "g", at(ms));
        fleet.tick(at(ms));
        settle_writes(&mut fleet, at(ms));
    }
    assert_eq!(shards(&fleet, "g").len(), 12);
    assert_eq!(fleet.view(at(14_000)).active_generation.unwrap().as_str(), "green");
}

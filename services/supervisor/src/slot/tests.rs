use proptest::prelude::*;

use super::*;

const POLICY: SlotPolicy = SlotPolicy {
    restarts: Policy {
        first: Duration::from_millis(500),
        longest: Duration::from_mins(1),
        steady: Duration::from_mins(1),
        free: 0,
    },
    budget: 5,
    window: Duration::from_mins(10),
    spawn_within: Duration::from_secs(30),
    stop_within: Duration::from_secs(35),
    max_memory: Some(1_000),
};

fn spawned(effects: &[Effect]) -> Option<RunId> {
    effects.iter().find_map(|effect| match effect {
        Effect::Spawn { run, .. } => Some(*run),
        _ => None,
    })
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A slot whose first run serves.
fn serving(now: Instant) -> (Slot, RunId) {
    let mut slot = Slot::new(POLICY);
    let run = spawned(&slot.start(now)).unwrap();
    assert!(slot.serves(run, now).is_empty());
    (slot, run)
}

#[test]
fn crashed_run_is_reported_and_restarted_under_its_name() {
    let now = Instant::now();
    let (mut slot, run) = serving(now);
    let effects = slot.ended(run, Ended::Signal(9), now, 1.0);
    assert_eq!(effects[0], Effect::ReportExit(run, Ended::Signal(9)));
    assert_eq!(effects[1], Effect::RestartIn(Duration::from_millis(500), Ended::Signal(9)));
    assert!(slot.tick(now + Duration::from_millis(499)).is_empty());
    let effects = slot.tick(now + Duration::from_millis(500));
    assert_eq!(effects, [Effect::Spawn { run: RunId(2), side: NameSide::A }]);
}

#[test]
fn run_that_never_serves_is_killed_and_restarted_later_each_time() {
    let mut now = Instant::now();
    let mut slot = Slot::new(POLICY);
    let mut run = spawned(&slot.start(now)).unwrap();
    let mut waits = Vec::new();
    for _ in 0..4 {
        now += POLICY.spawn_within;
        assert_eq!(slot.tick(now), [Effect::Kill(run, KillReason::NotServing)]);
        let effects = slot.ended(run, Ended::Signal(9), now, 1.0);
        let Some(Effect::RestartIn(wait, _)) = effects.last() else { panic!("{effects:?}") };
        waits.push(wait.as_millis());
        now += *wait;
        run = spawned(&slot.tick(now)).unwrap();
    }
    assert_eq!(waits, [500, 1_000, 2_000, 4_000]);
}

#[test]
fn run_that_stays_silent_is_killed_and_restarted() {
    let began = Instant::now();
    let (mut slot, run) = serving(began);
    slot.answers(run, false, began);
    assert!(slot.tick(began + POLICY.spawn_within / 2).is_empty());
    slot.answers(run, true, began + POLICY.spawn_within);
    assert!(slot.next_deadline().is_none(), "it answers again");
    let now = began + POLICY.spawn_within;
    for passed in [seconds(0), POLICY.spawn_within / 2] {
        slot.answers(run, false, now + passed);
    }
    let effects = slot.tick(now + POLICY.spawn_within);
    assert_eq!(effects, [Effect::Kill(run, KillReason::NotAnswering)]);
    let effects = slot.ended(run, Ended::Signal(9), now + POLICY.spawn_within, 1.0);
    assert!(matches!(effects[..], [Effect::ReportExit(..), Effect::RestartIn(..)]), "{effects:?}");
}

#[test]
fn restarts_over_the_budget_wait_for_room() {
    let began = Instant::now();
    let mut now = began;
    let mut slot = Slot::new(POLICY);
    let mut run = spawned(&slot.start(now)).unwrap();
    for restart in 1..=POLICY.budget + 1 {
        slot.ended(run, Ended::Code(1), now, 1.0);
        now = slot.next_deadline().unwrap();
        run = spawned(&slot.tick(now)).unwrap();
        let within = now - began < POLICY.window;
        assert_eq!(within, restart <= POLICY.budget, "restart {restart} after {:?}", now - began);
    }
}

#[test]
fn long_success_forgets_earlier_failures() {
    let now = Instant::now();
    let (mut slot, mut run) = serving(now);
    for _ in 0..3 {
        slot.ended(run, Ended::Code(1), now, 1.0);
        run = spawned(&slot.tick(now + seconds(60))).unwrap();
        slot.serves(run, now + seconds(60));
    }
    let effects = slot.ended(run, Ended::Code(1), now + seconds(130), 1.0);
    assert_eq!(effects[1], Effect::RestartIn(Duration::from_millis(500), Ended::Code(1)));
}

#[test]
fn replacement_serves_before_the_old_run_stops() {
    let now = Instant::now();
    let (mut slot, old) = serving(now);
    let (accepted, effects) = slot.replace(now);
    assert!(accepted);
    assert_eq!(effects, [Effect::Spawn { run: RunId(2), side: NameSide::B }]);
    assert_eq!(slot.serving(), Some(old));
    assert_eq!(slot.serves(RunId(2), now), [Effect::Terminate(old)]);
    assert!(!slot.replace(now).0, "one after the other");
    assert_eq!(slot.ended(old, Ended::Code(0), now, 1.0), [Effect::Replaced]);
    // The next one has the first name again.
    assert_eq!(slot.replace(now).1, [Effect::Spawn { run: RunId(3), side: NameSide::A }]);
}

#[test]
fn replacement_that_does_not_come_up_leaves_the_old_run() {
    let now = Instant::now();
    let (mut slot, old) = serving(now);
    slot.replace(now);
    assert_eq!(slot.tick(now + POLICY.spawn_within), [Effect::Kill(RunId(2), KillReason::NotServing)]);
    let effects = slot.ended(RunId(2), Ended::Signal(9), now, 1.0);
    assert_eq!(effects[1], Effect::ReplacementFailed("it ended"));
    assert_eq!(slot.serving(), Some(old));
    assert!(!slot.is_changing());
}

#[test]
fn replacement_takes_over_when_the_old_run_dies_meanwhile() {
    let now = Instant::now();
    let (mut slot, old) = serving(now);
    slot.replace(now);
    assert_eq!(slot.ended(old, Ended::Signal(9), now, 1.0), [Effect::ReportExit(old, Ended::Signal(9))]);
    assert_eq!(slot.serves(RunId(2), now), [Effect::Replaced]);
    assert_eq!(slot.serving(), Some(RunId(2)));
}

#[test]
fn death_of_a_replacement_that_took_over_ends_the_replacement() {
    let now = Instant::now();
    let (mut slot, old) = serving(now);
    slot.replace(now);
    slot.ended(old, Ended::Signal(9), now, 1.0);
    let effects = slot.ended(RunId(2), Ended::Code(1), now, 1.0);
    assert_eq!(effects[1], Effect::ReplacementFailed("it ended"));
    let run = spawned(&slot.tick(slot.next_deadline().unwrap())).unwrap();
    assert!(slot.serves(run, now).is_empty());
    assert!(slot.replace(now).0, "another one may begin");
}

#[test]
fn replacement_can_be_cancelled() {
    let now = Instant::now();
    let (mut slot, old) = serving(now);
    slot.replace(now);
    assert_eq!(slot.cancel_replacement(now), [Effect::Terminate(RunId(2))]);
    assert!(slot.serves(RunId(2), now).is_empty(), "too late");
    assert!(!slot.replace(now).0, "until it has ended");
    assert!(slot.ended(RunId(2), Ended::Code(0), now, 1.0).is_empty());
    assert_eq!(slot.serving(), Some(old));
    assert!(slot.replace(now).0);
}

#[test]
fn adopted_run_that_leaves_keeps_its_name_to_itself() {
    let now = Instant::now();
    let mut slot = Slot::new(POLICY);
    slot.adopt(Role::Leaving, NameSide::A, now);
    assert_eq!(slot.start(now), [Effect::Spawn { run: RunId(2), side: NameSide::B }]);
}

#[test]
fn too_much_memory_replaces_with_growing_pauses() {
    let mut now = Instant::now();
    let (mut slot, mut run) = serving(now);
    let mut replace = |slot: &mut Slot, now| {
        let next = spawned(&slot.memory(run, 1_001, now)).unwrap();
        slot.serves(next, now);
        slot.ended(run, Ended::Code(0), now, 1.0);
        run = next;
        run
    };
    // The new run needs as much from its start on.
    for pause in [60, 120, 240, 480, 600, 600] {
        let run = replace(&mut slot, now);
        assert!(slot.memory(run, 1_000, now).is_empty());
        assert_eq!(slot.memory(run, 1_001, now + seconds(1)), [Effect::MemoryStaysHigh(seconds(pause - 1))]);
        assert!(slot.memory(run, 1_001, now + seconds(pause - 1)).is_empty(), "said once");
        now += seconds(pause);
    }
    // A replacement that helped for long makes the pause short again.
    replace(&mut slot, now + seconds(600));
    let run = replace(&mut slot, now + seconds(1_800));
    assert_eq!(slot.memory(run, 1_001, now + seconds(1_800)), [Effect::MemoryStaysHigh(seconds(60))]);
    // A crash has its own count.
    let effects = slot.ended(run, Ended::Signal(9), now + seconds(1_800), 1.0);
    assert_eq!(effects[1], Effect::RestartIn(Duration::from_millis(500), Ended::Signal(9)));
}

#[test]
fn wrong_setting_ends_only_the_first_start() {
    let now = Instant::now();
    let mut slot = Slot::new(POLICY);
    let run = spawned(&slot.start(now)).unwrap();
    assert!(slot.ended(run, Ended::Code(2), now, 1.0).contains(&Effect::WrongSetting));
    let (mut slot, run) = serving(now);
    assert!(!slot.ended(run, Ended::Code(2), now, 1.0).contains(&Effect::WrongSetting));
    // A worker that was added to a fleet that runs.
    let mut slot = Slot::new(POLICY);
    slot.trust_settings();
    let run = spawned(&slot.start(now)).unwrap();
    assert!(matches!(slot.ended(run, Ended::Code(2), now, 1.0)[..], [_, Effect::RestartIn(..)]));
    let (mut slot, run) = serving(now);
    assert!(slot.ended(run, Ended::Code(78), now, 1.0).contains(&Effect::TokenRefused));
}

#[test]
fn stopping_slot_starts_nothing_and_kills_what_stays() {
    let now = Instant::now();
    let (mut slot, run) = serving(now);
    slot.replace(now);
    assert_eq!(slot.stop(now), [Effect::Terminate(run), Effect::Terminate(RunId(2))]);
    assert!(slot.start(now).is_empty() && slot.serves(RunId(2), now).is_empty());
    let kills = slot.tick(now + POLICY.stop_within);
    let kill = |run| Effect::Kill(run, KillReason::NotStopping);
    assert_eq!(kills, [kill(run), kill(RunId(2))]);
    slot.ended(run, Ended::Signal(9), now, 1.0);
    slot.ended(RunId(2), Ended::Signal(9), now, 1.0);
    assert!(slot.is_empty() && slot.next_deadline().is_none());
}

/// What may happen to a slot.
#[derive(Clone, Debug)]
enum Happens {
    Pass(u64),
    Serves(usize),
    Ends(usize, i32),
    Killed(usize),
    Replace,
    Cancel,
    Memory(u64),
    Answers(bool),
    Stop,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0_u64..90_000).prop_map(Happens::Pass),
        4 => (0_usize..4).prop_map(Happens::Serves),
        4 => (0_usize..4, prop_oneof![Just(0), Just(1), Just(2), Just(101)]).prop_map(|(run, code)| Happens::Ends(run, code)),
        2 => (0_usize..4).prop_map(Happens::Killed),
        2 => Just(Happens::Replace),
        1 => Just(Happens::Cancel),
        2 => (0_u64..2_000).prop_map(Happens::Memory),
        2 => any::<bool>().prop_map(Happens::Answers),
        1 => Just(Happens::Stop),
    ]
}

proptest! {
    /// Runs that were started and have not ended have different names. Restarts keep within the budget, replacements for memory have
    /// pauses, each replacement ends once, nothing starts after a stop, and a slot without a run always has a time for the next one.
    #[test]
    fn slot_keeps_its_rules(events in prop::collection::vec(happens(), 1..120)) {
        let mut now = Instant::now();
        let mut slot = Slot::new(POLICY);
        let mut alive: Vec<(RunId, NameSide, bool)> = Vec::new();
        let mut restarts: Vec<Instant> = Vec::new();
        let mut replaced_for_memory: Option<Instant> = None;
        let mut replacing = false;
        let mut stopped = false;
        let mut ended_for_good = false;
        let mut effects = slot.start(now);
        let mut last = None;
        for event in events.into_iter().map(Some).chain([None]) {
            for effect in &effects {
                match effect {
                    Effect::Spawn { run, side } => {
                        prop_assert!(!stopped, "started after the stop");
                        prop_assert!(alive.iter().all(|(_, other, _)| other != side), "one name twice");
                        alive.push((*run, *side, false));
                        match last {
                            Some(Happens::Pass(_)) => restarts.push(now),
                            Some(Happens::Replace | Happens::Memory(_)) => {
                                prop_assert!(!replacing, "two replacements");
                                replacing = true;
                            }
                            Some(_) => prop_assert!(false, "started by {last:?}"),
                            None => {}
                        }
                        if let Some(Happens::Memory(_)) = last {
                            let before = replaced_for_memory.replace(now);
                            prop_assert!(before.is_none_or(|at| now - at >= seconds(60)), "no pause");
                        }
                    }
                    Effect::Terminate(run) => {
                        for one in alive.iter_mut().filter(|one| one.0 == *run) {
                            one.2 = true;
                        }
                    }
                    Effect::Kill(run, _) => prop_assert!(alive.iter().any(|one| one.0 == *run), "killed what has ended"),
                    Effect::Replaced | Effect::ReplacementFailed(_) => {
                        prop_assert!(replacing, "no replacement is under way");
                        replacing = false;
                    }
                    Effect::WrongSetting | Effect::TokenRefused => ended_for_good = true,
                    _ => {}
                }
            }
            let recent = restarts.iter().filter(|at| now - **at < POLICY.window).count();
            prop_assert!(recent <= POLICY.budget, "{recent} restarts within the window");
            if let Some(Happens::Cancel | Happens::Stop) = last {
                replacing = false;
            }
            prop_assert_eq!(replacing, slot.replacing);
            let idle = alive.iter().all(|one| one.2);
            prop_assert!(!idle || stopped || ended_for_good || slot.retry_at.is_some(), "never starts again");
            let Some(event) = event else { break };
            last = Some(event.clone());
            let pick = |n: usize, alive: &[(RunId, NameSide, bool)]| alive.get(n % alive.len().max(1)).map(|one| one.0);
            effects = match event {
                Happens::Pass(ms) => {
                    now += Duration::from_millis(ms);
                    slot.tick(now)
                }
                Happens::Serves(n) => pick(n, &alive).map(|run| slot.serves(run, now)).unwrap_or_default(),
                Happens::Ends(n, code) => match pick(n, &alive) {
                    Some(run) => {
                        alive.retain(|one| one.0 != run);
                        slot.ended(run, Ended::Code(code), now, 0.5)
                    }
                    None => Vec::new(),
                },
                Happens::Killed(n) => match pick(n, &alive) {
                    Some(run) => {
                        alive.retain(|one| one.0 != run);
                        slot.ended(run, Ended::Signal(9), now, 0.5)
                    }
                    None => Vec::new(),
                },
                Happens::Replace => slot.replace(now).1,
                Happens::Cancel => slot.cancel_replacement(now),
                Happens::Memory(bytes) => slot.serving().map(|run| slot.memory(run, bytes, now)).unwrap_or_default(),
                Happens::Answers(answers) => {
                    if let Some(run) = slot.serving() {
                        slot.answers(run, answers, now);
                    }
                    Vec::new()
                }
                Happens::Stop => {
                    stopped = true;
                    slot.stop(now)
                }
            };
        }
    }

    /// However runs end, starts after the first keep within the budget.
    #[test]
    fn restarts_keep_within_the_budget(lives in prop::collection::vec((0_u64..100_000, any::<bool>()), 1..60)) {
        let mut now = Instant::now();
        let mut slot = Slot::new(POLICY);
        let mut run = spawned(&slot.start(now)).unwrap();
        let mut restarts: Vec<Instant> = Vec::new();
        for (ms, serves) in lives {
            if serves {
                slot.serves(run, now);
            }
            now += Duration::from_millis(ms);
            slot.ended(run, Ended::Code(1), now, 0.0);
            now = slot.next_deadline().unwrap();
            run = spawned(&slot.tick(now)).unwrap();
            restarts.push(now);
            let recent = restarts.iter().filter(|at| now - **at < POLICY.window).count();
            prop_assert!(recent <= POLICY.budget, "{recent} restarts within the window");
        }
    }
}

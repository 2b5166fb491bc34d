//! What dies again and again, and what comes back.

use super::*;

/// The life of a worker ends badly.
fn die(fleet: &mut Fleet, worker: &str, incarnation: &str, ms: u64) {
    fleet.on_lease_verdict(
        &id(worker),
        &life(incarnation),
        RevocationCause::Evidence,
        LeaseVerdict::Revoked,
        at(ms),
    );
    settle_writes(fleet, at(ms));
}

fn join(fleet: &mut Fleet, worker: &str, incarnation: &str, ms: u64) {
    fleet.join(registration(worker, incarnation), at(ms)).unwrap();
    settle_writes(fleet, at(ms));
}

fn report_as(fleet: &mut Fleet, worker: &str, incarnation: &str, ms: u64) {
    let report = obedient(fleet, worker);
    fleet.report(&id(worker), &life(incarnation), report, at(ms)).unwrap();
    fleet.tick(at(ms));
    settle_writes(fleet, at(ms));
}

/// A fleet of one worker that has died so often, and has come back under the name `a`.
fn back_after(deaths: u64, ms: u64) -> Fleet {
    let mut fleet = fleet(1);
    fleet.rules.settle = Duration::ZERO;
    for n in 0..=deaths {
        join(&mut fleet, "a", &n.to_string(), ms);
        fleet.tick(at(ms));
        settle_writes(&mut fleet, at(ms));
        if n < deaths {
            // It has given its shard up before: the shard is not to blame.
            fleet.slots.iter_mut().for_each(|slot| slot.owner = None);
            die(&mut fleet, "a", &n.to_string(), ms);
        }
    }
    fleet
}

/// Many die at once, and one gets the shard of another after its own end.
#[test]
fn death_of_a_worker_that_never_heard_of_a_shard_is_not_held_against_the_shard() {
    for (hears_of_it, held_back) in [(false, 0), (true, 1)] {
        let mut fleet = fleet(1);
        fleet.rules.settle = Duration::ZERO;
        for name in ["a", "b", "c"] {
            join(&mut fleet, name, "1", 2_000);
        }
        fleet.tick(at(2_000));
        settle_writes(&mut fleet, at(2_000));
        report_as(&mut fleet, "a", "1", 2_100);
        assert_eq!(fleet.owner(ShardSlot(0)).unwrap().0, &id("a"));
        fleet.on_lease_verdict(
            &id("a"),
            &life("1"),
            RevocationCause::Evidence,
            LeaseVerdict::Revoked,
            at(2_980),
        );
        let owners = first_write(&mut fleet, at(2_980));
        assert_eq!(owners[0].worker, id("b"));
        fleet.on_written(owners.iter().map(|owner| (owner, Ok(()))), at(3_000));
        if hears_of_it {
            report_as(&mut fleet, "b", "1", 3_010);
        }
        die(&mut fleet, "b", "1", 3_020);
        assert_eq!(fleet.owner(ShardSlot(0)).is_some(), held_back == 0, "{hears_of_it}");
        assert_eq!(fleet.view(at(3_020)).held_back.shards, held_back, "{hears_of_it}");
    }
}

#[test]
fn worker_that_died_once_gets_free_shards_at_once() {
    let fleet = back_after(1, 2_000);
    assert_eq!(shards(&fleet, "a"), [0]);
}

#[test]
fn worker_that_died_twice_is_named_and_gets_no_shards_for_five_seconds() {
    let mut fleet = back_after(2, 2_000);
    assert_eq!(shards(&fleet, "a"), [] as [u32; 0]);
    let view = fleet.view(at(2_000));
    assert_eq!(
        problems(&view),
        [
            "every worker is held back for shards 0",
            "worker a is held back for 5 s: it died 2 times and gets no shards"
        ]
    );
    assert_eq!(view.held_back, HeldBackCounts { workers: 1, shards: 0 });
    fleet.tick(at(6_900));
    settle_writes(&mut fleet, at(6_900));
    assert_eq!(shards(&fleet, "a"), [] as [u32; 0]);
    fleet.tick(at(7_000));
    settle_writes(&mut fleet, at(7_000));
    assert_eq!(shards(&fleet, "a"), [0], "when the wait is over");
}

#[test]
fn eight_deaths_stop_a_worker_for_ten_minutes() {
    let mut fleet = back_after(8, 2_000);
    assert!(fleet.view(at(2_000)).problems[1].message.starts_with("worker a is stopped for 600 s"));
    fleet.tick(at(601_900));
    settle_writes(&mut fleet, at(601_900));
    assert_eq!(shards(&fleet, "a"), [] as [u32; 0]);
    fleet.tick(at(602_000));
    settle_writes(&mut fleet, at(602_000));
    assert_eq!(shards(&fleet, "a"), [0]);
}

#[test]
fn shards_of_a_held_back_worker_go_to_others() {
    let mut fleet = back_after(2, 2_000);
    join(&mut fleet, "b", "1", 2_100);
    fleet.tick(at(2_200));
    settle_writes(&mut fleet, at(2_200));
    assert_eq!(shards(&fleet, "b"), [0]);
}

#[test]
fn a_worker_that_left_did_not_die() {
    let mut fleet = running_fleet();
    let leaving = WorkerReport { leaving: true, ..WorkerReport::default() };
    fleet.report(&id("a"), &life("1"), leaving, at(2_000)).unwrap();
    settle_writes(&mut fleet, at(2_000));
    assert_eq!(fleet.deaths.breaker, DeathBreaker::default());
}

#[test]
fn returning_worker_gets_no_running_shard_within_the_ttl() {
    let mut fleet = running_fleet();
    die(&mut fleet, "a", "1", 2_000);
    report_as(&mut fleet, "b", "1", 2_100);
    assert_eq!(shards(&fleet, "b").len(), 12);
    join(&mut fleet, "a", "2", 3_000);
    for ms in (3_000..8_000).step_by(200) {
        report_as(&mut fleet, "a", "2", ms);
        report_as(&mut fleet, "b", "1", ms);
        assert_eq!(shards(&fleet, "b").len(), 12, "at {ms}");
    }
    for ms in (8_000..10_000).step_by(200) {
        report_as(&mut fleet, "a", "2", ms);
        report_as(&mut fleet, "b", "1", ms);
    }
    assert_eq!(shards(&fleet, "a").len(), 6);
}

#[test]
fn shard_whose_owners_die_waits_and_gives_the_reason() {
    let mut fleet = running_fleet();
    // Shard 0 takes its owners with it, one after the other.
    die(&mut fleet, "a", "1", 2_000);
    report_as(&mut fleet, "b", "1", 2_100);
    assert!(shards(&fleet, "b").contains(&0), "the first death costs nothing");
    join(&mut fleet, "c", "1", 2_200);
    die(&mut fleet, "b", "1", 2_300);
    assert_eq!(shards(&fleet, "c"), (6..12).collect::<Vec<_>>(), "these lost one owner only");
    let view = fleet.view(at(2_300));
    assert_eq!(view.shards[0].report.detail, "held back for 5 s: 2 of its owners died");
    assert!(problems(&view).contains(&"shards 0-5 held back for 5 s: 2 owners died".to_owned()));
    assert_eq!(view.held_back, HeldBackCounts { workers: 0, shards: 6 });
    for ms in [4_000, 6_000] {
        report_as(&mut fleet, "c", "1", ms);
    }
    assert_eq!(shards(&fleet, "c").len(), 6);
    report_as(&mut fleet, "c", "1", 7_300);
    assert_eq!(shards(&fleet, "c").len(), 12);
}

#[test]
fn shard_whose_owners_died_close_together_becomes_careful_and_stays_so() {
    let careful = |fleet: &Fleet, worker: &str| -> Vec<u32> {
        fleet.assignment(&id(worker)).unwrap().careful.iter().map(|shard| shard.slot().0).collect()
    };
    let mut fleet = running_fleet();
    die(&mut fleet, "a", "1", 2_000);
    report_as(&mut fleet, "b", "1", 2_100);
    assert_eq!((shards(&fleet, "b").len(), careful(&fleet, "b")), (12, vec![]), "one death may be anything");
    join(&mut fleet, "c", "1", 2_200);
    die(&mut fleet, "b", "1", 2_300);
    for ms in [4_000, 6_000, 7_300] {
        report_as(&mut fleet, "c", "1", ms);
    }
    assert_eq!(shards(&fleet, "c").len(), 12);
    assert_eq!(careful(&fleet, "c"), (0..6).collect::<Vec<_>>(), "of the others one owner died");
    let revision = fleet.assignment(&id("c")).unwrap().revision;
    for ms in (8_000..620_000).step_by(2_000) {
        report_as(&mut fleet, "c", "1", ms);
    }
    assert_eq!(fleet.deaths.breaker, DeathBreaker::default(), "the deaths are forgotten");
    assert_eq!(careful(&fleet, "c"), (0..6).collect::<Vec<_>>(), "what it was assigned as it stays");
    assert_eq!(fleet.assignment(&id("c")).unwrap().revision, revision);
    // A clean move after that is an ordinary one.
    join(&mut fleet, "d", "1", 620_000);
    for ms in (620_000..660_000).step_by(500) {
        report_as(&mut fleet, "c", "1", ms);
        report_as(&mut fleet, "d", "1", ms);
    }
    assert_eq!((shards(&fleet, "d").len(), careful(&fleet, "d")), (6, vec![]));
}

#[test]
fn shard_that_was_never_assigned_did_not_kill_its_owner() {
    let mut fleet = fleet(1);
    fleet.join(registration("a", "1"), at(0)).unwrap();
    fleet.tick(at(1_000));
    first_write(&mut fleet, at(1_000));
    assert!(matches!(fleet.slots[0].owner, Some(ShardOwner { phase: Phase::Writing, .. })));
    die(&mut fleet, "a", "1", 1_100);
    assert!(fleet.deaths.breaker.shards.is_empty());
}

#[test]
fn shards_without_room_are_taken_when_a_worker_comes() {
    let mut fleet = fleet(4);
    fleet.join(with_profile(registration("a", "1"), |profile| profile.capacity = Some(3)), at(0)).unwrap();
    fleet.tick(at(1_000));
    settle_writes(&mut fleet, at(1_000));
    assert_eq!(shards(&fleet, "a"), [0, 1, 2]);
    join(&mut fleet, "b", "1", 1_100);
    assert!(shards(&fleet, "b").contains(&3));
    assert_eq!(problems(&fleet.view(at(1_100))), [] as [&str; 0]);
}

fn ran_before(fleet: &Fleet, worker: &str) -> Vec<u32> {
    fleet.assignment(&id(worker)).unwrap().ran_before.iter().map(|shard| shard.slot().0).collect()
}

#[test]
fn next_owner_is_told_that_another_ran_the_shard_before() {
    let mut fleet = running_fleet();
    assert!(ran_before(&fleet, "a").is_empty() && ran_before(&fleet, "b").is_empty(), "a first start");
    die(&mut fleet, "a", "1", 2_000);
    assert_eq!(ran_before(&fleet, "b"), (0..6).collect::<Vec<_>>());

    // A new coordinator that reads the store and finds none of the owners.
    let recovered = Recovered { workers: Vec::new(), ..recovered() };
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered, at(0));
    join(&mut fleet, "c", "1", 100);
    for ms in (250..10_000).step_by(250) {
        report_as(&mut fleet, "c", "1", ms);
    }
    assert_eq!(ran_before(&fleet, "c"), (0..12).collect::<Vec<_>>());

    // A new coordinator that finds nothing in the store and hears of some shards: a dead worker may have run the rest.
    let mut fleet = Fleet::new(rules(), Term(1), WantedTotal::explicit(4), Recovered::default(), at(0));
    let running = (0..2).map(|shard| (ShardKey::new(shard, 4), Epoch(10))).collect();
    fleet.join(Registration { running: claimed(running, 4), ..registration("a", "1") }, at(0)).unwrap();
    for ms in (250..10_000).step_by(250) {
        report_as(&mut fleet, "a", "1", ms);
    }
    assert_eq!((shards(&fleet, "a").len(), ran_before(&fleet, "a")), (4, vec![2, 3]));
}

#[test]
fn first_death_brings_brief_care_unless_killed_from_outside() {
    let suspected = |fleet: &Fleet, worker: &str| fleet.assignment(&id(worker)).unwrap().suspected.len();
    let killed = |fleet: &Fleet, worker: &str| fleet.assignment(&id(worker)).unwrap().killed.len();
    // When the supervisor reports, and the reason.
    for (before, reason, suspects) in [
        (None, "", 6),
        (Some(true), "signal 9", 0),
        (Some(true), "signal 6", 6),
        (Some(false), "OOMKilled", 0),
    ] {
        let mut fleet = running_fleet();
        if before == Some(true) {
            fleet.record_exit_reason(&id("a"), None, reason, at(1_900));
        }
        if before == Some(false) {
            // The probe has shown it first; no worker takes its shards yet.
            fleet.stream_ended(&id("b"), &life("1"), at(1_900));
        }
        die(&mut fleet, "a", "1", 2_000);
        if before == Some(false) {
            fleet.record_exit_reason(&id("a"), Some(&life("1")), reason, at(2_100));
            report_as(&mut fleet, "b", "1", 2_200);
        }
        assert_eq!(shards(&fleet, "b").len(), 12, "{reason}");
        assert_eq!(suspected(&fleet, "b"), suspects, "{reason}");
        assert_eq!(killed(&fleet, "b"), 6 - suspects, "{reason}");
    }
}

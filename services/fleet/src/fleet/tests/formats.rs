//! Which format workers are told to write checkpoints in.

use super::*;

fn reads(worker: &str, incarnation: &str, newest: u16) -> Registration {
    with_profile(registration(worker, incarnation), |profile| profile.formats.newest = newest)
}

fn format(fleet: &Fleet, worker: &str) -> u16 {
    fleet.assignment(&id(worker)).unwrap().checkpoint_format
}

/// Who was sent which format.
fn told(fleet: &mut Fleet) -> Vec<(WorkerId, u16)> {
    let effects = fleet.take_effects().into_iter();
    effects
        .filter_map(|effect| match effect {
            Effect::Send(worker, assignment) => Some((worker, assignment.checkpoint_format)),
            _ => None,
        })
        .collect()
}

/// Two workers that read format 2, and run everything.
fn new_fleet() -> Fleet {
    let mut fleet = fleet(4);
    fleet.join(reads("a", "1", 2), at(0)).unwrap();
    fleet.join(reads("b", "1", 2), at(100)).unwrap();
    fleet.tick(at(1_100));
    settle_writes(&mut fleet, at(1_100));
    fleet
}

#[test]
fn format_is_the_newest_that_all_read() {
    let mut fleet = new_fleet();
    assert_eq!((format(&fleet, "a"), format(&fleet, "b")), (2, 2));
    let answer = fleet.join(reads("c", "1", 1), at(1_200)).unwrap();
    assert_eq!(answer.checkpoint_format, 1, "it is told with its registration");
    assert_eq!(told(&mut fleet), [(id("a"), 1), (id("b"), 1), (id("c"), 1)], "and the others at once");
    fleet.on_lease_verdict(&id("c"), &life("1"), RevocationCause::Silence, LeaseVerdict::Revoked, at(9_000));
    settle_writes(&mut fleet, at(9_000));
    assert_eq!((format(&fleet, "a"), format(&fleet, "b")), (2, 2));
    // The workers with newer formats must not write a format that only one of them reads.
    fleet.join(reads("c", "2", 7), at(9_100)).unwrap();
    assert_eq!(format(&fleet, "c"), 2);
}

#[test]
fn worker_without_a_format_reads_the_first() {
    let mut fleet = new_fleet();
    fleet.join(registration("c", "1"), at(1_200)).unwrap();
    assert_eq!(format(&fleet, "a"), 1);
}

/// A coordinator that has just started, and knows both workers from the store.
fn restarted() -> Fleet {
    Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered(), at(0))
}

fn running(worker: &str, newest: u16) -> Registration {
    let first = if worker == "a" { 0 } else { 6 };
    let running = (first..first + 6).map(|shard| (ShardKey::new(shard, 12), Epoch(10))).collect();
    Registration { running: claimed(running, 12), ..reads(worker, "1", newest) }
}

#[test]
fn format_in_force_stays_while_a_worker_is_unheard() {
    let mut fleet = restarted();
    assert_eq!(fleet.join(running("a", 2), at(100)).unwrap().checkpoint_format, 0);
    assert_eq!(fleet.join(running("b", 2), at(200)).unwrap().checkpoint_format, 2);
    assert_eq!(format(&fleet, "a"), 2);

    let mut fleet = restarted();
    fleet.join(running("a", 2), at(100)).unwrap();
    let answer = fleet.join(running("b", 1), at(200)).unwrap();
    assert_eq!((answer.checkpoint_format, format(&fleet, "a")), (1, 1), "all are heard");
}

#[test]
fn first_format_applies_while_a_worker_is_unheard_and_others_differ() {
    let mut fleet = restarted();
    fleet.join(running("a", 3), at(100)).unwrap();
    fleet.join(reads("c", "1", 2), at(200)).unwrap();
    assert_eq!(format(&fleet, "a"), 1, "3 may be in force, and c does not read it");
    fleet.join(running("b", 3), at(300)).unwrap();
    assert_eq!(format(&fleet, "a"), 2);
}

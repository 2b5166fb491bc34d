//! One rule, one test.

use fleet_model::ShardStatus;

use super::*;

#[test]
fn workers_that_start_together_share_from_the_start() {
    let fleet = running_fleet();
    assert_eq!(shards(&fleet, "a"), (0..6).collect::<Vec<_>>());
    assert_eq!(shards(&fleet, "b"), (6..12).collect::<Vec<_>>());
}

#[test]
fn owner_is_assigned_only_after_it_is_written() {
    let mut fleet = fleet(2);
    fleet.join(registration("a", "1"), at(0)).unwrap();
    fleet.tick(at(1000));
    assert_eq!(first_write(&mut fleet, at(1000)).len(), 2);
    assert_eq!(shards(&fleet, "a"), [] as [u32; 0]);
    assert_eq!(fleet.owner(ShardSlot(0)), None);
}

#[test]
fn outranked_write_is_repeated_with_a_higher_epoch() {
    let mut fleet = fleet(1);
    fleet.join(registration("a", "1"), at(0)).unwrap();
    fleet.tick(at(1000));
    let owner = first_write(&mut fleet, at(1000)).remove(0);
    let known = Epoch(owner.epoch.0 + 1_000_000);
    fleet.on_written([(&owner, Err(Some(known)))], at(1100));
    settle_writes(&mut fleet, at(1100));
    assert!(fleet.owner(ShardSlot(0)).unwrap().1 > known);
}

#[test]
fn joining_worker_gets_its_share_in_small_batches() {
    let mut fleet = running_fleet();
    fleet.join(registration("c", "1"), at(2000)).unwrap();
    fleet.tick(at(2000));
    let notes = settle_writes(&mut fleet, at(2000));
    let moving = notes.iter().filter(|note| matches!(note, Note::Moving { .. })).count();
    assert_eq!(moving, rules().moves_at_once);
    assert_eq!(shards(&fleet, "c"), [] as [u32; 0], "their owners have not let go");
    for round in 0..6 {
        let now = at(2500 + round * 500);
        for worker in ["c", "a", "b"] {
            report(&mut fleet, worker, now);
        }
    }
    assert_eq!(shards(&fleet, "c").len(), 4);
    assert_eq!(shards(&fleet, "a").len(), 4);
}

#[test]
fn silent_worker_keeps_its_shards_until_the_store_revokes_its_lease() {
    let mut fleet = running_fleet();
    fleet.stream_ended(&id("a"), &life("1"), at(1200));
    for ms in (1200..6200).step_by(250) {
        report(&mut fleet, "b", at(ms));
        fleet.tick(at(ms));
        assert!(!asks_about_a_lease(&mut fleet), "asked at {ms}");
    }
    fleet.tick(at(6200));
    assert!(fleet.take_effects().contains(&revocation("a", RevocationCause::Silence)));
    assert_eq!(shards(&fleet, "b").len(), 6);

    fleet.on_lease_verdict(&id("a"), &life("1"), RevocationCause::Silence, LeaseVerdict::Revoked, at(6300));
    let notes = settle_writes(&mut fleet, at(6300));
    let since_broken = Some(Duration::from_millis(5_100));
    let lost = |note: &Note| match note {
        Note::Lost { worker, shards, cause, since_broken: since, .. } => {
            (worker, shards.len(), *cause, *since) == (&id("a"), 6, RevocationCause::Silence, since_broken)
        }
        _ => false,
    };
    assert!(notes.iter().any(lost), "{notes:?}");
    assert_eq!(shards(&fleet, "b").len(), 12);
    let late = fleet.report(&id("a"), &life("1"), WorkerReport::default(), at(6400));
    assert!(late.is_err(), "a revoked worker is not listened to");
}

#[test]
fn store_that_was_unreachable_is_not_trusted_for_a_while() {
    let mut fleet = running_fleet();
    fleet.mark_store_away();
    fleet.mark_store_up(true, at(6000));
    for ms in (1200..11_000).step_by(250) {
        report(&mut fleet, "b", at(ms));
        fleet.tick(at(ms));
        assert!(!asks_about_a_lease(&mut fleet), "asked at {ms}");
    }
    fleet.tick(at(11_000));
    assert!(fleet.take_effects().contains(&revocation("a", RevocationCause::Silence)));
}

#[test]
fn running_shards_are_written_again_to_a_restarted_store() {
    let mut fleet = running_fleet();
    fleet.mark_store_up(false, at(2000));
    let effects = fleet.take_effects();
    assert!(effects.contains(&Effect::WriteTotal(12)));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Write(owners) if owners.len() == 12)));
}

#[test]
fn a_stall_of_our_own_is_not_held_against_the_workers() {
    let mut fleet = running_fleet();
    fleet.tick(at(1300));
    fleet.tick(at(60_000));
    assert!(!asks_about_a_lease(&mut fleet));
}

#[test]
fn name_is_in_use_until_its_holder_leaves() {
    let mut fleet = running_fleet();
    let refused = fleet.join(registration("a", "2"), at(1300)).unwrap_err();
    assert!(matches!(refused, RegistrationRefused::NameTaken { .. }), "{refused}");
    fleet.on_lease_verdict(&id("a"), &life("1"), RevocationCause::Silence, LeaseVerdict::Revoked, at(7000));
    assert!(fleet.join(registration("a", "2"), at(7000)).is_ok());
}

/// A worker gives up its start when its name is taken for long. Here it must go on asking: the store may be repaired.
#[test]
fn holder_that_the_store_does_not_know_is_unknown() {
    let mut fleet = running_fleet();
    fleet.stream_ended(&id("a"), &life("1"), at(1200));
    let refused = |fleet: &mut Fleet| fleet.join(registration("a", "2"), at(1300)).unwrap_err();
    assert!(matches!(refused(&mut fleet), RegistrationRefused::NameTaken { .. }));
    let verdict = |fleet: &mut Fleet, verdict| {
        fleet.on_lease_verdict(&id("a"), &life("1"), RevocationCause::Evidence, verdict, at(1300));
    };
    verdict(&mut fleet, LeaseVerdict::Unknown);
    assert!(matches!(refused(&mut fleet), RegistrationRefused::HolderUnknown { .. }));
    verdict(&mut fleet, LeaseVerdict::Live(Duration::from_secs(1)));
    assert!(matches!(refused(&mut fleet), RegistrationRefused::NameTaken { .. }));
}

#[test]
fn draining_worker_hands_off_everything_and_is_forgotten() {
    let mut fleet = running_fleet();
    for round in 0..8 {
        let now = at(2000 + round * 250);
        let draining = WorkerReport { draining: true, ..obedient(&fleet, "a") };
        fleet.report(&id("a"), &life("1"), draining, now).unwrap();
        settle_writes(&mut fleet, now);
        report(&mut fleet, "b", now);
    }
    assert_eq!(shards(&fleet, "a"), [] as [u32; 0]);
    assert_eq!(shards(&fleet, "b").len(), 12);
    let leaving = WorkerReport { leaving: true, ..WorkerReport::default() };
    fleet.report(&id("a"), &life("1"), leaving, at(5000)).unwrap();
    assert!(fleet.take_effects().contains(&Effect::Forget(id("a"), life("1"))));
}

#[test]
fn released_shard_is_placed_again_under_a_higher_epoch() {
    let mut fleet = running_fleet();
    let (_, before) = fleet.owner(ShardSlot(3)).unwrap();
    let given_up = WorkerReport { released: vec![(ShardSlot(3), before)], ..obedient(&fleet, "a") };
    fleet.report(&id("a"), &life("1"), given_up, at(2000)).unwrap();
    settle_writes(&mut fleet, at(2000));
    assert!(fleet.owner(ShardSlot(3)).unwrap().1 > before);
}

#[test]
fn shards_without_room_are_named() {
    let mut fleet = fleet(4);
    fleet.join(with_profile(registration("a", "1"), |profile| profile.capacity = Some(3)), at(0)).unwrap();
    fleet.tick(at(1000));
    settle_writes(&mut fleet, at(1000));
    assert_eq!(problems(&fleet.view(at(1100))), ["no worker has room for shards 3"]);
}

#[test]
fn shard_can_move_before_its_owner_was_assigned() {
    let mut fleet = fleet(4);
    fleet.join(registration("a", "1"), at(0)).unwrap();
    fleet.tick(at(1000));
    let owners = first_write(&mut fleet, at(1000));
    // The store takes its time; another worker joins meanwhile.
    fleet.join(registration("b", "1"), at(1100)).unwrap();
    fleet.on_written(owners.iter().map(|owner| (owner, Ok(()))), at(1200));
    for round in 0..8 {
        let now = at(1300 + round * 250);
        settle_writes(&mut fleet, now);
        for worker in ["a", "b"] {
            report(&mut fleet, worker, now);
        }
    }
    assert_eq!((shards(&fleet, "a").len(), shards(&fleet, "b").len()), (2, 2));
}

#[test]
fn first_worker_with_shards_is_not_assigned_those_that_others_may_run() {
    let mut fleet = fleet(4);
    let running = |shards: std::ops::Range<u32>| shards.map(|s| (ShardKey::new(s, 4), Epoch(10))).collect();
    let a = Registration { running: claimed(running(0..2), 4), ..registration("a", "1") };
    assert_eq!(fleet.join(a, at(0)).unwrap().shards.len(), 2);
    settle_writes(&mut fleet, at(0));
    assert_eq!(shards(&fleet, "a"), [0, 1], "the others may run on a worker that is about to register");
    let b = Registration { running: claimed(running(2..4), 4), ..registration("b", "1") };
    fleet.join(b, at(900)).unwrap();
    settle_writes(&mut fleet, at(900));
    assert_eq!(shards(&fleet, "b"), [2, 3]);
}

#[test]
fn a_shard_that_is_not_heard_of_is_silent() {
    let fleet = running_fleet();
    assert_eq!(fleet.view(at(6_000)).shards[0].report.status, ShardStatus::Ready);
    let silent = &fleet.view(at(6_300)).shards[0].report;
    assert_eq!(silent.status, ShardStatus::Silent);
    assert!(silent.detail.contains("5 s"), "{}", silent.detail);
}

#[test]
fn a_new_coordinator_moves_nothing_that_runs() {
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(16), recovered(), at(0));
    let running = |shards: std::ops::Range<u32>| shards.map(|s| (ShardKey::new(s, 12), Epoch(10))).collect();
    for (name, shards) in [("a", 0..6), ("b", 6..12)] {
        let back = Registration { running: claimed(running(shards), 12), ..registration(name, "1") };
        fleet.join(back, at(500)).unwrap();
    }
    for ms in (500..20_000).step_by(250) {
        for worker in ["a", "b"] {
            report(&mut fleet, worker, at(ms));
        }
        fleet.tick(at(ms));
        let notes = settle_writes(&mut fleet, at(ms));
        assert!(notes.iter().all(|note| matches!(note, Note::Joined { .. })), "{notes:?}");
    }
    assert_eq!(shards(&fleet, "a"), (0..6).collect::<Vec<_>>());
    assert_eq!(fleet.shard_total(), Some(12), "a running fleet keeps its total");
    assert!(fleet.view(at(20_000)).problems[0].message.contains("16 are wanted"));
}

#[test]
fn running_shards_count_when_the_store_forgot_them() {
    let mut fleet = Fleet::new(rules(), Term(1), WantedTotal::explicit(4), Recovered::default(), at(0));
    let running = (0..12).map(|shard| (ShardKey::new(shard, 12), Epoch(10))).collect();
    let back = Registration { running: claimed(running, 12), ..registration("a", "1") };
    let assignment = fleet.join(back, at(500)).unwrap();
    assert_eq!(assignment.shards.len(), 12);
    assert_eq!(assignment.shard_total, 12);
    let written = fleet.take_effects().into_iter().any(|effect| {
        matches!(effect, Effect::Write(owners) if owners.len() == 12 && owners[0].epoch == Epoch(10))
    });
    assert!(written, "and written down again");
}

#[test]
fn stopped_fleet_accepts_another_total() {
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(16), recovered(), at(0));
    fleet.join(registration("c", "1"), at(100)).unwrap();
    for ms in (250..10_000).step_by(250) {
        fleet.report(&id("c"), &life("1"), obedient(&fleet, "c"), at(ms)).unwrap();
        fleet.tick(at(ms));
        for effect in fleet.take_effects() {
            match effect {
                Effect::Write(owners) => fleet.on_written(owners.iter().map(|owner| (owner, Ok(()))), at(ms)),
                Effect::FindLeases => fleet.on_leases_found(Some(Vec::new()), at(ms)),
                Effect::Revoke { worker, incarnation, cause } => {
                    fleet.on_lease_verdict(&worker, &incarnation, cause, LeaseVerdict::Revoked, at(ms));
                }
                _ => {}
            }
        }
    }
    assert_eq!(shards(&fleet, "c").len(), 16);
}

#[test]
fn without_a_store_leases_continue_but_none_starts() {
    let mut fleet = running_fleet();
    fleet.mark_store_away();
    let heard = |fleet: &mut Fleet, worker: &str, ms: u64| {
        let report = obedient(fleet, worker);
        fleet.report(&id(worker), &life("1"), report, at(ms)).unwrap()
    };
    for ms in (2_000..6_000).step_by(1_000) {
        assert_eq!(heard(&mut fleet, "b", ms), LeaseAnswer::Renewed, "at {ms}");
    }
    // `a` was silent for longer than its window.
    for ms in [5_200, 6_200] {
        assert_eq!(heard(&mut fleet, "a", ms), LeaseAnswer::NotRenewed, "at {ms}");
    }
    let running = fleet.assignment(&id("a")).unwrap().shards.clone();
    let back = Registration { running: claimed(running, 12), ..registration("a", "1") };
    let away = fleet.join(Registration { granted: false, ..back.clone() }, at(7_000)).unwrap_err();
    assert_eq!(away, RegistrationRefused::StoreAway { worker: id("a") });
    // The store has its lease: it is its own.
    assert_eq!(fleet.join(back, at(7_100)).unwrap().shards.len(), 6);
    assert_eq!(heard(&mut fleet, "a", 7_200), LeaseAnswer::Renewed);
}

#[test]
fn lapsed_worker_is_renewed_once_the_store_is_trusted() {
    let mut fleet = running_fleet();
    fleet.mark_store_away();
    fleet.mark_store_up(true, at(6_000));
    for (ms, heard) in
        [(6_000, LeaseAnswer::NotRenewed), (8_000, LeaseAnswer::NotRenewed), (11_000, LeaseAnswer::Renewed)]
    {
        let report = obedient(&fleet, "a");
        assert_eq!(fleet.report(&id("a"), &life("1"), report, at(ms)), Ok(heard), "at {ms}");
    }
}

#[test]
fn unknown_worker_with_shards_cannot_join_without_the_store() {
    let mut fleet = running_fleet();
    fleet.mark_store_away();
    let running = BTreeMap::from([(ShardKey::new(0, 12), Epoch(7))]);
    let stranger = Registration { running: claimed(running, 12), granted: false, ..registration("c", "1") };
    assert!(fleet.join(stranger, at(2_000)).is_err());
    assert!(fleet.join(Registration { granted: false, ..registration("c", "1") }, at(2_000)).is_ok());
}

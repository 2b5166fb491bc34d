//! False claims of workers.

use super::*;

const DAY_MS: u64 = 24 * 3600 * 1000;

fn claims(worker: &str, shards: std::ops::Range<u32>, epoch: u64, total: u32) -> Registration {
    let running = shards.map(|shard| (ShardKey::new(shard, total), Epoch(epoch))).collect();
    Registration { running: claimed(running, total), ..registration(worker, "1") }
}

#[test]
fn epochs_above_every_clock_are_refused() {
    let clock = at(2_000).unix_ms;
    // The fleet's term, the claimed epoch, and whether it is believed.
    let rows = [
        (1, clock, true),
        (1, clock + DAY_MS, true),
        (1, clock + DAY_MS + 1, false),
        (1, u64::MAX, false),
        (1, u64::MAX - 1, false),
        (1, 1 << 53, false),
        // The store's clock was ahead once, as its term shows.
        (clock + 10 * DAY_MS, clock + 11 * DAY_MS, true),
        (clock + 10 * DAY_MS, clock + 11 * DAY_MS + 1, false),
    ];
    for (term, epoch, believed) in rows {
        let mut fleet =
            Fleet::new(rules(), Term(term), WantedTotal::explicit(12), Recovered::default(), at(0));
        let joined = fleet.join(claims("x", 0..12, epoch, 12), at(2_000));
        assert_eq!(joined.is_ok(), believed, "epoch {epoch} in term {term}: {joined:?}");
        assert_eq!(fleet.workers.len(), usize::from(believed), "a refused claim leaves nothing");
    }
}

#[test]
fn stored_epoch_above_the_clock_is_used() {
    let mut records = recovered();
    let future = at(0).unix_ms + 100 * DAY_MS;
    records.owners.iter_mut().for_each(|owner| owner.epoch = Epoch(future));
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), records, at(0));
    let assignment = fleet.join(claims("a", 0..6, future, 12), at(100)).unwrap();
    assert_eq!(assignment.shards.len(), 6);
}

#[test]
fn claims_do_not_take_shards_from_live_owners() {
    for ahead in [1, 1_000, DAY_MS / 2] {
        let mut fleet = running_fleet();
        let before = fleet.view(at(2_000)).shards;
        let assignment = fleet.join(claims("x", 0..12, at(2_000).unix_ms + ahead, 12), at(2_000)).unwrap();
        assert_eq!(assignment.shards.len(), 0, "the worker is told to run none of them");
        let effects = fleet.take_effects();
        let asked =
            effects.iter().any(|effect| matches!(effect, Effect::Write(owners) if owners.len() == 12));
        assert!(asked, "the store is asked: {effects:?}");
        assert!(effects.contains(&Effect::Note(Note::Contested { worker: id("x"), shards: 12 })));
        for effect in effects {
            if let Effect::Write(owners) = effect {
                assert!(owners.iter().all(|owner| owner.worker != id("x")));
                fleet.on_written(owners.iter().map(|owner| (owner, Ok(()))), at(2_010));
            }
        }
        let owners =
            |shards: &[ShardView]| shards.iter().map(|shard| shard.owner.clone()).collect::<Vec<_>>();
        assert_eq!(owners(&fleet.view(at(2_010)).shards), owners(&before));
    }
}

/// A new coordinator has read owners `a` (shards 0 to 5) and `b` from the store and has heard neither.
#[test]
fn shards_of_owners_that_were_only_read_from_the_store_are_not_given_to_another_claimant() {
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered(), at(0));
    let claim = |shards, ms: u64| claims("x", shards, at(ms).unix_ms, 12);
    for shards in [0..1, 0..12, 5..7] {
        let first = shards.start;
        let refused = fleet.join(claim(shards, 100), at(100)).unwrap_err();
        let RegistrationRefused::OwnerUnheard { shard, .. } = refused else { panic!("{refused}") };
        assert_eq!(shard.slot(), ShardSlot(first));
    }
    let epoch = fleet.slots[0].highest.0;
    assert_eq!(fleet.join(claims("a", 0..6, epoch, 12), at(200)).unwrap().shards.len(), 6);
    // Its owner is heard: the claim is one against a live owner.
    assert_eq!(fleet.join(claim(0..1, 300), at(300)).unwrap().shards.len(), 0);
    assert_eq!(shards(&fleet, "a"), [0, 1, 2, 3, 4, 5]);

    // The owner is not heard in time: a store that lost its last writes may name a wrong one.
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered(), at(0));
    let late = u64::try_from(fleet.term.grace_until.as_millis()).unwrap();
    fleet.join(claim(0..1, late - 1), at(late - 1)).unwrap_err();
    assert_eq!(fleet.join(claim(0..1, late), at(late)).unwrap().shards.len(), 1);
}

#[test]
fn contested_shard_is_reassigned_above_the_stored_epoch() {
    let mut fleet = running_fleet();
    let claimed = at(2_000).unix_ms + 500;
    fleet.join(claims("x", 0..1, claimed, 12), at(2_000)).unwrap();
    for effect in fleet.take_effects() {
        if let Effect::Write(owners) = effect {
            fleet.on_written(owners.iter().map(|owner| (owner, Err(Some(Epoch(claimed))))), at(2_010));
        }
    }
    settle_writes(&mut fleet, at(2_020));
    assert!(fleet.owner(ShardSlot(0)).unwrap().1 > Epoch(claimed));
}

#[test]
fn unlikely_totals_are_refused() {
    // The wanted, stored and claimed totals, and whether the claim is believed.
    let rows = [
        (4, None, 65_536, false),
        (4, None, 12, true),
        (4, None, 16, true),
        (4, None, 17, false),
        (100, None, 400, true),
        (100, None, 401, false),
        (100, None, 25, true),
        (100, None, 24, false),
        (100, None, 1, false),
        (4, Some(100), 100, true),
        (4, Some(100), 401, false),
        (1, None, 1, true),
        (65_536, None, 65_536, true),
    ];
    for (wanted, stored, claimed, believed) in rows {
        let recovered = Recovered { shard_total: stored, ..Recovered::default() };
        let mut fleet = Fleet::new(rules(), Term(1), WantedTotal::explicit(wanted), recovered, at(0));
        let joined = fleet.join(claims("x", 0..1, 10, claimed), at(500));
        assert_eq!(joined.is_ok(), believed, "{claimed} of {wanted}, {stored:?}: {joined:?}");
        if !believed {
            assert_eq!(fleet.shard_total(), None);
        }
    }
}

#[test]
fn stored_total_without_owners_is_taken_only_if_it_is_likely() {
    // The wanted and stored totals, how many shards have a stored owner, and whether the total is taken.
    let rows = [
        (4, 65_536, 4, false),
        (4, 65_536, 32_768, true),
        (4, 100, 49, false),
        (4, 100, 50, true),
        (4, 16, 4, true),
        (100, 400, 4, true),
        (100, 401, 4, false),
    ];
    for (wanted, stored, owners, taken) in rows {
        let mut records = recovered();
        let owner = records.owners[0].clone();
        let owners =
            (0..owners).map(|shard| RecoveredOwner { shard: ShardKey::new(shard, stored), ..owner.clone() });
        (records.shard_total, records.owners) = (Some(stored), owners.collect());
        let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(wanted), records, at(0));
        assert_eq!(fleet.shard_total() == Some(stored), taken, "{stored} of {wanted}");
        // Workers that run it are believed either way.
        fleet.join(claims("a", 0..1, owner.epoch.0, stored), at(100)).unwrap();
        assert_eq!(fleet.shard_total(), Some(stored));
    }
}

/// The store's record of shard 0 is invalid while its owner runs it.
#[test]
fn owner_is_written_again_until_its_record_is_valid() {
    let mut fleet = running_fleet();
    let named = |fleet: &Fleet, ms| {
        fleet.view(at(ms)).problems.iter().any(|problem| problem.code == ProblemCode::ShardRefused)
    };
    fleet.delay_after_invalid_record(ShardKey::new(0, 1), at(2_000));
    assert!(named(&fleet, 2_000));
    let mut writes = 0;
    for ms in (2_000..100_000).step_by(500) {
        fleet.tick(at(ms));
        for effect in fleet.take_effects() {
            let Effect::Write(owners) = effect else { continue };
            assert_eq!(owners.iter().map(|owner| owner.shard).collect::<Vec<_>>(), [ShardKey::new(0, 1)]);
            writes += 1;
            let valid = ms > 60_000;
            fleet.on_written([(&owners[0], if valid { Ok(()) } else { Err(None) })], at(ms));
            if !valid {
                fleet.delay_after_invalid_record(ShardKey::new(0, 1), at(ms));
            }
        }
    }
    assert!((5..15).contains(&writes), "{writes}");
    assert!(!named(&fleet, 100_000));
}

#[test]
fn total_without_running_shards_is_ignored() {
    let mut fleet = fleet(4);
    fleet.join(claims("x", 0..0, 10, 65_536), at(0)).unwrap();
    fleet.tick(at(1_000));
    assert_eq!(fleet.shard_total(), Some(4));
}

#[test]
fn full_fleet_admits_only_known_workers() {
    let mut fleet = fleet(1);
    for n in 0..super::super::claims::MAX_WORKERS {
        fleet.join(registration(&format!("w{n}"), "1"), at(0)).unwrap();
        fleet.take_effects();
    }
    let refused = fleet.join(registration("x", "1"), at(0)).unwrap_err();
    assert!(matches!(refused, RegistrationRefused::Full { .. }), "{refused}");
    fleet.join(registration("w7", "1"), at(0)).unwrap();
}

#[test]
fn highest_epoch_stops_one_shard_and_is_named() {
    let mut records = recovered();
    records.workers.clear();
    records.last_ran_unix_ms = Some(at(0).unix_ms);
    records.owners[3].epoch = Epoch(u64::MAX);
    let wanted = WantedTotal { total: 12, explicit: false };
    let mut fleet = Fleet::new(rules(), Term(2), wanted, records, at(0));
    fleet.join(registration("c", "1"), at(100)).unwrap();
    for ms in (100..9_000).step_by(100) {
        fleet.tick(at(ms));
        settle_writes(&mut fleet, at(ms));
    }
    let expected: Vec<u32> = (0..12).filter(|shard| *shard != 3).collect();
    assert_eq!(shards(&fleet, "c"), expected);
    let view = fleet.view(at(9_000));
    let problem = view.problems.iter().find(|problem| problem.code == ProblemCode::ShardRefused).unwrap();
    assert!(problem.message.contains("shard 3"), "{problem}");
}

#[test]
fn refused_writes_back_off_and_are_named() {
    let mut fleet = fleet(1);
    fleet.join(registration("a", "1"), at(0)).unwrap();
    let (mut writes, mut outranked) = (Vec::new(), 0);
    for ms in (1_000..61_000).step_by(100) {
        fleet.tick(at(ms));
        loop {
            let effects = fleet.take_effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Write(owners) => {
                        writes.push(ms);
                        let above = Epoch(owners[0].epoch.0 + 1);
                        fleet.on_written([(&owners[0], Err(Some(above)))], at(ms));
                    }
                    Effect::FindLeases => fleet.on_leases_found(Some(Vec::new()), at(ms)),
                    Effect::Note(Note::Outranked { .. }) => outranked += 1,
                    _ => {}
                }
            }
            assert!(writes.len() < 50, "a hot loop");
        }
    }
    assert!((5..15).contains(&writes.len()), "{writes:?}");
    assert_eq!(outranked, 1, "noted once");
    let code =
        fleet.view(at(61_000)).problems.iter().any(|problem| problem.code == ProblemCode::ShardRefused);
    assert!(code);
}

/// Lets both workers report from `from` to `to`, in seconds.
fn report_between(fleet: &mut Fleet, from: u64, to: u64) {
    for now in (from * 4..to * 4).map(|quarter| at(quarter * 250)) {
        fleet.tick(now);
        settle_writes(fleet, now);
        for worker in ["a", "b"] {
            report(fleet, worker, now);
        }
    }
}

#[test]
fn worker_with_a_stale_token_gets_no_shards_for_a_while() {
    let mut fleet = running_fleet();
    let min = Duration::from_mins(1);
    assert_eq!(fleet.exclude(&id("a"), &life("0"), at(2_000)), None, "another incarnation");
    assert_eq!(fleet.exclude(&id("a"), &life("1"), at(2_000)), Some(min), "the token was accepted before");
    assert_eq!(fleet.exclude(&id("a"), &life("1"), at(2_000)), None, "reported once");
    report_between(&mut fleet, 3, 61);
    assert_eq!((shards(&fleet, "a").len(), shards(&fleet, "b").len()), (0, 12));
    let view = fleet.view(at(61_000));
    let problem = view.problems.iter().find(|problem| problem.code == ProblemCode::WorkerTokenRefused);
    assert!(problem.unwrap().message.ends_with("next attempt in 1 min"), "{problem:?}");
    fleet.join(registration("a", "1"), at(61_000)).unwrap();
    assert!(fleet.is_excluded(&id("a")), "the same incarnation stays excluded");
    report_between(&mut fleet, 62, 90);
    assert!(!fleet.is_excluded(&id("a")));
    assert_eq!((shards(&fleet, "a").len(), shards(&fleet, "b").len()), (6, 6), "it gets shards again");
    fleet.exclude(&id("a"), &life("1"), at(90_000)).unwrap();
    let leaving = WorkerReport { leaving: true, ..WorkerReport::default() };
    fleet.report(&id("a"), &life("1"), leaving, at(90_100)).unwrap();
    fleet.join(registration("a", "2"), at(90_200)).unwrap();
    assert!(!fleet.is_excluded(&id("a")), "another incarnation may have another token");
}

#[test]
fn each_refusal_of_a_token_makes_the_exclusion_longer() {
    let mut fleet = fleet(2);
    fleet.join(registration("a", "1"), at(0)).unwrap();
    let (mut now, mut waits) = (0, Vec::new());
    for _ in 0..5 {
        let wait = fleet.exclude(&id("a"), &life("1"), at(now)).unwrap();
        waits.push(wait.as_secs() / 60);
        now += wait.as_millis() as u64;
        fleet.tick(at(now - 1));
        assert!(fleet.is_excluded(&id("a")));
        fleet.tick(at(now));
        assert!(!fleet.is_excluded(&id("a")));
    }
    assert_eq!(waits, [10, 20, 40, 60, 60]);
    now += 3_600_000;
    assert_eq!(fleet.exclude(&id("a"), &life("1"), at(now)), Some(Duration::from_mins(10)), "forgotten");
}

#[test]
fn shard_that_becomes_ready_ends_the_exclusion_of_its_worker() {
    let mut fleet = fleet(2);
    fleet.join(registration("a", "1"), at(0)).unwrap();
    fleet.tick(at(1_100));
    settle_writes(&mut fleet, at(1_100));
    let with = |fleet: &mut Fleet, status, ms| {
        let mut report = obedient(fleet, "a");
        report.shards.iter_mut().for_each(|shard| {
            shard.status = status;
            shard.close_code = (status == ShardStatus::Failed).then_some(4004);
        });
        fleet.report(&id("a"), &life("1"), report, at(ms)).unwrap();
        settle_writes(fleet, at(ms));
    };
    with(&mut fleet, ShardStatus::Failed, 2_000);
    let epoch = fleet.owner(ShardSlot(0)).unwrap().1;
    let failed = ShardReport::bare(ShardSlot(0), epoch, ShardStatus::Failed);
    assert_eq!(fleet.last_close_code(&failed), Some(4004));
    let next = ShardReport { epoch: Epoch(epoch.0 + 1), ..failed };
    assert_eq!(fleet.last_close_code(&next), None, "another epoch");
    fleet.exclude(&id("a"), &life("1"), at(2_100)).unwrap();
    with(&mut fleet, ShardStatus::Identifying, 3_000);
    assert!(fleet.is_excluded(&id("a")));
    assert_eq!(shards(&fleet, "a").len(), 2, "no other worker can take them");
    with(&mut fleet, ShardStatus::Ready, 4_000);
    assert!(!fleet.is_excluded(&id("a")));
}

#[test]
fn new_advice_applies_while_the_fleet_runs() {
    let mut fleet = running_fleet();
    fleet.follow_advice(WantedTotal { total: 16, explicit: false }, 16);
    assert_eq!((fleet.shard_total(), fleet.rules.identifies_at_once), (Some(12), 16));
    assert!(problems(&fleet.view(at(2_000)))[0].contains("16 are wanted"));
    fleet.follow_advice(WantedTotal { total: 12, explicit: false }, 0);
    assert_eq!(problems(&fleet.view(at(2_000))), [] as [&str; 0]);
    assert_eq!(fleet.rules.identifies_at_once, 1);
}

#[test]
fn exit_report_alone_counts_no_death() {
    // Whether its stream is open, whether the probe was inconclusive, and the deaths that count.
    for (connected, unseen, deaths) in [(true, true, 0), (true, false, 1), (false, true, 1)] {
        let mut fleet = running_fleet();
        if !connected {
            fleet.stream_ended(&id("a"), &life("1"), at(6_900));
        }
        if unseen {
            fleet.exit_unconfirmed(&id("a"), &life("1"));
        }
        fleet.accept_exit(&id("a"), None, at(7_000)).unwrap();
        fleet.on_lease_verdict(
            &id("a"),
            &life("1"),
            RevocationCause::Evidence,
            LeaseVerdict::Revoked,
            at(7_001),
        );
        assert_eq!(fleet.deaths.breaker.workers.len(), deaths, "{connected} {unseen}");
        assert_eq!(fleet.deaths.breaker.shards.len(), deaths * 6, "{connected} {unseen}");
    }
}

#[test]
fn worker_without_the_store_gets_shards_only_as_a_last_resort() {
    let mut fleet = fleet(4);
    let away = |fleet: &mut Fleet, store_away: bool, ms: u64| {
        let report = WorkerReport { store_away, ..obedient(fleet, "a") };
        fleet.report(&id("a"), &life("1"), report, at(ms)).unwrap();
        settle_writes(fleet, at(ms));
    };
    fleet.join(registration("a", "1"), at(0)).unwrap();
    fleet.join(registration("b", "1"), at(100)).unwrap();
    away(&mut fleet, true, 500);
    fleet.tick(at(1_100));
    settle_writes(&mut fleet, at(1_100));
    assert_eq!((shards(&fleet, "a").len(), shards(&fleet, "b").len()), (0, 4));
    let named = |fleet: &Fleet| {
        fleet.view(at(1_200)).problems.iter().any(|problem| problem.code == ProblemCode::WorkerStoreAway)
    };
    assert!(named(&fleet));
    let leaving = WorkerReport { leaving: true, ..WorkerReport::default() };
    fleet.report(&id("b"), &life("1"), leaving, at(1_200)).unwrap();
    settle_writes(&mut fleet, at(1_200));
    assert_eq!(shards(&fleet, "a").len(), 4, "no other worker can take them");
    away(&mut fleet, false, 1_300);
    assert!(!named(&fleet));
}

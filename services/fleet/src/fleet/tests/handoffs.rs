//! A shard that goes from one live worker to another.

use super::*;

/// `running_fleet`, and a third worker that shard 4 or 5 and others are to go to.
fn with_a_third() -> Fleet {
    let mut fleet = running_fleet();
    fleet.join(registration("c", "1"), at(2000)).unwrap();
    settle_writes(&mut fleet, at(2000));
    fleet
}

/// The first shard that arrives at a worker, and the epoch that it is to be copied of.
fn arriving(fleet: &Fleet, worker: &str) -> (ShardKey, Arriving) {
    let (shard, arriving) = fleet.assignment(&id(worker)).unwrap().arriving.iter().next().unwrap();
    (*shard, arriving.clone())
}

fn runs(fleet: &Fleet, worker: &str, shard: ShardKey) -> bool {
    fleet.assignment(&id(worker)).unwrap().shards.contains_key(&shard)
}

/// A report that says nothing of copies.
fn without_copies(fleet: &Fleet, worker: &str) -> WorkerReport {
    WorkerReport { arrived: Vec::new(), ..obedient(fleet, worker) }
}

#[test]
fn owner_runs_until_the_copy_arrives_and_a_usable_copy_is_named() {
    let mut fleet = with_a_third();
    let (shard, Arriving { epoch, from, url, .. }) = arriving(&fleet, "c");
    assert_eq!((from.clone(), url), (id("a"), "http://a".to_owned()));
    fleet.report(&id("a"), &life("1"), without_copies(&fleet, "a"), at(2100)).unwrap();
    assert!(runs(&fleet, "a", shard), "it is being copied");
    let departing = Departing { epoch, to: id("c"), ticket: None };
    assert_eq!(fleet.assignment(&id("a")).unwrap().departing[&shard], departing);

    report(&mut fleet, "c", at(2200));
    assert!(!runs(&fleet, "a", shard), "it is asked back");
    assert!(!fleet.assignment(&id("a")).unwrap().departing.contains_key(&shard), "no other copy begins");
    assert!(fleet.assignment(&id("c")).unwrap().arriving.contains_key(&shard), "the copy is kept");
    report(&mut fleet, "a", at(2300));
    let assignment = fleet.assignment(&id("c")).unwrap();
    assert!(assignment.shards[&shard] > epoch);
    assert_eq!(assignment.handed_over[&shard], epoch);
    assert!(!assignment.arriving.contains_key(&shard));
}

#[test]
fn missing_copy_does_not_delay_a_move_without_bound() {
    let mut fleet = with_a_third();
    let (shard, _) = arriving(&fleet, "c");
    for ms in (2100..13_000).step_by(500) {
        for worker in ["a", "b", "c"] {
            let silent = without_copies(&fleet, worker);
            fleet.report(&id(worker), &life("1"), silent, at(ms)).unwrap();
        }
        fleet.tick(at(ms));
        settle_writes(&mut fleet, at(ms));
        assert_eq!(runs(&fleet, "a", shard), ms < 12_000, "at {ms}");
    }
    assert!(runs(&fleet, "c", shard), "it moved all the same");
}

#[test]
fn a_target_that_dies_leaves_the_shard_where_it_is() {
    let mut fleet = with_a_third();
    let (shard, _) = arriving(&fleet, "c");
    fleet.on_lease_verdict(&id("c"), &life("1"), RevocationCause::Evidence, LeaseVerdict::Revoked, at(2100));
    settle_writes(&mut fleet, at(2100));
    report(&mut fleet, "a", at(2200));
    assert!(runs(&fleet, "a", shard));
    assert!(fleet.assignment(&id("a")).unwrap().departing.is_empty());
    assert_eq!(shards(&fleet, "a").len(), 6);
}

#[test]
fn move_survives_the_death_of_its_target_after_release() {
    let mut fleet = with_a_third();
    let (shard, Arriving { epoch, .. }) = arriving(&fleet, "c");
    report(&mut fleet, "c", at(2100));
    fleet.on_lease_verdict(&id("c"), &life("1"), RevocationCause::Evidence, LeaseVerdict::Revoked, at(2200));
    report(&mut fleet, "a", at(2300));
    let (owner, now) = fleet.owner(shard).unwrap();
    assert_eq!((owner.clone(), now > epoch), (id("a"), true), "it is back under a higher epoch");
}

#[test]
fn copies_are_void_after_an_owner_died_before_it_was_ready() {
    let mut fleet = with_a_third();
    let (shard, Arriving { epoch, .. }) = arriving(&fleet, "c");
    report(&mut fleet, "c", at(2100));
    report(&mut fleet, "a", at(2200));
    assert_eq!(fleet.assignment(&id("c")).unwrap().handed_over[&shard], epoch);
    // It was told to run the shard, and may have done so: how far it got is unknown.
    fleet.on_lease_verdict(&id("c"), &life("1"), RevocationCause::Evidence, LeaseVerdict::Revoked, at(2300));
    settle_writes(&mut fleet, at(2300));
    let (owner, _) = fleet.owner(shard).unwrap();
    let owner = owner.clone();
    assert!(!fleet.assignment(&owner).unwrap().handed_over.contains_key(&shard));
}

#[test]
fn a_source_that_dies_while_it_is_copied_is_a_failover_like_any_other() {
    let mut fleet = with_a_third();
    let (shard, _) = arriving(&fleet, "c");
    fleet.on_lease_verdict(&id("a"), &life("1"), RevocationCause::Evidence, LeaseVerdict::Revoked, at(2100));
    settle_writes(&mut fleet, at(2100));
    let (owner, _) = fleet.owner(shard).unwrap();
    let owner = owner.clone();
    assert!(!fleet.assignment(&owner).unwrap().handed_over.contains_key(&shard));
    assert!((0..12).all(|shard| fleet.owner(ShardSlot(shard)).is_some()));
}

#[test]
fn an_older_version_is_not_waited_for() {
    let mut fleet = running_fleet();
    fleet.join(with_profile(registration("c", "1"), |profile| profile.needs = None), at(2000)).unwrap();
    settle_writes(&mut fleet, at(2000));
    let (shard, _) = arriving(&fleet, "c");
    fleet.report(&id("c"), &life("1"), without_copies(&fleet, "c"), at(2100)).unwrap();
    assert!(!runs(&fleet, "a", shard), "it makes no copies");
}

#[test]
fn the_last_shard_of_one_that_leaves_is_handed_over_too() {
    let mut fleet = with_a_third();
    let (shard, Arriving { epoch, .. }) = arriving(&fleet, "c");
    report(&mut fleet, "c", at(2100));
    // It is on its way out, and says no more than that.
    let url = fleet.assignment(&id("c")).unwrap().arriving[&shard].url.clone();
    let leaving = WorkerReport { leaving: true, draining: true, ..WorkerReport::default() };
    fleet.report(&id("a"), &life("1"), leaving, at(2200)).unwrap();
    assert_eq!(
        fleet.assignment(&id("c")).unwrap().arriving[&shard].url,
        url,
        "else the copy would be dropped"
    );
    settle_writes(&mut fleet, at(2200));
    assert_eq!(fleet.assignment(&id("c")).unwrap().handed_over[&shard], epoch);
}

#[test]
fn of_those_that_have_to_identify_only_as_many_set_out_as_may_identify() {
    let mut fleet = running_fleet();
    let other = SessionNeeds { intents: 7, ..SessionNeeds::default() };
    fleet
        .join(with_profile(registration("c", "1"), |profile| profile.needs = Some(other)), at(2000))
        .unwrap();
    for round in 0..20 {
        let now = at(2000 + round * 50);
        settle_writes(&mut fleet, now);
        for worker in ["a", "b"] {
            report(&mut fleet, worker, now);
        }
        // The new one has heard of its shard, and says nothing of it yet.
        let silent = WorkerReport { shards: Vec::new(), ..obedient(&fleet, "c") };
        fleet.report(&id("c"), &life("1"), silent, now).unwrap();
        fleet.tick(now);
        assert!(shards(&fleet, "c").len() <= rules().identifies_at_once);
    }
    assert_eq!(shards(&fleet, "c").len(), rules().identifies_at_once);
}

#[test]
fn without_the_store_no_shard_is_asked_back() {
    let mut fleet = with_a_third();
    let (shard, _) = arriving(&fleet, "c");
    fleet.mark_store_away();
    for worker in ["c", "a"] {
        report(&mut fleet, worker, at(2100));
    }
    assert!(runs(&fleet, "a", shard));
}

#[test]
fn previous_owner_answers_until_the_next_is_ready() {
    let mut fleet = with_a_third();
    let (shard, Arriving { epoch, .. }) = arriving(&fleet, "c");
    report(&mut fleet, "c", at(2100));
    report(&mut fleet, "a", at(2200));
    let routes = fleet.view(at(2250)).routes(1);
    let owner = routes.owner(shard).unwrap();
    assert_eq!((owner.worker.clone(), owner.epoch), (id("a"), epoch));
    report(&mut fleet, "c", at(2300));
    assert_eq!(fleet.view(at(2350)).routes(1).owner(shard).unwrap().worker.as_str(), "c");
}

#[test]
fn taken_over_shard_stays_until_ready_or_timeout() {
    let status = |fleet: &Fleet, worker: &str, status| {
        let mut report = obedient(fleet, worker);
        report.shards.iter_mut().for_each(|shard| shard.status = status);
        report
    };
    // Reports of the new owner about its shards, and when one of them may move.
    for (says, moves_at) in [
        (ShardStatus::Resuming, 32_000),
        (ShardStatus::Reconnecting, 32_000),
        (ShardStatus::Identifying, 3_000),
        (ShardStatus::Queued, 3_000),
        (ShardStatus::Ready, 3_000),
    ] {
        let mut fleet = running_fleet();
        fleet.on_lease_verdict(
            &id("a"),
            &life("1"),
            RevocationCause::Evidence,
            LeaseVerdict::Revoked,
            at(2_000),
        );
        settle_writes(&mut fleet, at(2_000));
        fleet.join(registration("c", "1"), at(2_100)).unwrap();
        let mut moved_at = None;
        for ms in (2_200..40_000).step_by(200) {
            let mut report = status(&fleet, "b", says);
            // The others are ready, and stay.
            report.shards.iter_mut().filter(|shard| shard.shard.0 > 0).for_each(|shard| {
                shard.status = ShardStatus::Ready;
            });
            fleet.intent.pins = (1..12).map(|shard| (ShardSlot(shard), id("b"))).collect();
            fleet.report(&id("b"), &life("1"), report, at(ms)).unwrap();
            let silent = WorkerReport { arrived: Vec::new(), ..obedient(&fleet, "c") };
            fleet.report(&id("c"), &life("1"), silent, at(ms)).unwrap();
            fleet.tick(at(ms));
            settle_writes(&mut fleet, at(ms));
            if !fleet.assignment(&id("c")).unwrap().arriving.is_empty() {
                moved_at = Some(ms);
                break;
            }
        }
        let moved_at = moved_at.unwrap_or_else(|| panic!("{says:?}: nothing moves"));
        assert!((moves_at - 1_000..=moves_at + 500).contains(&moved_at), "{says:?}: at {moved_at}");
    }
}

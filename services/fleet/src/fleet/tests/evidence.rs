//! Evidence of death: when it is looked for, and when it counts.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

/// Two workers with six shards each; `a` speaks from `peer` and was found at 10.0.0.7. The store is trusted.
fn fleet_with_peer(peer: IpAddr) -> Fleet {
    let mut fleet = fleet(12);
    let a = Registration { found_at: Some((HOST, 50_052).into()), ..registration("a", "1") };
    fleet.join(a, at(0)).unwrap();
    fleet.stream_opened(&id("a"), &life("1"), Some(peer));
    fleet.join(registration("b", "1"), at(100)).unwrap();
    for ms in (1_100..6_000).step_by(500) {
        fleet.tick(at(ms));
        settle_writes(&mut fleet, at(ms));
        report(&mut fleet, "a", at(ms));
        report(&mut fleet, "b", at(ms));
    }
    fleet
}

fn look(broke_at: u64) -> Effect {
    Effect::Probe {
        worker: id("a"),
        incarnation: life("1"),
        address: (HOST, 50_052).into(),
        broke_at: Duration::from_millis(broke_at),
    }
}

fn probed(fleet: &mut Fleet, broke_at: u64, finding: Finding, ms: u64) -> Vec<Effect> {
    fleet.on_probe(&id("a"), &life("1"), Duration::from_millis(broke_at), finding, at(ms));
    fleet.take_effects()
}

#[test]
fn refused_connection_is_a_death_and_all_shards_are_assigned_at_once() {
    let mut fleet = fleet_with_peer(HOST);
    fleet.stream_ended(&id("a"), &life("1"), at(6_000));
    assert_eq!(fleet.take_effects(), [look(6_000)], "without a tick");
    assert_eq!(
        probed(&mut fleet, 6_000, Finding::Refuses, 6_060),
        [revocation("a", RevocationCause::Evidence)]
    );
    let (_, before) = fleet.owner(ShardSlot(0)).unwrap();
    fleet.on_lease_verdict(&id("a"), &life("1"), RevocationCause::Evidence, LeaseVerdict::Revoked, at(6_061));
    let notes = settle_writes(&mut fleet, at(6_062));
    let since_broken = Some(Duration::from_millis(61));
    let lost = |note: &Note| match note {
        Note::Lost { worker, shards, cause, since_broken: since, .. } => {
            (worker, shards.len(), *cause, *since) == (&id("a"), 6, RevocationCause::Evidence, since_broken)
        }
        _ => false,
    };
    assert!(notes.iter().any(lost), "{notes:?}");
    assert_eq!(shards(&fleet, "b").len(), 12, "all at once, as this is no planned move");
    assert!(fleet.owner(ShardSlot(0)).unwrap().1 > before);
}

#[test]
fn another_worker_at_the_address_is_a_death_too() {
    let mut fleet = fleet_with_peer(HOST);
    fleet.stream_ended(&id("a"), &life("1"), at(6_000));
    fleet.take_effects();
    let effects = probed(&mut fleet, 6_000, Finding::AnotherAnswers, 6_010);
    assert_eq!(effects, [revocation("a", RevocationCause::Evidence)]);
}

#[test]
fn probes_without_evidence_repeat_with_growing_pauses_and_end() {
    let mut fleet = fleet_with_peer(HOST);
    let mut looks = Vec::new();
    fleet.stream_ended(&id("a"), &life("1"), at(6_000));
    for ms in (6_000..10_900).step_by(100) {
        if fleet.take_effects().contains(&look(6_000)) {
            looks.push(ms);
            let finding = if looks.len() % 2 == 0 { Finding::Answers } else { Finding::Unclear };
            assert_eq!(probed(&mut fleet, 6_000, finding, ms), []);
        }
        fleet.tick(at(ms + 100));
    }
    assert_eq!(looks, [6_000, 6_200, 6_600, 7_400, 9_000]);
    assert!(!asks_about_a_lease(&mut fleet), "from here on the lease decides");
}

#[test]
fn through_a_proxy_a_refusal_proves_nothing() {
    for peer in [Some(IpAddr::from([10, 0, 0, 8])), None] {
        let mut fleet = fleet_with_peer(HOST);
        fleet.stream_opened(&id("a"), &life("1"), peer);
        fleet.stream_ended(&id("a"), &life("1"), at(6_000));
        fleet.tick(at(6_100));
        assert!(
            !fleet.take_effects().iter().any(|effect| matches!(effect, Effect::Probe { .. })),
            "{peer:?}"
        );
    }
}

#[test]
fn one_address_may_be_written_in_two_ways() {
    let mut fleet = fleet_with_peer("::ffff:10.0.0.7".parse().unwrap());
    fleet.stream_ended(&id("a"), &life("1"), at(6_000));
    assert_eq!(fleet.take_effects(), [look(6_000)]);
}

#[test]
fn a_worker_that_was_heard_meanwhile_is_not_touched() {
    let mut fleet = fleet_with_peer(HOST);
    fleet.stream_ended(&id("a"), &life("1"), at(6_000));
    fleet.take_effects();
    let running = fleet.assignment(&id("a")).unwrap().shards.clone();
    fleet.join(Registration { running: claimed(running, 12), ..registration("a", "1") }, at(6_040)).unwrap();
    settle_writes(&mut fleet, at(6_040));
    assert_eq!(probed(&mut fleet, 6_000, Finding::Refuses, 6_060), []);
    // Nor does an old look say anything of a newer break.
    fleet.stream_ended(&id("a"), &life("1"), at(6_050));
    fleet.take_effects();
    assert_eq!(probed(&mut fleet, 6_000, Finding::Refuses, 6_060), []);
}

#[test]
fn revocation_in_flight_wins_over_a_returning_worker() {
    let mut fleet = fleet_with_peer(HOST);
    fleet.stream_ended(&id("a"), &life("1"), at(6_000));
    probed(&mut fleet, 6_000, Finding::Refuses, 6_060);
    let running = fleet.assignment(&id("a")).unwrap().shards.clone();
    fleet.join(Registration { running: claimed(running, 12), ..registration("a", "1") }, at(6_061)).unwrap();
    settle_writes(&mut fleet, at(6_061));
    assert_eq!(shards(&fleet, "b").len(), 6, "its shards are its own until the store has spoken");
    fleet.on_lease_verdict(&id("a"), &life("1"), RevocationCause::Evidence, LeaseVerdict::Revoked, at(6_062));
    settle_writes(&mut fleet, at(6_062));
    assert_eq!(shards(&fleet, "b").len(), 12);
    assert!(fleet.report(&id("a"), &life("1"), WorkerReport::default(), at(6_063)).is_err());
    // It comes back as another, with nothing.
    fleet.join(registration("a", "2"), at(6_064)).unwrap();
    settle_writes(&mut fleet, at(6_064));
    assert_eq!(shards(&fleet, "a"), [] as [u32; 0]);
}

#[test]
fn without_a_store_that_is_trusted_nothing_is_looked_for() {
    let mut fleet = fleet_with_peer(HOST);
    fleet.mark_store_away();
    fleet.stream_ended(&id("a"), &life("1"), at(6_000));
    fleet.tick(at(6_100));
    assert_eq!(fleet.take_effects(), []);
    fleet.mark_store_up(true, at(6_200));
    fleet.take_effects();
    fleet.tick(at(6_300));
    assert_eq!(fleet.take_effects(), [], "not within the TTL after it was away");
}

#[test]
fn evidence_is_seen_and_needs_no_grace() {
    let mut fleet = fleet_with_peer(HOST);
    // After a stall of the coordinator no worker counts as silent for a while.
    fleet.tick(at(60_000));
    fleet.take_effects();
    fleet.stream_ended(&id("a"), &life("1"), at(60_000));
    assert_eq!(fleet.take_effects(), [look(60_000)]);
    probed(&mut fleet, 60_000, Finding::Refuses, 60_060);
    fleet.on_lease_verdict(
        &id("a"),
        &life("1"),
        RevocationCause::Evidence,
        LeaseVerdict::Revoked,
        at(60_061),
    );
    settle_writes(&mut fleet, at(60_062));
    assert_eq!(shards(&fleet, "b").len(), 12);
}

#[test]
fn undecided_store_is_asked_again_while_the_address_refuses() {
    let mut fleet = fleet_with_peer(HOST);
    fleet.stream_ended(&id("a"), &life("1"), at(6_000));
    probed(&mut fleet, 6_000, Finding::Refuses, 6_060);
    fleet.on_lease_verdict(&id("a"), &life("1"), RevocationCause::Evidence, LeaseVerdict::Unknown, at(6_061));
    fleet.tick(at(6_100));
    assert_eq!(fleet.take_effects(), []);
    fleet.tick(at(6_600));
    assert_eq!(fleet.take_effects(), [look(6_000)]);
}

#[test]
fn revocations_are_repeated_to_a_restarted_store() {
    let mut fleet = fleet_with_peer(HOST);
    fleet.on_lease_verdict(&id("a"), &life("1"), RevocationCause::Evidence, LeaseVerdict::Revoked, at(6_000));
    settle_writes(&mut fleet, at(6_000));
    fleet.mark_store_up(false, at(7_000));
    assert!(fleet.take_effects().contains(&revocation("a", RevocationCause::Evidence)));
    // By then the lease has lapsed, even in a store that lost the revocation.
    fleet.tick(at(12_000));
    fleet.take_effects();
    fleet.mark_store_up(false, at(12_000));
    assert!(!fleet.take_effects().contains(&revocation("a", RevocationCause::Evidence)));
}

/// Two workers with six shards each, whose addresses tell nothing. The store is trusted.
fn supervised_fleet() -> Fleet {
    let mut fleet = fleet_with_peer(HOST);
    fleet.stream_opened(&id("a"), &life("1"), None);
    fleet
}

#[test]
fn an_exit_that_was_seen_needs_no_broken_stream_and_no_look() {
    for named in [Some(life("1")), None] {
        let mut fleet = supervised_fleet();
        assert_eq!(fleet.accept_exit(&id("a"), named.as_ref(), at(6_000)), Ok(life("1")));
        assert_eq!(fleet.take_effects(), [revocation("a", RevocationCause::Evidence)]);
        assert_eq!(shards(&fleet, "b").len(), 6, "the store has not spoken");
        fleet.on_lease_verdict(
            &id("a"),
            &life("1"),
            RevocationCause::Evidence,
            LeaseVerdict::Revoked,
            at(6_001),
        );
        settle_writes(&mut fleet, at(6_001));
        assert_eq!(shards(&fleet, "b").len(), 12);
        // A worker that lives all the same is not listened to any more, and comes back as another.
        assert!(fleet.report(&id("a"), &life("1"), WorkerReport::default(), at(6_002)).is_err());
        fleet.join(registration("a", "2"), at(6_003)).unwrap();
    }
}

#[test]
fn an_exit_of_somebody_else_is_none_of_ours() {
    let mut fleet = supervised_fleet();
    let unknown = fleet.accept_exit(&id("c"), None, at(6_000));
    assert_eq!(unknown, Err(ExitRefused::Unknown { worker: id("c") }));
    let older = fleet.accept_exit(&id("a"), Some(&life("0")), at(6_000));
    assert_eq!(older, Err(ExitRefused::OtherIncarnation { worker: id("a"), known: life("1") }));
    assert_eq!(fleet.take_effects(), []);
}

#[test]
fn lease_decides_about_an_exit_while_the_store_is_not_trusted() {
    let mut fleet = supervised_fleet();
    let untrusted = Err(ExitRefused::StoreUntrusted { worker: id("a") });
    fleet.mark_store_away();
    assert_eq!(fleet.accept_exit(&id("a"), None, at(6_000)), untrusted);
    fleet.mark_store_up(true, at(6_100));
    fleet.take_effects();
    assert_eq!(
        fleet.accept_exit(&id("a"), None, at(11_099)),
        untrusted,
        "not within the TTL after it was away"
    );
    assert_eq!(fleet.take_effects(), []);
    assert_eq!(fleet.accept_exit(&id("a"), None, at(11_100)), Ok(life("1")));
}

#[test]
fn an_exit_is_seen_and_needs_no_grace() {
    // A coordinator that has just started, and has heard no worker yet.
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered(), at(0));
    fleet
        .join(Registration { running: claimed(BTreeMap::new(), 12), ..registration("b", "1") }, at(0))
        .unwrap();
    fleet.take_effects();
    assert_eq!(fleet.accept_exit(&id("a"), None, at(5_000)), Ok(life("1")));
    assert!(fleet.take_effects().contains(&revocation("a", RevocationCause::Evidence)));
}

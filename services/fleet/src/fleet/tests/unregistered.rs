//! Leases of workers that were never heard here.

use super::*;

fn lease(worker: &str) -> (WorkerId, Incarnation) {
    (id(worker), life("1"))
}

fn is_asked(fleet: &mut Fleet) -> bool {
    fleet.take_effects().contains(&Effect::FindLeases)
}

/// A fleet over a store that was wiped, past its grace: `a` came with shards 0 and 1 of 4.
fn wiped_fleet() -> Fleet {
    let mut fleet = fleet(4);
    let running = (0..2).map(|shard| (ShardKey::new(shard, 4), Epoch(10))).collect();
    fleet.join(Registration { running: claimed(running, 4), ..registration("a", "1") }, at(100)).unwrap();
    for ms in (100..6_100).step_by(100) {
        fleet.tick(at(ms));
        assert!(!is_asked(&mut fleet), "in the grace, at {ms}");
        report(&mut fleet, "a", at(ms));
    }
    fleet.tick(at(6_100));
    fleet
}

#[test]
fn shards_that_an_unregistered_worker_may_run_are_not_assigned() {
    let mut fleet = wiped_fleet();
    assert!(is_asked(&mut fleet));
    fleet.on_leases_found(Some(vec![lease("a"), lease("b")]), at(7_110));
    assert_eq!(fleet.take_effects(), []);
    let named =
        "workers that hold a lease have not registered here and may run shards without a known owner: b";
    assert!(problems(&fleet.view(at(7_200))).contains(&named.to_owned()));
    fleet.tick(at(7_600));
    assert_eq!(fleet.take_effects(), [], "it is not asked all the time");
    fleet.tick(at(7_700));
    assert!(is_asked(&mut fleet));
    fleet.on_leases_found(Some(vec![lease("a")]), at(7_710));
    settle_writes(&mut fleet, at(7_720));
    assert_eq!(shards(&fleet, "a"), [0, 1, 2, 3]);
}

#[test]
fn unregistered_worker_that_registers_keeps_its_shards() {
    let mut fleet = wiped_fleet();
    assert!(is_asked(&mut fleet));
    fleet.on_leases_found(Some(vec![lease("a"), lease("b")]), at(7_110));
    let running = (2..4).map(|shard| (ShardKey::new(shard, 4), Epoch(10))).collect();
    fleet.join(Registration { running: claimed(running, 4), ..registration("b", "1") }, at(7_200)).unwrap();
    settle_writes(&mut fleet, at(7_200));
    assert_eq!((shards(&fleet, "a"), shards(&fleet, "b")), (vec![0, 1], vec![2, 3]));
}

#[test]
fn known_shards_do_not_wait_for_unregistered_workers() {
    let mut fleet = running_fleet();
    fleet.on_lease_verdict(&id("a"), &life("1"), RevocationCause::Silence, LeaseVerdict::Revoked, at(2_000));
    let effects = fleet.take_effects();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Write(owners) if owners.len() == 6)));
}

#[test]
fn worker_known_only_from_the_store_is_unregistered() {
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered(), at(0));
    fleet.join(registration("c", "1"), at(100)).unwrap();
    let mut asked = false;
    for ms in (100..8_000).step_by(100) {
        let obeys = obedient(&fleet, "c");
        fleet.report(&id("c"), &life("1"), obeys, at(ms)).unwrap();
        fleet.tick(at(ms));
        for effect in fleet.take_effects() {
            match effect {
                // `a` is gone; `b` renews through the store and does not reach this coordinator.
                Effect::Revoke { worker, incarnation, cause } if worker == id("a") => {
                    fleet.on_lease_verdict(&worker, &incarnation, cause, LeaseVerdict::Revoked, at(ms));
                }
                Effect::Revoke { worker, incarnation, cause } => {
                    fleet.on_lease_verdict(&worker, &incarnation, cause, LeaseVerdict::Live(TTL), at(ms));
                }
                Effect::FindLeases => {
                    asked = true;
                    fleet.on_leases_found(Some(vec![lease("b"), lease("c")]), at(ms));
                }
                _ => {}
            }
        }
    }
    assert!(asked);
    assert_eq!(shards(&fleet, "c"), [] as [u32; 0], "a write of a shard of `b`'s may be lost");
}

#[test]
fn recovered_owner_without_its_shards_gets_them_once_no_other_worker_can_have_them() {
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered(), at(0));
    // Its window has closed: it claims nothing.
    fleet.join(registration("a", "1"), at(100)).unwrap();
    let running = (6..12).map(|shard| (ShardKey::new(shard, 12), Epoch(10))).collect();
    fleet.join(Registration { running: claimed(running, 12), ..registration("b", "1") }, at(200)).unwrap();
    assert_eq!((shards(&fleet, "a").len(), shards(&fleet, "b").len()), (0, 6));
    for ms in (200..6_000).step_by(100) {
        fleet.tick(at(ms));
        assert!(!is_asked(&mut fleet), "in the grace, at {ms}");
    }
    fleet.tick(at(6_000));
    assert!(is_asked(&mut fleet));
    fleet.on_leases_found(Some(vec![lease("a"), lease("b"), lease("c")]), at(6_010));
    assert_eq!(shards(&fleet, "a").len(), 0, "c may run them under a higher epoch");
    fleet.on_leases_found(Some(vec![lease("a"), lease("b")]), at(6_600));
    assert_eq!(shards(&fleet, "a"), (0..6).collect::<Vec<_>>());
    assert_eq!(fleet.owner(ShardSlot(0)), Some((&id("a"), Epoch(10))), "as it was written");
}

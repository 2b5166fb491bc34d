//! Which key workers are told to sign the heads of checkpoints with.

use fleet_model::HeadKeyId;

use super::*;

const OLD: HeadKeyId = HeadKeyId([1; 4]);
const NEW: HeadKeyId = HeadKeyId([2; 4]);

fn holds(worker: &str, incarnation: &str, keys: &[HeadKeyId]) -> Registration {
    with_profile(registration(worker, incarnation), |profile| profile.head_keys = keys.to_vec())
}

fn signing(fleet: &Fleet, worker: &str) -> HeadSigning {
    fleet.assignment(&id(worker)).unwrap().head_signing
}

fn by(by: HeadKeyId, required: bool) -> HeadSigning {
    HeadSigning { by: Some(by), required }
}

/// Two workers with these keys, which run everything.
fn new_fleet(a: &[HeadKeyId], b: &[HeadKeyId]) -> Fleet {
    let mut fleet = fleet(4);
    fleet.join(holds("a", "1", a), at(0)).unwrap();
    fleet.join(holds("b", "1", b), at(100)).unwrap();
    fleet.tick(at(1_100));
    settle_writes(&mut fleet, at(1_100));
    fleet
}

fn written(fleet: &mut Fleet) -> Vec<HeadSigning> {
    let effects = fleet.take_effects().into_iter();
    effects
        .filter_map(|effect| if let Effect::WriteHeadSigning(s) = effect { Some(s) } else { None })
        .collect()
}

#[test]
fn newest_key_that_all_hold_signs() {
    for (a, b, expected) in [
        (&[][..], &[][..], None),
        (&[OLD][..], &[], None),
        (&[OLD], &[OLD], Some(OLD)),
        (&[NEW, OLD], &[OLD], Some(OLD)),
        (&[NEW, OLD], &[NEW, OLD], Some(NEW)),
        (&[NEW], &[NEW, OLD], Some(NEW)),
        (&[NEW], &[OLD], None),
    ] {
        let fleet = new_fleet(a, b);
        assert_eq!(signing(&fleet, "a"), HeadSigning { by: expected, required: false }, "{a:?} {b:?}");
        assert_eq!(signing(&fleet, "b"), signing(&fleet, "a"));
    }
}

#[test]
fn unsigned_heads_are_refused_for_good_once_each_shard_has_started_under_a_key() {
    let mut fleet = new_fleet(&[OLD], &[OLD]);
    fleet.tick(at(9_000));
    assert!(!signing(&fleet, "a").required, "shards are still starting from unsigned heads");
    report(&mut fleet, "a", at(9_100));
    report(&mut fleet, "b", at(9_100));
    fleet.tick(at(9_200));
    assert!(!signing(&fleet, "a").required, "the owners have not signed yet");
    let quiet = 9_200 + TTL.as_millis() as u64;
    report(&mut fleet, "a", at(quiet - 500));
    report(&mut fleet, "b", at(quiet - 500));
    fleet.tick(at(quiet));
    assert_eq!(signing(&fleet, "a"), by(OLD, true));
    assert_eq!(written(&mut fleet), [by(OLD, true)]);
    // A worker without a key changes neither.
    fleet.join(holds("c", "1", &[]), at(quiet + 100)).unwrap();
    assert_eq!(signing(&fleet, "c"), by(OLD, true));
    assert!(problems(&fleet.view(at(quiet + 100))).iter().any(|p| p.contains("checkpoints: c;")));
    // A store that lost it is told again.
    fleet.mark_store_up(false, at(quiet + 200));
    assert_eq!(written(&mut fleet), [by(OLD, true)]);
}

#[test]
fn worker_without_a_key_keeps_unsigned_heads_accepted() {
    let mut fleet = new_fleet(&[OLD], &[]);
    for ms in [2_000, 3_000, 20_000] {
        report(&mut fleet, "a", at(ms));
        report(&mut fleet, "b", at(ms));
        fleet.tick(at(ms));
    }
    assert_eq!(signing(&fleet, "a"), HeadSigning::default());
}

#[test]
fn decision_of_the_previous_coordinator_stays_while_a_worker_is_unheard() {
    let restarted = |head_signing| {
        let recovered = Recovered { head_signing, ..recovered() };
        Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered, at(0))
    };
    let running = |worker: &str, keys: &[HeadKeyId]| {
        let first = if worker == "a" { 0 } else { 6 };
        let running = (first..first + 6).map(|shard| (ShardKey::new(shard, 12), Epoch(10))).collect();
        Registration { running: claimed(running, 12), ..holds(worker, "1", keys) }
    };
    let mut fleet = restarted(by(OLD, true));
    assert_eq!(fleet.join(running("a", &[NEW, OLD]), at(100)).unwrap().head_signing, by(OLD, true));
    assert_eq!(fleet.join(running("b", &[NEW, OLD]), at(200)).unwrap().head_signing, by(NEW, true));
    // The unheard worker may have no key.
    let mut fleet = restarted(HeadSigning::default());
    assert_eq!(fleet.join(running("a", &[OLD]), at(100)).unwrap().head_signing.by, None);
    assert_eq!(fleet.join(running("b", &[OLD]), at(200)).unwrap().head_signing.by, Some(OLD));
}

#[test]
fn record_that_was_reset_is_set_again_by_a_worker_that_was_told_before() {
    // Another program has removed the record, before a new coordinator read it.
    let restarted = || {
        let recovered = Recovered { head_signing: HeadSigning::default(), ..recovered() };
        Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered, at(0))
    };
    let told = |worker: &str, keys: &[HeadKeyId]| {
        let registration = holds(worker, "1", keys);
        let running = (0..6).map(|shard| (ShardKey::new(shard, 12), Epoch(10))).collect();
        let registration = with_profile(registration, |profile| profile.refuses_unsigned_heads = true);
        Registration { running: claimed(running, 12), ..registration }
    };
    let mut fleet = restarted();
    assert_eq!(fleet.join(told("a", &[NEW, OLD]), at(100)).unwrap().head_signing, by(NEW, true));
    assert_eq!(written(&mut fleet), [by(NEW, true)]);
    // It stays so for a worker that has just started.
    assert_eq!(fleet.join(holds("c", "1", &[OLD]), at(200)).unwrap().head_signing, by(OLD, true));

    // A worker that shares no key with the others is not believed; one without keys checks nothing.
    let mut fleet = restarted();
    assert!(!fleet.join(holds("c", "1", &[OLD]), at(100)).unwrap().head_signing.required);
    assert!(!fleet.join(told("a", &[NEW]), at(200)).unwrap().head_signing.required);
    let mut fleet = restarted();
    fleet.join(holds("c", "1", &[]), at(100)).unwrap();
    assert!(!fleet.join(told("a", &[]), at(200)).unwrap().head_signing.required);
    let told = with_profile(holds("d", "1", &[OLD]), |profile| profile.refuses_unsigned_heads = true);
    assert!(fleet.join(told, at(300)).unwrap().head_signing.required);
}

#[test]
fn refused_heads_are_a_problem() {
    let mut fleet = new_fleet(&[OLD], &[OLD]);
    let figures = Some(fleet_model::WorkerFigures { refused_heads: 3, ..Default::default() });
    let report = WorkerReport { figures, ..obedient(&fleet, "a") };
    fleet.report(&id("a"), &life("1"), report, at(1_200)).unwrap();
    let shown = problems(&fleet.view(at(1_200)));
    assert!(shown.iter().any(|p| p.contains("worker a refused 3 checkpoints")), "{shown:?}");
}

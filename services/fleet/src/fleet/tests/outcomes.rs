//! How shards came to be connected: told once each.

use fleet_model::{Gap, StartKind};

use super::*;

fn outcome(kind: StartKind, at_unix_ms: u64) -> StartOutcome {
    let gap = (kind == StartKind::Reidentified).then(|| Gap {
        since_unix_ms: 1,
        until_unix_ms: 2,
        last_sequence: 7,
        reason: "the session was over".to_owned(),
    });
    StartOutcome { kind, took: Duration::from_millis(300), replayed: 2, at_unix_ms, gap }
}

/// `a` reports this outcome for shard 0, and none for the others.
fn tell(fleet: &mut Fleet, outcome: &StartOutcome, ms: u64) -> Vec<StartOutcome> {
    let mut report = obedient(fleet, "a");
    report.shards[0].outcome = Some(outcome.clone());
    fleet.report(&id("a"), &life("1"), report, at(ms)).unwrap();
    let started = settle_writes(fleet, at(ms)).into_iter().filter_map(|note| match note {
        Note::Started { shard, worker, outcome, .. } if shard.slot() == ShardSlot(0) && worker == id("a") => {
            Some(outcome)
        }
        _ => None,
    });
    started.collect()
}

#[test]
fn each_outcome_is_reported_once() {
    let mut fleet = running_fleet();
    let first = outcome(StartKind::Identified, 10);
    assert_eq!(tell(&mut fleet, &first, 1_300), std::slice::from_ref(&first));
    assert_eq!(tell(&mut fleet, &first, 1_400), []);
    let second = outcome(StartKind::Reidentified, 20);
    assert_eq!(tell(&mut fleet, &second, 1_500), [second]);
}

#[test]
fn shards_that_ran_before_this_coordinator_are_not_new() {
    let mut fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(12), recovered(), at(0));
    let running = (0..6).map(|shard| (ShardKey::new(shard, 12), Epoch(10))).collect();
    fleet.join(Registration { running: claimed(running, 12), ..registration("a", "1") }, at(100)).unwrap();
    assert_eq!(tell(&mut fleet, &outcome(StartKind::Reidentified, 10), 200), []);
    let news = outcome(StartKind::Resumed, 20);
    assert_eq!(tell(&mut fleet, &news, 300), [news]);
}

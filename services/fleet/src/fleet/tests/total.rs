//! Which shard total a fleet has when it starts again.

use super::*;

/// A recommendation of 16 shards for a fleet that was written down with 12, has stopped, and last ran at `last_ran_ms`.
fn stopped_fleet(wanted: WantedTotal, last_ran_ms: u64, now_ms: u64) -> Fleet {
    let recovered =
        Recovered { workers: Vec::new(), last_ran_unix_ms: Some(at(last_ran_ms).unix_ms), ..recovered() };
    let mut fleet = Fleet::new(rules(), Term(2), wanted, recovered, at(now_ms));
    fleet.join(registration("c", "1"), at(now_ms)).unwrap();
    for ms in (now_ms..now_ms + 10_000).step_by(250) {
        fleet.tick(at(ms));
        settle_writes(&mut fleet, at(ms));
        report(&mut fleet, "c", at(ms));
    }
    fleet
}

const ADVICE: WantedTotal = WantedTotal { total: 16, explicit: false };

#[test]
fn a_fleet_that_can_be_resumed_keeps_its_total() {
    let fleet = stopped_fleet(ADVICE, 0, 590_000);
    assert_eq!(shards(&fleet, "c").len(), 12);
    assert!(
        fleet.view(at(600_000)).problems[0]
            .message
            .ends_with("when all workers have been stopped for 10 minutes")
    );
}

#[test]
fn fleet_that_stopped_long_ago_uses_the_recommended_total() {
    let fleet = stopped_fleet(ADVICE, 0, 600_000);
    assert_eq!(shards(&fleet, "c").len(), 16);
}

#[test]
fn explicit_total_wins_once_no_shard_runs() {
    let fleet = stopped_fleet(WantedTotal::explicit(16), 0, 1_000);
    assert_eq!(shards(&fleet, "c").len(), 16);
}

#[test]
fn a_fleet_that_stops_under_its_coordinator_keeps_its_total_for_ten_minutes() {
    let mut fleet = stopped_fleet(ADVICE, 0, 1_000);
    let leaving = WorkerReport { leaving: true, ..WorkerReport::default() };
    fleet.report(&id("c"), &life("1"), leaving, at(12_000)).unwrap();
    for ms in (12_000..620_000).step_by(1_000) {
        fleet.tick(at(ms));
        settle_writes(&mut fleet, at(ms));
        let total = if ms < 611_000 { Some(12) } else { None };
        if !(611_000..613_000).contains(&ms) {
            assert_eq!(fleet.shard_total(), total, "at {ms}");
        }
    }
}

#[test]
fn total_that_runs_wins_over_the_stored_one() {
    let recovered = Recovered { workers: Vec::new(), last_ran_unix_ms: Some(at(0).unix_ms), ..recovered() };
    let mut fleet = Fleet::new(rules(), Term(2), ADVICE, recovered, at(100));
    let running = (0..4).map(|shard| (ShardKey::new(shard, 4), Epoch(10))).collect();
    let back = Registration { running: claimed(running, 4), ..registration("a", "1") };
    assert_eq!(fleet.join(back, at(200)).unwrap().shards.len(), 4);
    assert_eq!(fleet.shard_total(), Some(4));
}

#[test]
fn shards_of_dead_workers_do_not_count_as_running() {
    // Their leases have lapsed; the fleet has not noticed yet.
    let recovered = Recovered { last_ran_unix_ms: Some(at(0).unix_ms), ..recovered() };
    let mut fleet = Fleet::new(rules(), Term(2), ADVICE, recovered, at(700_000));
    fleet.tick(at(700_100));
    assert!(!fleet.total.can_be_resumed(at(700_100)));
}

#[test]
fn running_total_is_stored_at_intervals_and_at_the_end() {
    let mut fleet = running_fleet();
    let written = |fleet: &mut Fleet| -> Vec<u64> {
        let written = fleet.take_effects().into_iter().filter_map(|effect| match effect {
            Effect::WriteLastRan(at) => Some(at),
            _ => None,
        });
        written.collect()
    };
    fleet.tick(at(1_300));
    assert_eq!(written(&mut fleet), [at(1_300).unix_ms]);
    fleet.tick(at(31_200));
    assert_eq!(written(&mut fleet), [0_u64; 0]);
    fleet.tick(at(31_300));
    assert_eq!(written(&mut fleet), [at(31_300).unix_ms]);
    fleet.tick(at(32_000));
    for worker in ["a", "b"] {
        let leaving = WorkerReport { leaving: true, ..WorkerReport::default() };
        fleet.report(&id(worker), &life("1"), leaving, at(32_500)).unwrap();
    }
    fleet.tick(at(32_600));
    assert_eq!(written(&mut fleet), [at(32_000).unix_ms], "when it was last seen to run");
}

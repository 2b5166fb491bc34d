mod breaking;
mod claims;
mod evidence;
mod formats;
mod handoffs;
mod head_signing;
mod model;
mod outcomes;
mod plans;
mod scripted;
mod total;
mod unregistered;
mod world;

use std::time::Duration;

use fleet_model::{
    ClaimedShards, Generation, HeadSigning, ProblemCode, SessionNeeds, ShardReport, ShardStatus,
    StartOutcome, Term, WorkerProfile, WorkerReport,
};

use super::{breaker::DeathBreaker, slot::ShardOwner, store_state::StoreTrust, total::LastRan, *};

/// A lease lives five seconds, as by default.
const TTL: Duration = Duration::from_secs(5);

fn rules() -> FleetRules {
    FleetRules {
        lease_ttl: TTL,
        settle: Duration::from_secs(1),
        moves_at_once: 2,
        identifies_at_once: 1,
        decided_per_ms: 1_000,
    }
}

fn at(ms: u64) -> Now {
    Now { mono: Duration::from_millis(ms), unix_ms: 1_700_000_000_000 + ms }
}

fn id(name: &str) -> WorkerId {
    name.parse().unwrap()
}

/// The problems of a view as text.
fn problems(view: &FleetView) -> Vec<String> {
    let shown = fleet_model::ProblemClock::default().observe(view.problems.clone(), 0);
    shown.iter().map(ToString::to_string).collect()
}

fn life(name: &str) -> Incarnation {
    name.parse().unwrap()
}

fn registration(worker: &str, incarnation: &str) -> Registration {
    Registration {
        worker: id(worker),
        incarnation: life(incarnation),
        profile: WorkerProfile {
            url: format!("http://{worker}"),
            generation: Some(Generation::default()),
            needs: Some(SessionNeeds::default()),
            ..WorkerProfile::default()
        },
        running: ClaimedShards::default(),
        draining: false,
        found_at: None,
        granted: true,
    }
}

fn with_profile(mut registration: Registration, change: impl FnOnce(&mut WorkerProfile)) -> Registration {
    change(&mut registration.profile);
    registration
}

fn claimed(shards: BTreeMap<ShardKey, Epoch>, total: u32) -> ClaimedShards {
    ClaimedShards { shards, total }
}

fn fleet(total: u32) -> Fleet {
    Fleet::new(rules(), Term(1), WantedTotal::explicit(total), Recovered::default(), at(0))
}

/// Carries out every write and sends nothing: the store is up.
fn settle_writes(fleet: &mut Fleet, now: Now) -> Vec<Note> {
    let mut notes = Vec::new();
    loop {
        let effects = fleet.take_effects();
        if effects.is_empty() {
            return notes;
        }
        for effect in effects {
            match effect {
                Effect::Write(owners) => fleet.on_written(owners.iter().map(|owner| (owner, Ok(()))), now),
                Effect::FindLeases => fleet.on_leases_found(Some(Vec::new()), now),
                Effect::Note(note) => notes.push(note),
                _ => {}
            }
        }
    }
}

/// The owners that a fleet wants to have written first; no worker is unregistered.
fn first_write(fleet: &mut Fleet, now: Now) -> Vec<Ownership> {
    loop {
        let effects = fleet.take_effects();
        assert!(!effects.is_empty(), "nothing is to be written");
        for effect in effects {
            match effect {
                Effect::FindLeases => fleet.on_leases_found(Some(Vec::new()), now),
                Effect::Write(owners) => return owners,
                _ => {}
            }
        }
    }
}

fn shards(fleet: &Fleet, worker: &str) -> Vec<u32> {
    fleet.assignment(&id(worker)).unwrap().shards.keys().map(|shard| shard.slot().0).collect()
}

/// A report of a worker that obeys its assignment, and has everything ready and copied.
fn obedient(fleet: &Fleet, worker: &str) -> WorkerReport {
    let assignment = fleet.assignment(&id(worker)).unwrap();
    let ready = |(shard, epoch): (&ShardKey, &Epoch)| ShardReport::bare(*shard, *epoch, ShardStatus::Ready);
    WorkerReport {
        assignment_revision: assignment.revision,
        shards: assignment.shards.iter().map(ready).collect(),
        arrived: assignment.arriving.iter().map(|(shard, arriving)| (shard.slot(), arriving.epoch)).collect(),
        ..WorkerReport::default()
    }
}

fn report(fleet: &mut Fleet, worker: &str, now: Now) {
    let report = obedient(fleet, worker);
    fleet.report(&id(worker), &life("1"), report, now).unwrap();
    settle_writes(fleet, now);
}

/// Two workers with six shards each, everything ready.
fn running_fleet() -> Fleet {
    let mut fleet = fleet(12);
    fleet.join(registration("a", "1"), at(0)).unwrap();
    fleet.join(registration("b", "1"), at(100)).unwrap();
    fleet.tick(at(1100));
    settle_writes(&mut fleet, at(1100));
    report(&mut fleet, "a", at(1200));
    report(&mut fleet, "b", at(1200));
    fleet
}

/// Whether the store is to be asked about a lease.
fn asks_about_a_lease(fleet: &mut Fleet) -> bool {
    fleet.take_effects().iter().any(|effect| matches!(effect, Effect::Revoke { .. }))
}

/// What a coordinator before this one would have written down of [`running_fleet`].
fn recovered() -> Recovered {
    let worker = |name: &str| RecoveredWorker {
        worker: id(name),
        incarnation: life("1"),
        url: format!("http://{name}"),
    };
    let owner = |shard: u32| RecoveredOwner {
        shard: ShardKey::new(shard, 12),
        worker: id(if shard < 6 { "a" } else { "b" }),
        incarnation: life("1"),
        epoch: Epoch(10),
    };
    Recovered {
        shard_total: Some(12),
        workers: vec![worker("a"), worker("b")],
        owners: (0..12).map(owner).collect(),
        last_ran_unix_ms: None,
        head_signing: HeadSigning::default(),
        intent: Intent::default(),
        named_generation: None,
        had_predecessor: true,
        is_whole: false,
    }
}

/// What a fleet wants when it holds a worker's first life to be over.
fn revocation(worker: &str, cause: RevocationCause) -> Effect {
    Effect::Revoke { worker: id(worker), incarnation: life("1"), cause }
}

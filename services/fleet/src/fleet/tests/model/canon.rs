//! Makes the model finite: states that differ only in a past that no rule looks at become equal.
//!
//! Time is relative: a beat moves every moment a second into the past, and a moment that is older than any rule looks back
//! stays where it is. Epochs keep only their order, revisions their distance. So a settled fleet is in one state for any
//! history, and the checker continues from there to any depth.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use super::{
    super::*,
    SHARDS, TTL_BEATS,
    coordinator::{Call, Coordinator, name, number},
    worker::Parcel,
    world::{NOW, World},
};

const BEAT: Duration = Duration::from_secs(1);

/// Moves a moment a beat into the past, but not before `oldest`.
fn age(moment: &mut Duration, oldest: Duration) {
    *moment = moment.saturating_sub(BEAT).max(oldest);
}

fn ago(seconds: u64) -> Duration {
    NOW.saturating_sub(Duration::from_secs(seconds))
}

fn age_fleet(fleet: &mut Fleet) {
    // These are only compared with now: all past moments are equal.
    for moment in
        [&mut fleet.term.settle_until, &mut fleet.term.grace_until, &mut fleet.term.unregistered_until]
    {
        age(moment, NOW);
    }
    age(&mut fleet.store.unregistered.ask_at, NOW);
    for (_, _, at) in &mut fleet.store.revoked_lately {
        age(at, NOW.saturating_sub(2 * TTL));
    }
    age(&mut fleet.pace.decided_at, NOW.saturating_sub(BEAT));
    age(&mut fleet.term.last_tick, NOW.saturating_sub(TTL));
    if let StoreTrust::Since(since) = &mut fleet.store.trust {
        age(since, NOW.saturating_sub(TTL));
    }
    for worker in fleet.workers.values_mut() {
        age(&mut worker.liveness.last_heard, NOW.saturating_sub(TTL));
        worker.calm_until = worker.calm_until.max(NOW + BEAT).saturating_sub(BEAT);
        if let Some(check) = &mut worker.liveness.lease_check {
            age(check, NOW);
        }
        if let Some(broken) = &mut worker.liveness.broken {
            age(&mut broken.at, ago(10));
            if let Some(next) = &mut broken.next {
                age(next, NOW);
            }
        }
    }
    if let Some(since) = &mut fleet.term.active_gone_since {
        age(since, NOW.saturating_sub(2 * TTL));
    }
    for slot in &mut fleet.slots {
        age(&mut slot.assign_at, NOW);
        slot.refused = slot.refused.min(1);
        if let Some(handoff) = &mut slot.handoff {
            age(&mut handoff.since, ago(10));
        }
        if let Some(previous_owner) = &mut slot.previous_owner {
            age(&mut previous_owner.at, ago(10));
        }
        if let Some(report) = &mut slot.report {
            report.at = NOW;
        }
        let start_ended = slot.report.is_some();
        if let Some(owner) = &mut slot.owner {
            // It matters until the start has ended, and for 30 s at most.
            if start_ended {
                owner.since = ago(31);
            }
            age(&mut owner.since, ago(31));
        }
    }
    for deaths in fleet.deaths.breaker.workers.values_mut().chain(fleet.deaths.breaker.shards.values_mut()) {
        // The wait after a third death is 10 s, after a fourth 20 s.
        let oldest = if deaths.at.len() > 3 { ago(21) } else { ago(11) };
        deaths.at.iter_mut().for_each(|at| age(at, oldest));
    }
    fleet.total.last_ran = LastRan::default();
}

/// Every epoch of a shard that the world knows.
fn each_epoch(world: &mut World, shard: usize, mut visit: impl FnMut(&mut u64)) {
    let slot = ShardSlot(shard as u32);
    for one in &mut world.coordinators {
        if let Some(slot) = one.fleet.slots.get_mut(shard) {
            visit(&mut slot.highest.0);
            if let Some(owner) = &mut slot.owner {
                visit(&mut owner.epoch.0);
                owner.start.handed_over.iter_mut().for_each(|epoch| visit(&mut epoch.0));
            }
            slot.previous_owner.iter_mut().for_each(|previous_owner| visit(&mut previous_owner.epoch.0));
            slot.report.iter_mut().for_each(|report| visit(&mut Arc::make_mut(&mut report.report).epoch.0));
        }
        for worker in one.fleet.workers.values_mut() {
            let set = &mut worker.assignment;
            set.shards.get_mut(&slot).into_iter().for_each(|epoch| visit(&mut epoch.0));
            set.handed_over.get_mut(&slot).into_iter().for_each(|epoch| visit(&mut epoch.0));
            set.arriving.get_mut(&slot).into_iter().for_each(|arriving| visit(&mut arriving.epoch.0));
            set.departing.get_mut(&slot).into_iter().for_each(|departing| visit(&mut departing.epoch.0));
        }
        for call in &mut one.calls {
            if let Call::Write(owners) = call {
                let same = owners.iter_mut().filter(|owner| owner.shard.slot() == slot);
                same.for_each(|owner| visit(&mut owner.epoch.0));
            }
        }
    }
    for records in [&mut world.store.now, &mut world.store.before] {
        records.owners[shard].iter_mut().for_each(|row| visit(&mut row.epoch));
        visit(&mut records.checkpoints[shard]);
    }
    for worker in &mut world.workers {
        worker.running[shard].iter_mut().for_each(&mut visit);
        worker.arriving[shard].iter_mut().for_each(&mut visit);
        for said in &mut worker.reports {
            said.running[shard].iter_mut().chain(&mut said.arriving[shard]).for_each(&mut visit);
        }
        if let Some(Parcel::Assignment { set, .. }) = &mut worker.inbox {
            for epochs in [&mut set.shards, &mut set.arriving, &mut set.handed_over] {
                epochs[shard].iter_mut().for_each(&mut visit);
            }
        }
    }
    visit(&mut world.handled[shard]);
    visit(&mut world.let_go[shard]);
}

impl World {
    pub(super) fn age(&mut self) {
        let fences = self.fences;
        self.store.age();
        self.workers.iter_mut().for_each(|worker| worker.age(fences));
        for one in &mut self.coordinators {
            one.unconfirmed = (one.unconfirmed + 1).min(TTL_BEATS);
            one.cut_from_store = one.cut_from_store.saturating_sub(1);
            one.in_doubt |= one.stopped > 0;
            one.stopped = one.stopped.saturating_sub(1);
            one.busy = one.busy.saturating_sub(1);
            age_fleet(&mut one.fleet);
            one.probes.iter_mut().for_each(|probe| age(&mut probe.broke_at, ago(10)));
        }
    }

    pub(super) fn canonicalize(&mut self) {
        for worker in &mut self.workers {
            if worker.stream.is_none() {
                worker.revision = 0;
                worker.reports.clear();
            }
        }
        for shard in 0..SHARDS {
            let mut known = BTreeSet::new();
            each_epoch(self, shard, |epoch| {
                known.insert(*epoch);
            });
            known.remove(&0);
            let ranks: BTreeMap<u64, u64> = known.into_iter().zip(1..).collect();
            each_epoch(self, shard, |epoch| *epoch = ranks.get(epoch).copied().unwrap_or(0));
        }
        for i in 0..self.coordinators.len() {
            for n in 0..self.workers.len() {
                self.canonicalize_revisions(i, n);
            }
        }
    }

    /// Lets the revisions between a coordinator and a worker begin at 1.
    fn canonicalize_revisions(&mut self, i: usize, n: usize) {
        let (one, worker) = (&mut self.coordinators[i], &mut self.workers[n]);
        let talks = worker.stream == Some(one.term);
        let Some(known) = one.fleet.workers.get_mut(&name(n)) else { return };
        let mut revisions = vec![&mut known.assignment.revision];
        for owner in one.fleet.slots.iter_mut().filter_map(|slot| slot.owner.as_mut()) {
            if let Phase::Releasing { revision } = &mut owner.phase
                && number(&owner.worker) == n
            {
                revisions.push(revision);
            }
        }
        if talks {
            revisions.push(&mut worker.revision);
            revisions.extend(worker.reports.iter_mut().map(|said| &mut said.revision));
            if let Some(Parcel::Assignment { revision, .. }) = &mut worker.inbox {
                revisions.push(revision);
            }
        }
        let lowest = revisions.iter().map(|revision| **revision).min().unwrap_or_default();
        // Before the first assignment there is no revision.
        let shift = lowest.saturating_sub(1);
        for revision in revisions {
            *revision -= shift;
        }
    }
}

/// The checker tells states apart by their hash; so does this.
impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let hash = |world: &Self| BuildHasherDefault::<DefaultHasher>::default().hash_one(world);
        hash(self) == hash(other)
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.coordinators.iter().for_each(|one| hash_coordinator(one, state));
        (self.next_term, &self.store, &self.workers, self.faults_left, self.ended_provably).hash(state);
        (&self.wrongly_lost, &self.overlaps, self.handled, self.let_go, self.harm).hash(state);
        (self.disturbed, self.calmed).hash(state);
    }
}

fn hash_coordinator(one: &Coordinator, state: &mut impl Hasher) {
    (
        one.term,
        one.lost,
        one.in_doubt,
        one.unconfirmed,
        one.cut_from_store,
        one.stopped,
        one.busy,
        one.store,
        one.streams,
    )
        .hash(state);
    one.probes.hash(state);
    for call in &one.calls {
        match call {
            Call::Write(owners) => owners.iter().for_each(|owner| {
                (owner.shard, &owner.worker, &owner.incarnation, owner.epoch).hash(state);
            }),
            Call::Revoke(life, cause, known) => (1, life, cause, known).hash(state),
            Call::WriteTotal => 2.hash(state),
            Call::WriteIntent(intent) => (4, intent).hash(state),
            Call::FindLeases(known) => (3, known).hash(state),
        }
    }
    let fleet = &one.fleet;
    (
        fleet.term.number,
        fleet.total.current,
        fleet.term.settle_until,
        fleet.term.grace_until,
        fleet.term.unregistered_until,
    )
        .hash(state);
    fleet.pace.hash(state);
    fleet.term.awaited.hash(state);
    (&fleet.store.revoked_lately, &fleet.intent, fleet.term.active_gone_since).hash(state);
    (
        fleet.term.last_tick,
        &fleet.deaths.breaker,
        fleet.term.had_predecessor,
        fleet.store.unregistered.asking,
        fleet.store.unregistered.ask_at,
    )
        .hash(state);
    match fleet.store.trust {
        StoreTrust::Away => 0.hash(state),
        StoreTrust::Since(since) => since.hash(state),
        StoreTrust::Whole => 1.hash(state),
    }
    for slot in &fleet.slots {
        (&slot.handoff, &slot.previous_owner, slot.assign_at).hash(state);
        (slot.highest, slot.confirmed, slot.report.as_ref().map(|report| report.report.epoch)).hash(state);
        if let Some(owner) = &slot.owner {
            (
                &owner.worker,
                &owner.incarnation,
                owner.epoch,
                owner.since,
                owner.start.handed_over,
                owner.start_ended,
            )
                .hash(state);
            match owner.phase {
                Phase::Writing => 0.hash(state),
                Phase::Running => 1.hash(state),
                Phase::Releasing { revision } => (2, revision).hash(state),
            }
        }
    }
    for (name, worker) in &fleet.workers {
        (
            name,
            &worker.incarnation,
            worker.liveness.heard,
            worker.liveness.lapsed,
            worker.liveness.connected,
            worker.liveness.last_heard,
            worker.liveness.lease_check,
        )
            .hash(state);
        (&worker.liveness.addresses, &worker.liveness.broken, worker.calm_until).hash(state);
        (worker.draining, &worker.drain_reason, &worker.profile.generation).hash(state);
        let set = &worker.assignment;
        (set.revision, set.shard_total, &set.shards, &set.arriving, &set.departing, &set.handed_over)
            .hash(state);
    }
}

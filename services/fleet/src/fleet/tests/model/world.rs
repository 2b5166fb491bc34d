//! The world of the model: what a beat and a fault do, and what must not be seen.

use std::collections::{BTreeMap, BTreeSet};

mod acting;
mod checks;
mod storing;
mod streams;

use streams::set_of;

use super::{
    super::*,
    Fault, Fence, Fences, Harm, Order, Part, SHARDS, TTL_BEATS,
    coordinator::{Call, Coordinator, SimProbe, by_shard, epochs, incarnation, life, name, number, peer},
    store::{Grant, OwnerRow, Renewal, Revoked, SimIncarnation, Store, Written},
    worker::{DRAIN_BEATS, PATIENCE, Parcel, Said, Set, SimWorker, WINDOW_BEATS},
};

/// The moment of every beat: a beat moves everything else into the past.
pub(super) const NOW: Duration = Duration::from_secs(1_000);
const NOW_UNIX_MS: u64 = 1_000_000_000;

pub(super) fn now(fences: Fences) -> Now {
    Now { mono: NOW, unix_ms: if fences.has(Fence::EpochsFromTheClock) { NOW_UNIX_MS } else { 0 } }
}

/// How long a worker has handled a shard beside its next owner, after false evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Overlap {
    pub(super) beats: u8,
    /// The beats of these in which the loser could renew, and so hear that it lost.
    pub(super) could_hear: u8,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) fences: Fences,
    pub(super) generations: bool,
    /// Coordinators that act, or believe that they do; the newest last. A standby always exists and takes a free term.
    pub(super) coordinators: Vec<Coordinator>,
    pub(super) next_term: u8,
    pub(super) store: Store,
    pub(super) workers: Vec<SimWorker>,
    pub(super) faults_left: u8,
    /// Incarnations that were wrongly reported as dead, and the term that believed it.
    pub(super) wrongly_lost: BTreeMap<SimIncarnation, u8>,
    /// The last coordinator's end is proven to the next one.
    pub(super) ended_provably: bool,
    pub(super) overlaps: [BTreeMap<SimIncarnation, Overlap>; SHARDS],
    /// The highest epoch under which each shard was handled.
    pub(super) handled: [u64; SHARDS],
    /// The highest epoch whose owner released the shard in order: the last part of a copy comes with that.
    pub(super) let_go: [u64; SHARDS],
    pub(super) harm: Option<Harm>,
    pub(super) disturbed: bool,
    /// The last disturbance ended with this beat.
    pub(super) calmed: bool,
}

impl World {
    /// A world in which nothing has started yet.
    pub(super) fn cold(fences: Fences, workers: usize, faults: u8, generations: bool) -> Self {
        let worker = SimWorker { starts_in: 1, ..SimWorker::default() };
        Self {
            fences,
            generations,
            coordinators: Vec::new(),
            next_term: 1,
            store: Store::default(),
            workers: vec![worker; workers],
            faults_left: faults,
            wrongly_lost: BTreeMap::new(),
            ended_provably: false,
            overlaps: Default::default(),
            handled: [0; SHARDS],
            let_go: [0; SHARDS],
            harm: None,
            disturbed: true,
            calmed: false,
        }
    }

    /// A fleet that has run for a while.
    pub(super) fn warm(fences: Fences, workers: usize, faults: u8, generations: bool) -> Self {
        let mut world = Self::cold(fences, workers, faults, generations);
        for _ in 0..20 {
            world.beat(Order::Quick);
        }
        world.calmed = false;
        assert!(world.is_settled(), "{world:?}");
        world
    }

    /// Runs one second: each part does what is due.
    pub(super) fn beat(&mut self, order: Order) {
        self.age();
        for part in order.parts() {
            match part {
                Part::Coordinators => {
                    if order == Order::Racing {
                        self.standby_claims();
                    }
                    self.coordinators_act();
                    self.standby_claims();
                }
                Part::Probes => (0..self.coordinators.len()).for_each(|i| self.probe(i)),
                Part::Store => (0..self.coordinators.len()).for_each(|i| self.carry_out_calls(i)),
                Part::Workers => (0..self.workers.len()).for_each(|n| self.worker_acts(n)),
            }
            self.check(false);
        }
        self.check(true);
        let was_disturbed = self.disturbed;
        self.disturbed = !self.is_well();
        self.calmed = was_disturbed && !self.disturbed;
        self.canonicalize();
    }

    fn is_well(&self) -> bool {
        let one_acts = match self.coordinators.as_slice() {
            [one] => !one.lost && [one.cut_from_store, one.stopped, one.busy] == [0; 3],
            _ => false,
        };
        one_acts && self.store.away == 0 && self.workers.iter().all(SimWorker::is_well)
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        self.disturbed = true;
        self.calmed = false;
        match fault {
            Fault::Crash(n, starts_in) => {
                self.workers[n].crash(starts_in);
                self.stream_breaks(n);
            }
            Fault::Drain(n) => {
                self.workers[n].drains.get_or_insert(DRAIN_BEATS);
            }
            Fault::Move(shard, n) => {
                let to = name(n);
                self.operator(PlanKind::Move { shard: ShardSlot(shard), to });
            }
            Fault::Rebalance => self.operator(PlanKind::Rebalance),
            Fault::DrainByOperator(n) => self.operator(PlanKind::Drain(name(n))),
            Fault::Promote(generation) => self.operator(PlanKind::Promote(generation.parse().unwrap())),
            Fault::CutFromCoordinators(n, beats) => self.workers[n].cut_from_coordinators = beats,
            Fault::CutFromStore(n, beats) => self.workers[n].cut_from_store = beats,
            Fault::CutOff(n, beats) => {
                self.workers[n].cut_from_coordinators = beats;
                self.workers[n].cut_from_store = beats;
            }
            Fault::Stop(n, beats) => self.workers[n].stopped = beats,
            Fault::LateAcknowledgements(n, beats) => self.workers[n].late = beats,
            Fault::LateReports(n, beats) => self.workers[n].late_reports = beats,
            Fault::StreamBreaks(n) => self.stream_breaks(n),
            Fault::FalseEvidence(n) => {
                self.workers[n].lied_about = true;
                // The worker notices when it next reports.
                self.stream_breaks(n);
            }
            Fault::StoreAway(beats) => self.store.away = beats,
            Fault::StoreLoses { everything } => self.store.lose(everything),
            Fault::CoordinatorRestarts => {
                // It releases its term; the next one takes it at once.
                self.store.now.hold = 0;
                self.coordinators_end();
            }
            Fault::CoordinatorCrashes => self.coordinators_end(),
            Fault::CoordinatorEndsProvably => self.coordinator_ends_provably(),
            Fault::AllEndProvably => {
                self.coordinator_ends_provably();
                self.workers.iter_mut().for_each(|worker| worker.crash(1));
            }
            Fault::CoordinatorCutFromStore(beats) => {
                self.coordinators.iter_mut().take(1).for_each(|one| one.cut_from_store = beats);
            }
            Fault::CoordinatorStops(beats) => {
                self.coordinators.iter_mut().take(1).for_each(|one| one.stopped = beats);
            }
            Fault::CoordinatorIsBusy(beats) => {
                self.coordinators.iter_mut().take(1).for_each(|one| one.busy = beats);
            }
        }
    }

    /// An operator asks the newest coordinator for a plan, which may refuse it.
    fn operator(&mut self, kind: PlanKind) {
        let Some(i) = self.coordinators.len().checked_sub(1) else { return };
        if self.coordinators[i].stopped == 0 {
            let means =
                PlanBudget { identifies: 10, max_concurrency: 1, identify_interval: Duration::from_secs(5) };
            let refused = self.coordinators[i].fleet.start_plan(kind, means, now(self.fences));
            drop(refused);
            self.carry_out(i);
        }
    }

    pub(super) fn generation_of(&self, n: usize) -> Generation {
        let named = ["blue", "green", "red"][n].parse();
        if self.generations { named.unwrap() } else { Generation::default() }
    }

    /// Each deployment needs other intents, so sessions do not carry over.
    pub(super) fn needs_of(&self, n: usize) -> SessionNeeds {
        let intents = if self.generations { n as u64 } else { 0 };
        SessionNeeds { intents, ..SessionNeeds::default() }
    }

    /// Only the end of the term's holder is proof: an older one may still act.
    fn coordinator_ends_provably(&mut self) {
        let Some(ended) = self.coordinators.pop() else { return };
        self.ended_provably = ended.term == self.store.now.term;
        if self.ended_provably {
            self.store.now.hold = 0;
        }
        for worker in self.workers.iter_mut().filter(|worker| worker.stream == Some(ended.term)) {
            worker.stream = None;
            worker.inbox = None;
        }
    }

    fn coordinators_end(&mut self) {
        self.coordinators.clear();
        for worker in &mut self.workers {
            worker.stream = None;
            worker.inbox = None;
        }
    }

    /// The coordinator sees the end of a worker's stream, unless they are cut off from each other.
    fn stream_breaks(&mut self, n: usize) {
        if self.workers[n].cut_from_coordinators > 0 {
            return;
        }
        for i in 0..self.coordinators.len() {
            self.coordinators[i].stream_ended(self.fences, n);
            self.carry_out(i);
        }
    }

    fn reaches_store(&self, i: usize) -> bool {
        self.coordinators[i].cut_from_store == 0 && self.store.away == 0
    }

    fn coordinators_act(&mut self) {
        for ended in self.coordinators.extract_if(.., |one| one.lost && one.stopped == 0) {
            for worker in self.workers.iter_mut().filter(|worker| worker.stream == Some(ended.term)) {
                worker.stream = None;
                worker.inbox = None;
            }
        }
        for i in 0..self.coordinators.len() {
            if self.coordinators[i].stopped > 0 {
                continue;
            }
            let reaches = self.reaches_store(i);
            let (fences, store, one) = (self.fences, &mut self.store, &mut self.coordinators[i]);
            if one.busy > 0 {
                // A task of its own renews the term, or finds it lost.
                if reaches && fences.has(Fence::TermsAreRenewedBesideTheWork) {
                    one.lost = store.now.term > one.term;
                    if !one.lost {
                        (one.in_doubt, one.unconfirmed) = (false, 0);
                        (store.now.term, store.now.hold) = (one.term, TTL_BEATS);
                    }
                }
                continue;
            }
            if reaches {
                let same = one.store == store.identity;
                one.fleet.mark_store_up(same, now(fences));
                one.store = store.identity;
                if !fences.has(Fence::TrustTakesTheTtl) {
                    one.fleet.store.trust = StoreTrust::Since(NOW.saturating_sub(TTL));
                }
                // It hears of a higher term only after it has acted once more.
                one.lost = store.now.term > one.term;
                if !one.lost {
                    (one.in_doubt, one.unconfirmed) = (false, 0);
                    (store.now.term, store.now.hold) = (one.term, TTL_BEATS);
                }
            } else {
                one.in_doubt = false;
                one.fleet.mark_store_away();
            }
            one.fleet.tick(now(fences));
            if reaches && !one.lost {
                store.now.trusted = one.fleet.store_is_trusted(now(fences)).then_some(store.identity);
            }
            if fences.one_host {
                self.give_up_ended_workers(i);
            }
            self.carry_out(i);
        }
    }

    fn give_up_ended_workers(&mut self, i: usize) {
        let fleet = &mut self.coordinators[i].fleet;
        let workers = &self.workers;
        let is_over = |(worker, incarnation): &(&WorkerId, &Incarnation)| {
            let (n, life) = life(worker, incarnation);
            !workers[n].alive || workers[n].life != life
        };
        let over = fleet.unheard_workers(now(self.fences)).filter(is_over);
        let over: Vec<_> = over.map(|(worker, incarnation)| (worker.clone(), incarnation.clone())).collect();
        for (worker, incarnation) in over {
            drop(fleet.accept_exit(&worker, Some(&incarnation), now(self.fences)));
        }
    }

    /// A standby takes a free term.
    fn standby_claims(&mut self) {
        if self.store.away > 0 || self.store.now.hold > 0 {
            return;
        }
        if self.fences.has(Fence::NewTermsFenceTheStore) {
            self.store.fence(self.next_term);
        }
        let first = self.generation_of(0);
        let records = &mut self.store.now;
        let listed = |lease: &super::store::Lease| lease.listed && !lease.revoked;
        let leases = || records.leases.iter().enumerate().filter_map(|(n, lease)| Some((n, (*lease)?)));
        let recovered = Recovered {
            shard_total: records.total.then_some(SHARDS as u32),
            workers: leases()
                .filter(|(_, lease)| listed(lease))
                .map(|(n, lease)| RecoveredWorker {
                    worker: name(n),
                    incarnation: incarnation(lease.life),
                    url: String::new(),
                })
                .collect(),
            owners: (0..)
                .zip(&records.owners)
                .filter_map(|(shard, row)| {
                    let row = (*row)?;
                    Some(RecoveredOwner {
                        shard: ShardKey::new(shard, SHARDS as u32),
                        worker: name(row.life.0),
                        incarnation: incarnation(row.life.1),
                        epoch: Epoch(row.epoch),
                    })
                })
                .collect(),
            last_ran_unix_ms: None,
            head_signing: HeadSigning::default(),
            intent: records.intent.clone(),
            named_generation: Some(first),
            had_predecessor: records.term > 0 || leases().any(|(_, lease)| lease.listed),
            is_whole: std::mem::take(&mut self.ended_provably)
                && (records.trusted == Some(self.store.identity)
                    || !self.fences.has(Fence::OnlyTrustedStoresAreWhole)),
        };
        (records.term, records.hold) = (self.next_term, TTL_BEATS);
        self.coordinators.push(Coordinator::new(self.fences, self.next_term, self.store.identity, recovered));
        self.next_term += 1;
    }

    fn carry_out(&mut self, i: usize) {
        loop {
            let effects = self.coordinators[i].fleet.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                let one = &mut self.coordinators[i];
                match effect {
                    Effect::Write(owners) => {
                        if !self.fences.has(Fence::WrittenBeforeTold) {
                            let outcomes = owners.iter().map(|owner| (owner, Ok(())));
                            one.fleet.on_written(outcomes, now(self.fences));
                        }
                        one.calls.push(Call::Write(owners));
                    }
                    Effect::FindLeases => one.calls.push(Call::FindLeases(one.store)),
                    Effect::WriteTotal(_) => one.calls.push(Call::WriteTotal),
                    Effect::WriteIntent(intent) => one.calls.push(Call::WriteIntent(Box::new(intent))),
                    Effect::Drain(worker) => self.deliver(i, number(&worker), Parcel::Drain),
                    Effect::Revoke { worker, incarnation, cause } => {
                        one.calls.push(Call::Revoke(life(&worker, &incarnation), cause, one.store));
                    }
                    Effect::Probe { worker, incarnation, broke_at, .. } => {
                        one.probes.push(SimProbe { life: life(&worker, &incarnation), broke_at });
                    }
                    Effect::Send(worker, assignment) => {
                        let parcel =
                            Parcel::Assignment { revision: assignment.revision, set: set_of(&assignment) };
                        self.deliver(i, number(&worker), parcel);
                    }
                    Effect::WriteLastRan(_)
                    | Effect::WriteHeadSigning(_)
                    | Effect::Forget(..)
                    | Effect::Note(_) => {}
                }
            }
        }
    }

    fn probe(&mut self, i: usize) {
        if self.coordinators[i].stopped > 0 || self.coordinators[i].busy > 0 {
            return;
        }
        for SimProbe { life, broke_at } in std::mem::take(&mut self.coordinators[i].probes) {
            let term = self.coordinators[i].term;
            let worker = &mut self.workers[life.0];
            let finding = if std::mem::take(&mut worker.lied_about) {
                if worker.alive && worker.life == life.1 {
                    self.wrongly_lost.insert(life, term);
                }
                Finding::Refuses
            } else if worker.cut_from_coordinators > 0 || worker.stopped > 0 {
                Finding::Unclear
            } else if !worker.alive {
                Finding::Refuses
            } else if worker.life == life.1 {
                Finding::Answers
            } else {
                Finding::AnotherAnswers
            };
            let (worker, incarnation) = (name(life.0), incarnation(life.1));
            self.coordinators[i].fleet.on_probe(&worker, &incarnation, broke_at, finding, now(self.fences));
            self.carry_out(i);
        }
    }
}

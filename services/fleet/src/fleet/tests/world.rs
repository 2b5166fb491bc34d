//! The fleet in a world where anything may happen, in any order: invariant I1 must hold and, when the world calms down,
//! every shard must run.

use fleet_model::ShardStatus;
use proptest::prelude::*;

use super::*;

const WORKERS: usize = 3;
const SHARDS: u32 = 4;
/// How often workers report and renew, and the coordinator ticks, in milliseconds.
const BEAT: u64 = 500;
const TTL_MS: u64 = TTL.as_millis() as u64;
/// A worker uses its lease less 20 %.
const WINDOW_MS: u64 = TTL_MS * 4 / 5;

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// This many beats pass.
    Beats(u64),
    Start(usize),
    Crash(usize),
    CutFromCoordinator(usize),
    CutFromStore(usize),
    /// Both paths of a worker work again.
    Heal(usize),
    StoreAway,
    StoreBack,
    CoordinatorRestarts,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let worker = 0..WORKERS;
    let event = prop_oneof![
        6 => (1u64..16).prop_map(Event::Beats),
        3 => worker.clone().prop_map(Event::Start),
        1 => worker.clone().prop_map(Event::Crash),
        2 => worker.clone().prop_map(Event::CutFromCoordinator),
        2 => worker.clone().prop_map(Event::CutFromStore),
        2 => worker.prop_map(Event::Heal),
        1 => Just(Event::StoreAway),
        1 => Just(Event::StoreBack),
        1 => Just(Event::CoordinatorRestarts),
    ];
    prop::collection::vec(event, 1..50)
}

#[derive(Debug, Default)]
struct SimWorker {
    /// Grows with each life; 0 before the first.
    life: u64,
    alive: bool,
    registered: bool,
    cut_from_coordinator: bool,
    cut_from_store: bool,
    /// Until when it may run shards, by its own reckoning.
    lease_until: u64,
    running: BTreeMap<ShardKey, Epoch>,
    arriving: Vec<(ShardSlot, Epoch)>,
    revision: u64,
}

/// One lease in the store.
#[derive(Clone, Copy, Debug)]
struct SimLease {
    life: u64,
    until: u64,
    revoked: bool,
}

#[derive(Debug, Default)]
struct SimStore {
    away: bool,
    was_away: bool,
    leases: BTreeMap<usize, SimLease>,
    owners: BTreeMap<ShardKey, (usize, u64, Epoch)>,
    total: Option<u32>,
    intent: Intent,
}

struct World {
    ms: u64,
    fleet: Fleet,
    store: SimStore,
    workers: [SimWorker; WORKERS],
    /// On their way to the store: carried out a beat later.
    writes: Vec<Vec<Ownership>>,
}

fn name(n: usize) -> WorkerId {
    format!("w{n}").parse().unwrap()
}

fn number(worker: &WorkerId) -> usize {
    worker.as_str()[1..].parse().unwrap()
}

fn life_of(n: u64) -> Incarnation {
    n.to_string().parse().unwrap()
}

fn number_of_life(life: &Incarnation) -> u64 {
    life.as_str().parse().unwrap()
}

impl World {
    fn new() -> Self {
        let fleet = Fleet::new(rules(), Term(1), WantedTotal::explicit(SHARDS), Recovered::default(), at(0));
        Self { ms: 0, fleet, store: SimStore::default(), workers: Default::default(), writes: Vec::new() }
    }

    fn now(&self) -> Now {
        at(self.ms)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Beats(beats) => (0..beats).for_each(|_| self.beat()),
            Event::Start(n) if !self.workers[n].alive => {
                let life = self.workers[n].life + 1;
                self.workers[n] = SimWorker { life, alive: true, ..SimWorker::default() };
            }
            Event::Start(_) => {}
            Event::Crash(n) => {
                self.workers[n].alive = false;
                self.workers[n].running.clear();
                self.stream_ends(n);
            }
            Event::CutFromCoordinator(n) => {
                self.workers[n].cut_from_coordinator = true;
                self.stream_ends(n);
            }
            Event::CutFromStore(n) => self.workers[n].cut_from_store = true,
            Event::Heal(n) => {
                self.workers[n].cut_from_coordinator = false;
                self.workers[n].cut_from_store = false;
            }
            Event::StoreAway => {
                self.store.away = true;
                self.store.was_away = true;
            }
            Event::StoreBack => self.store.away = false,
            Event::CoordinatorRestarts => self.restart_coordinator(),
        }
    }

    fn stream_ends(&mut self, n: usize) {
        let life = life_of(self.workers[n].life);
        let now = self.now();
        self.fleet.stream_ended(&name(n), &life, now);
        self.workers[n].registered = false;
    }

    /// The next coordinator waits for the store before it takes the term, and finds what is written there.
    fn restart_coordinator(&mut self) {
        self.store.away = false;
        let workers = self.store.leases.iter().filter(|(_, lease)| !lease.revoked);
        let recovered = Recovered {
            head_signing: HeadSigning::default(),
            shard_total: self.store.total,
            workers: workers
                .map(|(n, lease)| RecoveredWorker {
                    worker: name(*n),
                    incarnation: life_of(lease.life),
                    url: String::new(),
                })
                .collect(),
            owners: self
                .store
                .owners
                .iter()
                .map(|(shard, (n, life, epoch))| RecoveredOwner {
                    shard: *shard,
                    worker: name(*n),
                    incarnation: life_of(*life),
                    epoch: *epoch,
                })
                .collect(),
            last_ran_unix_ms: None,
            intent: self.store.intent.clone(),
            named_generation: None,
            had_predecessor: true,
            is_whole: false,
        };
        // What the coordinator before had sent may arrive yet, or not; here it does not.
        self.writes.clear();
        self.fleet = Fleet::new(rules(), Term(2), WantedTotal::explicit(SHARDS), recovered, self.now());
        self.workers.iter_mut().for_each(|worker| worker.registered = false);
    }

    /// Half a second: everyone does what is due.
    fn beat(&mut self) {
        self.ms += BEAT;
        let now = self.now();
        if self.store.away {
            self.fleet.mark_store_away();
        } else {
            self.fleet.mark_store_up(!self.store.was_away, now);
            self.store.was_away = false;
        }
        for owners in std::mem::take(&mut self.writes) {
            let outcomes: Vec<_> = owners.iter().map(|owner| (owner, self.write(owner))).collect();
            self.fleet.on_written(outcomes, now);
        }
        for n in 0..WORKERS {
            self.renew_in_store(n);
            self.talk_to_coordinator(n);
        }
        self.fleet.tick(now);
        self.carry_out();
        self.check_one_owner();
    }

    fn renew_in_store(&mut self, n: usize) {
        let worker = &mut self.workers[n];
        if !worker.alive || worker.cut_from_store || self.store.away || worker.lease_until == 0 {
            return;
        }
        let in_window = self.ms < worker.lease_until;
        let renewed = SimLease { life: worker.life, until: self.ms + TTL_MS, revoked: false };
        match self.store.leases.get_mut(&n) {
            Some(lease) if lease.life != worker.life || lease.revoked => self.lose_lease(n),
            Some(lease) if in_window || lease.until > self.ms => {
                *lease = renewed;
                worker.lease_until = self.ms + WINDOW_MS;
            }
            None if in_window => {
                self.store.leases.insert(n, renewed);
                worker.lease_until = self.ms + WINDOW_MS;
            }
            _ => {}
        }
    }

    /// A refusal ends everything at once; the worker comes back under a new incarnation.
    fn lose_lease(&mut self, n: usize) {
        self.stream_ends(n);
        let worker = &self.workers[n];
        self.workers[n] = SimWorker {
            life: worker.life + 1,
            alive: true,
            cut_from_coordinator: worker.cut_from_coordinator,
            cut_from_store: worker.cut_from_store,
            ..SimWorker::default()
        };
    }

    fn talk_to_coordinator(&mut self, n: usize) {
        let now = self.now();
        let worker = &self.workers[n];
        if !worker.alive || worker.cut_from_coordinator {
            return;
        }
        if !worker.registered {
            self.register(n);
            return;
        }
        let ready =
            |(shard, epoch): (&ShardKey, &Epoch)| ShardReport::bare(*shard, *epoch, ShardStatus::Ready);
        let report = WorkerReport {
            assignment_revision: worker.revision,
            shards: worker.running.iter().map(ready).collect(),
            arrived: worker.arriving.clone(),
            ..WorkerReport::default()
        };
        match self.fleet.report(&name(n), &life_of(worker.life), report, now) {
            Ok(heard) => {
                if heard == LeaseAnswer::Renewed {
                    self.workers[n].lease_until = self.ms + WINDOW_MS;
                }
                self.carry_out();
            }
            Err(_) => self.lose_lease(n),
        }
    }

    fn register(&mut self, n: usize) {
        let now = self.now();
        let worker = &self.workers[n];
        let life = life_of(worker.life);
        if self.fleet.may_join(&name(n), &life).is_err() {
            return;
        }
        if !self.store.away {
            match self.store.leases.get(&n) {
                Some(lease) if lease.life == worker.life && lease.revoked => return self.lose_lease(n),
                Some(lease) if lease.life != worker.life && !lease.revoked && lease.until > self.ms => return,
                _ => {}
            }
            let granted = SimLease { life: worker.life, until: self.ms + TTL_MS, revoked: false };
            self.store.leases.insert(n, granted);
        }
        let registration = Registration {
            worker: name(n),
            incarnation: life,
            granted: !self.store.away,
            running: claimed(worker.running.clone(), if worker.running.is_empty() { 0 } else { SHARDS }),
            ..registration("w", "1")
        };
        let Ok(assignment) = self.fleet.join(registration, now) else { return };
        self.workers[n].registered = true;
        self.workers[n].lease_until = self.ms + WINDOW_MS;
        self.obey(n, &assignment);
        self.carry_out();
    }

    fn obey(&mut self, n: usize, assignment: &Assignment) {
        self.workers[n].revision = assignment.revision;
        self.workers[n].running.clone_from(&assignment.shards);
        let arriving = assignment.arriving.iter().map(|(shard, arriving)| (shard.slot(), arriving.epoch));
        self.workers[n].arriving = arriving.collect();
    }

    fn carry_out(&mut self) {
        loop {
            let effects = self.fleet.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out_one(effect);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        let now = self.now();
        match effect {
            Effect::Write(owners) => self.writes.push(owners),
            Effect::WriteTotal(total) if !self.store.away => self.store.total = Some(total),
            Effect::WriteIntent(intent) if !self.store.away => self.store.intent = intent,
            Effect::Send(worker, assignment) => {
                let n = number(&worker);
                if self.workers[n].registered {
                    self.obey(n, &assignment);
                }
            }
            Effect::Revoke { worker, incarnation, cause } => {
                let verdict = self.check_lease(number(&worker), number_of_life(&incarnation));
                self.fleet.on_lease_verdict(&worker, &incarnation, cause, verdict, now);
            }
            Effect::FindLeases => {
                let live =
                    self.store.leases.iter().filter(|(_, lease)| !lease.revoked && lease.until > self.ms);
                let live = live.map(|(n, lease)| (name(*n), life_of(lease.life))).collect();
                self.fleet.on_leases_found((!self.store.away).then_some(live), now);
            }
            Effect::Forget(..)
            | Effect::Note(_)
            | Effect::WriteTotal(_)
            | Effect::WriteIntent(_)
            | Effect::Drain(_)
            | Effect::WriteLastRan(_)
            | Effect::WriteHeadSigning(_)
            | Effect::Probe { .. } => {}
        }
    }

    fn write(&mut self, owner: &Ownership) -> Result<(), Option<Epoch>> {
        if self.store.away {
            return Err(None);
        }
        let new = (number(&owner.worker), number_of_life(&owner.incarnation), owner.epoch);
        match self.store.owners.get(&owner.shard) {
            Some(known) if known.2 > owner.epoch || known.2 == owner.epoch && *known != new => {
                Err(Some(known.2))
            }
            _ => {
                self.store.owners.insert(owner.shard, new);
                Ok(())
            }
        }
    }

    fn check_lease(&mut self, n: usize, life: u64) -> LeaseVerdict {
        if self.store.away {
            return LeaseVerdict::Unknown;
        }
        let lease = self.store.leases.entry(n).or_insert(SimLease { life, until: 0, revoked: true });
        if lease.life == life && lease.until > self.ms && !lease.revoked {
            return LeaseVerdict::Live(Duration::from_millis(lease.until - self.ms));
        }
        if lease.life == life {
            lease.revoked = true;
        }
        LeaseVerdict::Revoked
    }

    /// The workers that run a shard under a lease that is valid by their own clock.
    fn valid_owners(&self, shard: ShardKey) -> Vec<usize> {
        let runs = |n: &usize| {
            let worker = &self.workers[*n];
            worker.alive && worker.lease_until > self.ms && worker.running.contains_key(&shard)
        };
        (0..WORKERS).filter(runs).collect()
    }

    fn check_one_owner(&self) {
        for shard in ShardKey::all(SHARDS) {
            let owners = self.valid_owners(shard);
            assert!(owners.len() <= 1, "at {} ms shard {shard} runs on {owners:?}", self.ms);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn one_owner_always_and_every_shard_runs_in_the_end(events in events()) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        // The world calms down: every fault heals and at least one worker is there.
        world.happen(Event::StoreBack);
        for n in 0..WORKERS {
            world.happen(Event::Heal(n));
        }
        world.happen(Event::Start(0));
        world.happen(Event::Beats(120));
        for shard in ShardKey::all(SHARDS) {
            prop_assert_eq!(world.valid_owners(shard).len(), 1, "shard {} runs nowhere", shard);
        }
    }
}

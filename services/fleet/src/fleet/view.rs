//! A snapshot of the fleet for readers, without references into it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use fleet_model::{
    Epoch, Generation, Incarnation, Problem, ProblemCode, Route, Routes, ShardKey, ShardReport, ShardSlot,
    ShardStatus, Term, WorkerFigures, WorkerId, in_ranges, listed,
};

use super::{Fleet, HoldBack, KnownWorker, Now, Phase, PlanView, ShardTotal, Slot, WantedTotal};

/// A snapshot of the fleet.
#[derive(Clone, Debug, Default)]
pub struct FleetView {
    /// Term of the acting coordinator.
    pub term: Term,
    /// How many shards the bot has; 0 before that is settled.
    pub shard_total: u32,
    /// Every shard, by slot.
    pub shards: Vec<ShardView>,
    /// Every worker.
    pub workers: BTreeMap<WorkerId, WorkerView>,
    /// The running plan, or the last one.
    pub plan: Option<PlanView>,
    /// The active generation.
    pub active_generation: Option<Generation>,
    /// How many workers and shards the breaker holds back.
    pub held_back: HeldBackCounts,
    /// Problems for operators.
    pub problems: Vec<Problem>,
}

/// How many workers and shards are held back, as they died too often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldBackCounts {
    /// Workers that get no shards.
    pub workers: usize,
    /// Shards that get no owner.
    pub shards: usize,
}

/// One shard.
#[derive(Clone, Debug)]
pub struct ShardView {
    /// The shard.
    pub key: ShardKey,
    /// Its owner and epoch.
    pub owner: Option<(WorkerId, Epoch)>,
    /// The owner's last report of it; a bare report before the first. Shared with the fleet and with other snapshots.
    pub report: Arc<ShardReport>,
    /// When it was reported, on the coordinator's clock; `None` before the first report.
    pub reported_at: Option<Duration>,
    /// Since when it is in this state on this owner, in milliseconds since the Unix epoch; `None` when unknown, and before the
    /// snapshot is published.
    pub since_unix_ms: Option<u64>,
}

/// One worker.
#[derive(Clone, Debug)]
pub struct WorkerView {
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its advertised URL.
    pub url: String,
    /// The address that answered when the worker registered. The coordinator keeps dialing it, even if the name
    /// resolves to another one later.
    pub address: Option<SocketAddr>,
    /// Version of the program.
    pub version: String,
    /// The most shards it takes.
    pub capacity: Option<u32>,
    /// Its generation, once it has registered here.
    pub generation: Option<Generation>,
    /// The shards that it must run, and released ones for which it still answers.
    pub shards: BTreeMap<ShardKey, Epoch>,
    /// Its resident memory.
    pub rss_bytes: u64,
    /// The worker's figures that are not about one shard; `None` before its first report, and from older workers.
    pub figures: Option<WorkerFigures>,
    /// Its heartbeat stream is open.
    pub connected: bool,
    /// It is handing off its shards.
    pub draining: bool,
    /// When it was last heard, on the coordinator's clock.
    pub last_heard: Duration,
}

impl FleetView {
    /// Returns whether a routing table is the one of this snapshot.
    pub fn has_routes(&self, routes: &Routes) -> bool {
        let is_same =
            |((name, route), (known_name, known)): (&(WorkerId, Route), (&WorkerId, &WorkerView))| {
                name == known_name
                    && route.url == known.url
                    && route.draining == known.draining
                    && route.shards == known.shards
            };
        (routes.term, routes.shard_total) == (self.term, self.shard_total)
            && routes.workers().len() == self.workers.len()
            && routes.workers().iter().zip(&self.workers).all(is_same)
    }

    /// Returns the routing table of this snapshot.
    pub fn routes(&self, revision: u64) -> Routes {
        let workers = self.workers.iter().map(|(name, worker)| {
            (
                name.clone(),
                Route { url: worker.url.clone(), shards: worker.shards.clone(), draining: worker.draining },
            )
        });
        let mut routes = Routes::new(self.shard_total, workers.collect());
        (routes.term, routes.revision) = (self.term, revision);
        routes
    }
}

impl Fleet {
    /// Returns a snapshot of the fleet.
    pub fn view(&self, now: Now) -> FleetView {
        let mut workers: BTreeMap<WorkerId, WorkerView> = self
            .workers
            .iter()
            .map(|(name, worker)| {
                let view = WorkerView {
                    incarnation: worker.incarnation.clone(),
                    url: worker.profile.url.clone(),
                    address: worker.liveness.addresses.found_at,
                    version: worker.profile.version.clone(),
                    capacity: worker.profile.capacity,
                    generation: worker.profile.generation.clone(),
                    shards: BTreeMap::new(),
                    rss_bytes: worker.rss_bytes,
                    figures: worker.figures,
                    connected: worker.liveness.connected,
                    draining: worker.draining,
                    last_heard: worker.liveness.last_heard,
                };
                (name.clone(), view)
            })
            .collect();
        let shards = self.slots.iter().map(|slot| {
            let shard = slot.key;
            if let Some(previous_owner) = self.answering_previous_owner(slot, now)
                && let Some(worker) = workers.get_mut(&previous_owner.worker)
            {
                worker.shards.insert(shard, previous_owner.epoch);
            }
            let Some(owner) = &slot.owner else {
                let mut report = ShardReport::bare(shard, slot.highest, ShardStatus::Unassigned);
                if let Some(held) = self.deaths.breaker.shard(shard, now.mono) {
                    report.detail = format!("{held}: {} of its owners died", held.deaths);
                }
                let report = Arc::new(report);
                return ShardView { key: shard, owner: None, report, reported_at: None, since_unix_ms: None };
            };
            let answers = owner.phase != Phase::Writing && self.answering_previous_owner(slot, now).is_none();
            if answers && let Some(worker) = workers.get_mut(&owner.worker) {
                worker.shards.insert(shard, owner.epoch);
            }
            let bare = || Arc::new(ShardReport::bare(shard, owner.epoch, ShardStatus::Queued));
            let mut report = slot.report.as_ref().map_or_else(bare, |observed| observed.report.clone());
            let unheard =
                slot.report.as_ref().map_or(Duration::ZERO, |observed| now.mono.saturating_sub(observed.at));
            if matches!(owner.phase, Phase::Releasing { .. }) {
                Arc::make_mut(&mut report).status = ShardStatus::Moving;
            } else if unheard >= self.rules.lease_ttl {
                let report = Arc::make_mut(&mut report);
                report.status = ShardStatus::Silent;
                report.detail = format!("no report for {} s", unheard.as_secs());
            }
            ShardView {
                key: shard,
                owner: Some((owner.worker.clone(), owner.epoch)),
                report,
                reported_at: slot.report.as_ref().map(|observed| observed.at),
                since_unix_ms: None,
            }
        });
        let shards: Vec<ShardView> = shards.collect();
        let mut problems = self.problems(now);
        // A shard without an owner is listed above, with the reason.
        let owned = shards.iter().filter(|shard| shard.owner.is_some());
        problems.extend(owned.filter_map(|shard| Problem::of_report(&shard.report)));
        FleetView {
            term: self.term.number,
            shard_total: self.shard_total().unwrap_or(0),
            shards,
            workers,
            plan: self.plan(now),
            active_generation: self.intent.active().cloned(),
            held_back: HeldBackCounts {
                workers: self.held_workers(now).count(),
                shards: self.held_shards(now).count(),
            },
            problems,
        }
    }

    fn problems(&self, now: Now) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.store.is_up() {
            let why = "the fleet store is away: shards keep running, none can move";
            problems.push(Problem::new(ProblemCode::StoreAway, why));
        }
        if let Some(WantedTotal { total: wanted, explicit }) = self.total.current.unmet_total() {
            let total = self.shard_total().unwrap_or(0);
            let long = if explicit { "" } else { " for 10 minutes" };
            let why = format!(
                "the fleet runs with {total} shards, but {wanted} are wanted: the total changes when all workers have been stopped{long}"
            );
            problems.push(Problem::new(ProblemCode::TotalDiffers, why));
        }
        if matches!(self.total.current, ShardTotal::Open { .. }) {
            let why = "no worker has registered: the shard total is not settled";
            problems.push(Problem::new(ProblemCode::TotalUnsettled, why));
        }
        let is_unplaced =
            |slot: &&Slot| slot.owner.is_none() && self.deaths.breaker.shard(slot.key, now.mono).is_none();
        let unplaced: Vec<ShardSlot> =
            self.slots.iter().filter(is_unplaced).map(|slot| slot.key.slot()).collect();
        if !unplaced.is_empty() && self.term.has_waited(now) {
            let waits = |shard: &Slot| shard.owner.is_none() && !shard.confirmed;
            if !self.store.unregistered.found.is_empty() && self.slots.iter().any(waits) {
                let why = format!(
                    "workers that hold a lease have not registered here and may run shards without a known owner: {}",
                    listed(&self.store.unregistered.found)
                );
                problems.push(Problem::new(ProblemCode::UnknownWorkers, why));
            }
            let unchosen = self.unchosen_generation(now);
            problems.push(unchosen.unwrap_or_else(|| self.without_worker(&unplaced, now)));
        }
        problems.extend(self.idle_generations());
        problems.extend(self.held_shards(now).map(|(shard, held)| {
            let why = format!("{held}: {} owners died", held.deaths);
            Problem::of_shard(ProblemCode::ShardHeldBack, shard.slot(), why)
        }));
        problems.extend(self.held_workers(now).map(|(name, held)| {
            let why = format!("worker {name} is {held}: it died {} times and gets no shards", held.deaths);
            Problem::new(ProblemCode::WorkerHeldBack, why)
        }));
        problems.extend(self.excluded_workers(now));
        problems.extend(self.workers_without_store());
        problems.extend(self.head_problems());
        problems.extend(self.refused_shards());
        let silent = self.workers.iter().filter(|(_, worker)| !worker.liveness.connected);
        problems.extend(
            silent.map(|(name, _)| {
                Problem::new(ProblemCode::WorkerCutOff, format!("worker {name} is cut off"))
            }),
        );
        problems
    }

    /// Returns the problem that no worker takes these shards.
    fn without_worker(&self, unplaced: &[ShardSlot], now: Now) -> Problem {
        let mut takers = self.workers.iter().filter(|(_, worker)| self.takes_shards(worker)).peekable();
        let (code, why) = if takers.peek().is_some() {
            let is_held = |(name, _): (&WorkerId, _)| self.deaths.breaker.worker(name, now.mono).is_some();
            if takers.all(is_held) {
                (ProblemCode::WorkersHeldBack, "every worker is held back".to_owned())
            } else {
                (ProblemCode::NoRoom, "no worker has room".to_owned())
            }
        } else {
            let others = self.workers.values().any(KnownWorker::is_available);
            let active = self.intent.active().filter(|_| others);
            let why = active.map_or_else(
                || "no worker is available".to_owned(),
                |active| format!("no worker of generation {active}, the active one, is available"),
            );
            (ProblemCode::NoWorker, why)
        };
        Problem::new(code, format!("{why} for shards {}", in_ranges(unplaced.iter().copied())))
    }

    /// Returns the shards that would have an owner if the breaker allowed it.
    fn held_shards(&self, now: Now) -> impl Iterator<Item = (ShardKey, HoldBack)> {
        let free = self.slots.iter().filter(|slot| slot.owner.is_none());
        free.filter_map(move |slot| Some((slot.key, self.deaths.breaker.shard(slot.key, now.mono)?)))
    }

    /// Returns the worker names that get no shards, even if no such worker is connected.
    fn held_workers(&self, now: Now) -> impl Iterator<Item = (&WorkerId, HoldBack)> {
        self.deaths
            .breaker
            .workers
            .keys()
            .filter_map(move |name| Some((name, self.deaths.breaker.worker(name, now.mono)?)))
    }
}

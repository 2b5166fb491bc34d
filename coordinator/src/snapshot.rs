//! Published snapshots of the coordinator's state: queries read them and never wait for the driver.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleet_model::{Problem, ProblemClock, Routes, ShardReport, ShardStatus, WorkerId};
use shard_bridge::{RecentReports, TimedReport};
use tokio::{sync::watch, time::Instant};

use fleet::FleetView;

/// The role of a coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It waits for the store or for the term, and decides nothing.
    #[default]
    Standby,
    /// It holds the term and decides.
    Acting,
}

/// The day's IDENTIFYs for readers.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdentifyView {
    /// IDENTIFYs a day.
    pub total: u32,
    /// IDENTIFYs left.
    pub remaining: u32,
    /// How many of these are reserved.
    pub reserve: u32,
    /// Until Discord resets the count.
    pub resets_in: Duration,
    /// How many requests wait.
    pub waiting: u32,
    /// How many may be sent at once.
    pub max_concurrency: u32,
    /// Until the last waiting request has its turn; `None` while none waits or no permit is granted.
    pub last_turn_in: Option<Duration>,
}

impl IdentifyView {
    /// Returns how long the last waiting request waits, when each bucket grants one in `interval`.
    pub fn wait_of_last(&self, interval: Duration) -> Duration {
        interval.saturating_mul(self.waiting.div_ceil(self.max_concurrency.max(1)))
    }
}

/// A snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Whether it decides.
    pub role: Role,
    /// The fleet.
    pub fleet: FleetView,
    /// The identify queue.
    pub identify: IdentifyView,
    /// When it was taken.
    pub taken: Instant,
    /// The coordinator's clock at that moment: what the fleet's times count from.
    pub clock: Duration,
}

impl Snapshot {
    /// Of a coordinator that knows nothing yet.
    pub fn empty() -> Self {
        Self {
            role: Role::Standby,
            fleet: FleetView::default(),
            identify: IdentifyView::default(),
            taken: Instant::now(),
            clock: Duration::ZERO,
        }
    }

    /// How long ago a moment of the fleet's clock was.
    pub fn age(&self, moment: Duration) -> Duration {
        self.clock.saturating_sub(moment) + self.taken.elapsed()
    }

    /// How many shards are ready.
    pub fn ready_shards(&self) -> usize {
        self.fleet.shards.iter().filter(|shard| shard.report.status == ShardStatus::Ready).count()
    }
}

/// Reads the published snapshots and routing tables.
#[derive(Clone, Debug)]
pub struct PublishedSnapshot {
    /// The newest snapshot.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The newest routing table.
    pub routes: watch::Receiver<Arc<Routes>>,
}

/// Publishes snapshots and routing tables.
#[derive(Debug)]
pub(crate) struct Publisher {
    problems: Mutex<ProblemClock>,
    states: Mutex<StateClock>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    routes: watch::Sender<Arc<Routes>>,
}

pub(crate) fn channel() -> (Publisher, PublishedSnapshot) {
    let (snapshot, snapshot_reader) = watch::channel(Arc::new(Snapshot::empty()));
    let (routes, routes_reader) = watch::channel(Arc::new(Routes::default()));
    (
        Publisher { problems: Mutex::default(), states: Mutex::default(), snapshot, routes },
        PublishedSnapshot { snapshot: snapshot_reader, routes: routes_reader },
    )
}

/// Remembers since when each shard is in its state, while this coordinator acts.
#[derive(Debug, Default)]
struct StateClock(Vec<Option<ShardState>>);

/// The state of a shard and its owner, and since when.
#[derive(Debug)]
struct ShardState {
    status: ShardStatus,
    owner: Option<WorkerId>,
    since_unix_ms: Option<u64>,
}

impl StateClock {
    /// Fills in since when the shards of a snapshot are in their states.
    fn observe(&mut self, snapshot: &mut Snapshot, now_unix_ms: u64) {
        if snapshot.role == Role::Standby {
            self.0.clear();
            return;
        }
        self.0.resize_with(snapshot.fleet.shards.len(), || None);
        for (known, shard) in self.0.iter_mut().zip(&mut snapshot.fleet.shards) {
            let (status, owner) = (shard.report.status, shard.owner.as_ref().map(|(worker, _)| worker));
            let is_same = |known: &&mut ShardState| known.status == status && known.owner.as_ref() == owner;
            let since_unix_ms = match known.as_mut() {
                Some(same) if is_same(&same) => same.since_unix_ms,
                Some(before) if before.since_unix_ms.is_some() => Some(now_unix_ms),
                // It may have begun before this coordinator; a connected shard's report says when.
                before => {
                    let outcome = shard.report.outcome.as_ref().filter(|_| status == ShardStatus::Ready);
                    let connected = outcome.map(|outcome| outcome.at_unix_ms);
                    connected.or(before.map(|_| now_unix_ms))
                }
            };
            shard.since_unix_ms = since_unix_ms;
            if !known.as_mut().is_some_and(|known| is_same(&known)) {
                *known = Some(ShardState { status, owner: owner.cloned(), since_unix_ms });
            }
        }
    }
}

impl Publisher {
    /// Publishes a snapshot, keeping the start time of each lasting problem and of each shard's state. Returns the routing table if it changed.
    pub(crate) fn publish(&self, mut snapshot: Snapshot) -> Option<Arc<Routes>> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        let problems = std::mem::take(&mut snapshot.fleet.problems);
        let mut clock = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.fleet.problems = clock.observe(problems, unix_ms);
        drop(clock);
        self.states.lock().unwrap_or_else(PoisonError::into_inner).observe(&mut snapshot, unix_ms);
        let known = self.routes.borrow().clone();
        let changed = (!snapshot.fleet.has_routes(&known)).then(|| snapshot.fleet.routes(known.revision + 1));
        self.snapshot.send_replace(Arc::new(snapshot));
        let routes = Arc::new(changed?);
        self.routes.send_replace(routes.clone());
        Some(routes)
    }

    /// Publishes what this coordinator waits for. The last known fleet stays.
    pub(crate) fn publish_waiting(&self, problem: Problem) {
        let mut snapshot = Snapshot::clone(&self.snapshot.borrow());
        snapshot.role = Role::Standby;
        snapshot.fleet.problems = vec![problem];
        self.snapshot.send_replace(Arc::new(snapshot));
    }

    /// The problems that were published last.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.snapshot.borrow().fleet.problems.clone()
    }

    /// What this coordinator waits for, as published last.
    pub(crate) fn waits_for(&self) -> String {
        let snapshot = self.snapshot.borrow();
        snapshot
            .fleet
            .problems
            .first()
            .map_or_else(|| "this process has just started".to_owned(), ToString::to_string)
    }

    /// The routing table that was published last.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.borrow().clone()
    }
}

impl RecentReports for PublishedSnapshot {
    fn reports(&self) -> Vec<TimedReport> {
        let snapshot = self.snapshot.borrow().clone();
        let timed = snapshot.fleet.shards.iter().filter_map(|shard| {
            let (worker, _) = shard.owner.as_ref()?;
            let age = snapshot.age(shard.reported_at?);
            Some(TimedReport { worker: worker.clone(), report: ShardReport::clone(&shard.report), age })
        });
        timed.collect()
    }
}

#[cfg(test)]
mod tests {
    use fleet_model::{Epoch, ShardKey, StartKind, StartOutcome};

    use super::*;
    use fleet::ShardView;

    /// Since when a shard in this state, reported at `now`, is in it.
    fn since(clock: &mut StateClock, owner: &str, status: ShardStatus, now: u64) -> Option<u64> {
        let mut snapshot = Snapshot { role: Role::Acting, ..Snapshot::empty() };
        let (kind, took) = (StartKind::Resumed, Duration::ZERO);
        let outcome = StartOutcome { kind, took, replayed: 0, at_unix_ms: 5, gap: None };
        let key = ShardKey::new(0, 1);
        let report = ShardReport { outcome: Some(outcome), ..ShardReport::bare(key, Epoch(1), status) };
        let (owner, report) = (Some((owner.parse().unwrap(), Epoch(1))), Arc::new(report));
        snapshot.fleet.shards.push(ShardView { key, owner, report, reported_at: None, since_unix_ms: None });
        clock.observe(&mut snapshot, now);
        snapshot.fleet.shards[0].since_unix_ms
    }

    #[test]
    fn state_lasts_since_it_was_first_seen() {
        let mut clock = StateClock::default();
        let mut seen = |owner, status, now| since(&mut clock, owner, status, now);
        assert_eq!(seen("a", ShardStatus::Reconnecting, 10), None, "it began before this coordinator");
        assert_eq!(seen("a", ShardStatus::Reconnecting, 20), None);
        assert_eq!(seen("a", ShardStatus::Ready, 25), Some(5), "since the shard was connected");
        assert_eq!(seen("a", ShardStatus::Resuming, 30), Some(30));
        assert_eq!(seen("a", ShardStatus::Ready, 35), Some(35));
        assert_eq!(seen("a", ShardStatus::Ready, 40), Some(35));
        assert_eq!(seen("b", ShardStatus::Ready, 50), Some(50), "on another worker");
        let mut next = StateClock::default();
        assert_eq!(since(&mut next, "b", ShardStatus::Ready, 60), Some(5), "since the shard was connected");
    }
}

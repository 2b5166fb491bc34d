//! Published snapshots of the coordinator's state: queries read them and never wait for the driver.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleet_model::{Problem, ProblemClock, Routes, ShardStatus};
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
    snapshot: watch::Sender<Arc<Snapshot>>,
    routes: watch::Sender<Arc<Routes>>,
}

pub(crate) fn channel() -> (Publisher, PublishedSnapshot) {
    let (snapshot, snapshot_reader) = watch::channel(Arc::new(Snapshot::empty()));
    let (routes, routes_reader) = watch::channel(Arc::new(Routes::default()));
    (
        Publisher { problems: Mutex::default(), snapshot, routes },
        PublishedSnapshot { snapshot: snapshot_reader, routes: routes_reader },
    )
}

impl Publisher {
    /// Publishes a snapshot, keeping the start time of each lasting problem. Returns the routing table if it changed.
    pub(crate) fn publish(&self, mut snapshot: Snapshot) -> Option<Arc<Routes>> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        let problems = std::mem::take(&mut snapshot.fleet.problems);
        let mut clock = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.fleet.problems = clock.observe(problems, unix_ms);
        drop(clock);
        let known = self.routes.borrow().clone();
        let mut routes = snapshot.fleet.routes(known.revision);
        self.snapshot.send_replace(Arc::new(snapshot));
        if routes == *known {
            return None;
        }
        routes.revision += 1;
        let routes = Arc::new(routes);
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
            Some(TimedReport { worker: worker.clone(), report: shard.report.clone(), age })
        });
        timed.collect()
    }
}

//! The worker's membership in the fleet: registers, reports, applies assignments; keeps the lease or closes every shard.
//!
//! A membership lasts for one incarnation: from a registration until its lease is refused or the process stops. A broken
//! stream does not end it: the shards run on while the lease lasts, the store renews it, and the worker registers again
//! with what it runs. A lapsed lease does not end it either: the shards close their sockets by themselves, keep their
//! sessions, and go on when the lease is back. Only a refusal does: then every shard is closed and the worker registers as a new
//! incarnation.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use fleet_model::{
    Assignment, Epoch, HeadKeyId, Incarnation, MissedUpdate, RefusedDirective, Routes, RoutesUpdate,
    RoutingUpdates, SentReport, ShardKey, ShardReport, ShardSlot, ShardStatus, Term, WorkerId, WorkerReport,
};
use fleet_store::FleetStore;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoints::SignedHeads,
    clock::BootTime,
    config::WorkerConfig,
    coordinator::{CoordinatorConnection, RegisterFailure},
    figures::FigureReader,
    identify::client::Registered,
    lease::Lease,
    metrics::LinkMetrics,
    shard::GatewaySettings,
    shards::ShardSet,
    status::LinkStatus,
};

mod draining;
mod numbers;
mod registration;
mod renewals;
mod session;

use draining::Draining;
use renewals::{Renewals, StoreAnswer};
use session::{ReportDue, SessionEnd};

/// The first wait before a coordinator is tried again that could not be reached; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What the link is given.
pub(crate) struct LinkParts {
    pub(crate) config: WorkerConfig,
    pub(crate) store: Arc<dyn FleetStore>,
    pub(crate) shards: ShardSet,
    /// The coordinator is told of their keys.
    pub(crate) heads: SignedHeads,
    /// Notified whenever a shard's status changes.
    pub(crate) changed: Arc<Notify>,
    pub(crate) advertise_url: String,
    pub(crate) incarnation: Arc<ArcSwap<Incarnation>>,
    pub(crate) routes: watch::Sender<Arc<Routes>>,
    pub(crate) registered: watch::Sender<Option<Registered>>,
    pub(crate) status: watch::Sender<LinkStatus>,
    pub(crate) metrics: LinkMetrics,
    pub(crate) figures: Box<FigureReader>,
}

/// The link can't go on.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorLinkError {
    /// Another worker has the name.
    #[error("--worker-name (WORKER_NAME): {0}")]
    NameTaken(String),
}

/// See the module's documentation.
pub(crate) struct Link {
    parts: LinkParts,
    /// Known once the worker has registered.
    gateway: Option<Arc<GatewaySettings>>,
    worker: WorkerId,
    /// The highest term seen.
    term: Term,
    assignment: Assignment,
    report_sequence: u64,
    /// How it takes the routing table.
    routing: RoutingUpdates,
    /// Directives that this version does not know, to be named in the next report.
    refused: Vec<RefusedDirective>,
    /// It is on its way out.
    draining: Option<Draining>,
    /// All assigned shards were ready since the worker had none.
    ready_logged: bool,
}

/// One incarnation.
struct Membership {
    incarnation: Incarnation,
    lease: Lease,
    /// What the coordinator said; a guess before the first registration.
    ttl: Duration,
    interval: Duration,
    /// The ids that it registered.
    head_keys: Vec<HeadKeyId>,
    renewals: Renewals,
}

impl Membership {
    fn new(incarnation: Incarnation, store: Arc<dyn FleetStore>) -> Self {
        let lease = Lease::default();
        Self {
            renewals: Renewals::start(store, lease.clone()),
            incarnation,
            lease,
            ttl: Duration::from_secs(5),
            interval: Duration::from_secs(1),
            head_keys: Vec::new(),
        }
    }
}

/// How a membership ended.
enum MembershipEnd {
    /// The lease was refused.
    Refused,
    /// The process stops, and everything is given away or closed.
    Stopped,
}

impl Link {
    pub(crate) fn new(parts: LinkParts) -> Self {
        let worker = parts.config.worker.clone();
        Self {
            parts,
            gateway: None,
            worker,
            term: Term(0),
            assignment: Assignment::default(),
            report_sequence: 0,
            routing: RoutingUpdates::Changes,
            refused: Vec::new(),
            draining: None,
            ready_logged: false,
        }
    }

    /// Runs one membership after another until the process is told to stop. Every gateway socket is closed on return.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), CoordinatorLinkError> {
        let mut incarnation: Incarnation = (**self.parts.incarnation.load()).clone();
        let mut wait = FIRST_WAIT;
        loop {
            let began = BootTime::now();
            let end =
                self.run_membership(Membership::new(incarnation, self.parts.store.clone()), &stop).await;
            // Nothing runs on without a lease.
            self.parts.shards.stop_all().await;
            self.parts.registered.send_replace(None);
            match end? {
                MembershipEnd::Stopped => return Ok(()),
                MembershipEnd::Refused => {
                    self.parts.metrics.count_refused();
                    tracing::warn!("lease refused; all shards closed, registering as a new incarnation");
                    self.assignment = Assignment::default();
                    incarnation = process::life::new_incarnation();
                    self.parts.incarnation.store(Arc::new(incarnation.clone()));
                    // A lease that is refused at once, time after time, is no reason to hurry.
                    if BootTime::now().since(began) > LONGEST_WAIT {
                        wait = FIRST_WAIT;
                    } else {
                        let _ = tokio::time::timeout(wait, stop.cancelled()).await;
                        wait = (wait * 2).min(LONGEST_WAIT);
                    }
                }
            }
        }
    }

    async fn run_membership(
        &mut self,
        mut membership: Membership,
        stop: &CancellationToken,
    ) -> Result<MembershipEnd, CoordinatorLinkError> {
        let mut wait = FIRST_WAIT;
        let mut name_taken = None;
        // Where everything is started at once, the first try fails and the next does not: no warning.
        let mut is_first_try = true;
        let mut said = String::new();
        loop {
            let failure = match self.register(&mut membership).await {
                Ok(connection) => {
                    name_taken = None;
                    is_first_try = false;
                    said.clear();
                    let since = BootTime::now();
                    let end = self.serve_session(&mut membership, connection, stop).await;
                    // A stream that breaks at once, time after time, is no reason to hurry.
                    if BootTime::now().since(since) > LONGEST_WAIT {
                        wait = FIRST_WAIT;
                    }
                    match end {
                        SessionEnd::Stopped => return Ok(MembershipEnd::Stopped),
                        SessionEnd::Refused => return Ok(MembershipEnd::Refused),
                        SessionEnd::NewKeys => continue,
                        SessionEnd::Broken(why) => why,
                    }
                }
                Err(RegisterFailure::Revoked) => return Ok(MembershipEnd::Refused),
                Err(RegisterFailure::NameTaken { why, patience }) => {
                    // The longest one counts: what is left of a dead holder's lease shrinks with each answer.
                    let (since, longest) = name_taken.get_or_insert_with(|| (BootTime::now(), patience));
                    *longest = patience.max(*longest);
                    if BootTime::now().since(*since) >= *longest {
                        return Err(CoordinatorLinkError::NameTaken(why));
                    }
                    why
                }
                Err(RegisterFailure::Unreachable(why)) => why,
            };
            self.parts.status.send_modify(|status| status.coordinator = Err(failure.clone()));
            if !std::mem::take(&mut is_first_try) && failure != said {
                tracing::warn!(coordinator = %self.parts.config.coordinator.as_str(), "{failure}");
                said = failure;
            }
            if let Some(end) = self.wait_without_coordinator(&mut membership, wait, stop).await {
                return Ok(end);
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Waits before the next try, renewing the lease through the store meanwhile.
    async fn wait_without_coordinator(
        &mut self,
        membership: &mut Membership,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Option<MembershipEnd> {
        // Shards waiting all at once for a coordinator that comes back would all ask at once.
        let wait = wait.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        // A worker that drains waits for a worker that could take its shards, but not for a coordinator that stopped too.
        if let Some(draining) = &mut self.draining {
            draining.coordinator_lost(Instant::now());
        }
        let waiting = tokio::time::sleep(wait);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                () = stop.cancelled(), if !self.is_stopping() => {
                    self.begin_stopping();
                    if let Some(draining) = &mut self.draining {
                        draining.coordinator_lost(Instant::now());
                    }
                }
                () = until(self.drain_ends_at()) => return Some(MembershipEnd::Stopped),
                () = self.parts.shards.one_closed() => {}
                () = &mut waiting => return None,
                word = membership.renewals.news() => {
                    if !self.take_store_answer(word) {
                        return Some(MembershipEnd::Refused);
                    }
                }
            }
        }
    }

    /// Takes an answer of the store. False when it refused the lease.
    fn take_store_answer(&mut self, word: StoreAnswer) -> bool {
        if word.refused {
            tracing::warn!("store refused the lease");
            return false;
        }
        self.term = self.term.max(word.term);
        self.parts.status.send_if_modified(|status| {
            let news = status.store != word.answers;
            if let (true, Err(error)) = (news, &word.answers) {
                tracing::warn!(%error, "cannot renew the lease through the store");
            }
            status.store = word.answers;
            news
        });
        true
    }

    /// The process is to stop, by a time.
    fn is_stopping(&self) -> bool {
        self.draining.is_some_and(|draining| draining.has_limit())
    }

    fn begin_stopping(&mut self) {
        let held = self.parts.shards.count_running();
        self.draining = Some(Draining::before_stop(self.parts.config.drain_timeout, held, Instant::now()));
    }

    /// Begins the drain that the coordinator requested.
    fn begin_requested_drain(&mut self) {
        let held = self.parts.shards.count_running();
        let timeout = self.parts.config.drain_timeout;
        self.draining.get_or_insert(Draining::requested(timeout, held, Instant::now()));
    }

    fn drain_ends_at(&self) -> Option<Instant> {
        self.draining.and_then(|draining| draining.ends_at())
    }

    /// Applies an assignment.
    fn apply_assignment(&mut self, membership: &Membership, assignment: Assignment) {
        // Registration sets it, and every assignment follows one.
        let Some(gateway) = &self.gateway else { return };
        self.parts.shards.apply(&assignment, membership.lease.window(), gateway);
        self.assignment = assignment;
        self.parts.status.send_modify(|status| status.assigned = self.assignment.shards.len());
    }

    /// Returns the next report.
    fn next_report(&mut self, membership: &mut Membership, leaving: bool) -> SentReport {
        let now = BootTime::now();
        self.forget_departed();
        self.parts.shards.give_up_stuck(membership.ttl / 2, now);
        let reports = self.parts.shards.reports();
        self.log_all_ready(&reports);
        self.report_sequence += 1;
        membership.lease.report_sent(self.report_sequence, now);
        SentReport {
            worker: self.worker.clone(),
            incarnation: membership.incarnation.clone(),
            term: self.term,
            sequence: self.report_sequence,
            refused: std::mem::take(&mut self.refused),
            report: WorkerReport {
                assignment_revision: self.assignment.revision,
                shards: reports,
                released: slots(self.parts.shards.given_up()),
                arrived: slots(&self.parts.shards.copied()),
                rss_bytes: crate::status::resident_bytes().unwrap_or(0),
                draining: self.draining.is_some(),
                leaving,
                store_away: self.parts.status.borrow().store.is_err(),
                figures: Some(self.parts.figures.read()),
                routing: self.routing,
            },
        }
    }

    /// Logs that all assigned shards are ready, once until the worker has none.
    fn log_all_ready(&mut self, reports: &[ShardReport]) {
        let shards = reports.len();
        let ready = |report: &ShardReport| report.status == ShardStatus::Ready;
        let all_ready = shards > 0 && shards == self.assignment.shards.len() && reports.iter().all(ready);
        if all_ready && !self.ready_logged {
            tracing::info!(worker.id = %self.worker, shards, "all shards ready");
        }
        self.ready_logged = shards > 0 && (all_ready || self.ready_logged);
    }

    /// Directives of a newer coordinator are refused by name.
    fn refuse_directive(&mut self, kind: String) {
        let reason = format!("unknown to version {}", env!("CARGO_PKG_VERSION"));
        self.refused.push(RefusedDirective { kind, reason });
    }

    /// Applies an update of the routing table. If one before it is missing, the report that is due at once asks for the whole table.
    fn take_routing_update(&mut self, update: &RoutesUpdate) -> ReportDue {
        let known = self.parts.routes.borrow().clone();
        match known.updated(update.clone()) {
            Ok(newer) => {
                self.routing = RoutingUpdates::Changes;
                if let Some(newer) = newer {
                    self.take_routes(Arc::new(newer));
                }
                ReportDue::InTime
            }
            Err(MissedUpdate) if self.routing == RoutingUpdates::Missed => ReportDue::InTime,
            Err(MissedUpdate) => {
                self.routing = RoutingUpdates::Missed;
                ReportDue::Now
            }
        }
    }

    fn take_routes(&mut self, routes: Arc<Routes>) {
        self.parts.routes.send_if_modified(|known| {
            let newer = routes.is_newer_than(known);
            if newer {
                *known = routes;
            }
            newer
        });
        self.forget_departed();
    }

    fn forget_departed(&mut self) {
        let routes = self.parts.routes.borrow().clone();
        self.parts.shards.forget_departed(&routes, BootTime::now());
    }

    fn announce(&self, membership: &Membership, connection: CoordinatorConnection) {
        let registered = Registered {
            connection,
            worker: self.worker.clone(),
            incarnation: membership.incarnation.clone(),
        };
        self.parts.registered.send_replace(Some(registered));
        self.parts.status.send_modify(|status| {
            status.coordinator = Ok(());
            status.lease = Some(membership.lease.window().clone());
        });
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Returns shards as a report names them.
fn slots(shards: &BTreeMap<ShardKey, Epoch>) -> Vec<(ShardSlot, Epoch)> {
    shards.iter().map(|(shard, epoch)| (shard.slot(), *epoch)).collect()
}

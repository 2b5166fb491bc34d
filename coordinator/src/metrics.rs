//! The coordinator's metrics.

use std::sync::atomic::Ordering;

use fleet_model::{ShardStatus, StartKind, StartOutcome, Term};
use process::telemetry::problems::ProblemMetrics;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

use crate::snapshot::{IdentifyView, PublishedSnapshot};
use fleet::{Finding, Note, PlanState, RevocationCause};

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

/// Bounds of the time from a broken stream to a revoked lease, in seconds: tens of milliseconds by evidence, a TTL else.
const LOSS_SECONDS: [f64; 12] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.5, 15.0, 60.0];

/// Bounds of the time that a shard takes to start, in seconds: a resume takes less than one, an IDENTIFY may wait for long.
const START_SECONDS: [f64; 12] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// Kinds of refused claims: an epoch above the clock, an unlikely total, an owner that is not known, shards of live owners, a full fleet, the exit
/// of a worker that answers.
const CLAIMS: [&str; 6] = ["epoch", "total", "owner", "shard", "workers", "exit"];

/// The coordinator's metrics; clones count into the same.
#[derive(Clone, Debug)]
pub struct CoordinatorMetrics {
    joined: Counter,
    left: Counter,
    exits: Counter,
    lost: Family<Label, Counter>,
    loss_seconds: Family<Label, Histogram, fn() -> Histogram>,
    looks: Family<Label, Counter>,
    plans: Family<Label, Counter>,
    starts: Family<Label, Counter>,
    start_seconds: Family<Label, Histogram, fn() -> Histogram>,
    gaps: Counter,
    replayed: Counter,
    refused: Family<Label, Counter>,
    outranked: Counter,
    asked_back: Counter,
    assigned: Counter,
    granted: Counter,
    used: Counter,
    held_back: Counter,
    waiting: Gauge,
    remaining: Gauge,
    reserve: Gauge,
    term: Gauge,
    store_up: Gauge,
    store_failures: Counter,
    overflows: Counter,
    history_written: Counter,
    history_lost: Counter,
    history_unwritten: Gauge,
    webhooks: Family<Label, Counter>,
}

impl Default for CoordinatorMetrics {
    /// Every label is there from the start, at 0: a rate needs a first value.
    fn default() -> Self {
        let metrics = Self {
            joined: Counter::default(),
            left: Counter::default(),
            exits: Counter::default(),
            lost: Family::default(),
            loss_seconds: Family::new_with_constructor(|| Histogram::new(LOSS_SECONDS)),
            looks: Family::default(),
            plans: Family::default(),
            starts: Family::default(),
            start_seconds: Family::new_with_constructor(|| Histogram::new(START_SECONDS)),
            gaps: Counter::default(),
            replayed: Counter::default(),
            refused: Family::default(),
            outranked: Counter::default(),
            asked_back: Counter::default(),
            assigned: Counter::default(),
            granted: Counter::default(),
            used: Counter::default(),
            held_back: Counter::default(),
            waiting: Gauge::default(),
            remaining: Gauge::default(),
            reserve: Gauge::default(),
            term: Gauge::default(),
            store_up: Gauge::default(),
            store_failures: Counter::default(),
            overflows: Counter::default(),
            history_written: Counter::default(),
            history_lost: Counter::default(),
            history_unwritten: Gauge::default(),
            webhooks: Family::default(),
        };
        for cause in [RevocationCause::Silence, RevocationCause::Evidence] {
            drop(metrics.lost.get_or_create(&[("cause", cause.as_str())]));
            drop(metrics.loss_seconds.get_or_create(&[("cause", cause.as_str())]));
        }
        for outcome in ["accepted", "refused", "failed"] {
            drop(metrics.webhooks.get_or_create(&[("outcome", outcome)]));
        }
        for claim in CLAIMS {
            drop(metrics.refused.get_or_create(&[("claim", claim)]));
        }
        for state in PlanState::ALL {
            drop(metrics.plans.get_or_create(&[("state", state.as_str())]));
        }
        for finding in Finding::ALL {
            drop(metrics.looks.get_or_create(&[("finding", finding.as_str())]));
        }
        for kind in StartKind::ALL {
            drop(metrics.starts.get_or_create(&[("kind", kind.as_str())]));
            drop(metrics.start_seconds.get_or_create(&[("kind", kind.as_str())]));
        }
        metrics
    }
}

impl CoordinatorMetrics {
    /// Registers them, and what is read from the snapshots at each scrape.
    pub fn register(&self, registry: &mut Registry, published: PublishedSnapshot) {
        let counters = [
            ("fleet_workers_joined", "Accepted registrations", &self.joined),
            ("fleet_workers_left", "Workers that handed off their shards and left", &self.left),
            ("fleet_exits_reported", "Reports that a worker's process has ended", &self.exits),
            ("fleet_shards_asked_back", "Shards that their owner was told to release", &self.asked_back),
            ("fleet_shards_assigned", "Shards assigned", &self.assigned),
            ("identify_permits_granted", "Permits to IDENTIFY sent", &self.granted),
            ("identify_permits_used", "Permits to IDENTIFY used", &self.used),
            (
                "identify_held_back",
                "Permit requests held back: budget short or token refused",
                &self.held_back,
            ),
            (
                "fleet_stream_overflows",
                "Streams closed because the worker did not read them",
                &self.overflows,
            ),
            ("fleet_store_failures", "Times the fleet store went away", &self.store_failures),
            (
                "fleet_owners_outranked",
                "Owner records that the store refused for a higher epoch",
                &self.outranked,
            ),
            ("history_written", "Entries of the history written to the store", &self.history_written),
            (
                "history_lost",
                "Events that the history lacks, as too many entries waited for the store",
                &self.history_lost,
            ),
            ("fleet_gaps", "Starts of shards that lost events, or may have", &self.gaps),
            (
                "fleet_replayed_events",
                "Events that were delivered to handlers again, marked as replayed",
                &self.replayed,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            ("identify_waiting", "Shards that wait for a permit", &self.waiting),
            ("identify_remaining", "IDENTIFYs left today", &self.remaining),
            ("identify_reserve", "IDENTIFYs in the reserve", &self.reserve),
            ("fleet_term", "Term of this coordinator; 0 while it does not act", &self.term),
            (
                "history_unwritten",
                "Entries of the history that are not in the store yet",
                &self.history_unwritten,
            ),
            ("fleet_store_up", "1 while the fleet store answers", &self.store_up),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "fleet_workers_lost",
            "Workers whose lease was revoked, by cause",
            self.lost.clone(),
        );
        registry.register(
            "fleet_worker_loss_seconds",
            "From a worker's broken stream to its revoked lease, by cause",
            self.loss_seconds.clone(),
        );
        registry.register(
            "fleet_evidence_looks",
            "Probes of the address of a worker whose stream broke, by result",
            self.looks.clone(),
        );
        registry.register(
            "fleet_claims_refused",
            "Refused claims of workers and supervisors, by kind",
            self.refused.clone(),
        );
        registry.register(
            "problem_webhooks",
            "Requests to the problems webhook, by outcome",
            self.webhooks.clone(),
        );
        registry.register("fleet_plans", "State changes of plans", self.plans.clone());
        registry.register("fleet_shard_starts", "Connected shards, by kind of start", self.starts.clone());
        registry.register(
            "fleet_shard_start_seconds",
            "From the first attempt to READY with all guilds, or to RESUMED, by kind",
            self.start_seconds.clone(),
        );
        registry.register_collector(Box::new(FleetCollector(published)));
    }

    /// Counts a refused claim; `claim` is one of [`CLAIMS`].
    pub(crate) fn count_refused(&self, claim: &'static str) {
        self.refused.get_or_create(&[("claim", claim)]).inc();
    }

    /// Counts a supervisor's exit report.
    pub(crate) fn count_exit(&self) {
        self.exits.inc();
    }

    pub(crate) fn count_note(&self, note: &Note) {
        match note {
            Note::Joined { .. } => self.joined.inc(),
            Note::Left { .. } => self.left.inc(),
            Note::Lost { cause, since_broken, .. } => {
                let label = [("cause", cause.as_str())];
                if let Some(since) = since_broken {
                    self.loss_seconds.get_or_create(&label).observe(since.as_secs_f64());
                }
                self.lost.get_or_create(&label).inc()
            }
            Note::Probed { finding, .. } => self.looks.get_or_create(&[("finding", finding.as_str())]).inc(),
            Note::Started { outcome, .. } => self.count_start(outcome),
            Note::Releasing { .. } => self.asked_back.inc(),
            Note::Assigned { .. } => self.assigned.inc(),
            Note::Plan { state, .. } => self.plans.get_or_create(&[("state", state.as_str())]).inc(),
            Note::Contested { shards, .. } => {
                self.refused.get_or_create(&[("claim", "shard")]).inc_by(*shards as u64)
            }
            Note::Outranked { .. } => self.outranked.inc(),
            Note::Moving { .. }
            | Note::Draining { .. }
            | Note::Adopted(_)
            | Note::TotalSettled(_)
            | Note::Readmitted(_) => 0,
        };
    }

    fn count_start(&self, outcome: &StartOutcome) -> u64 {
        let label = [("kind", outcome.kind.as_str())];
        self.start_seconds.get_or_create(&label).observe(outcome.took.as_secs_f64());
        self.gaps.inc_by(outcome.gap.is_some().into());
        self.replayed.inc_by(outcome.replayed);
        self.starts.get_or_create(&label).inc()
    }

    /// Counts a request to the problems webhook.
    pub(crate) fn count_webhook(&self, outcome: &'static str) {
        self.webhooks.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Returns how many requests to the webhook had this outcome.
    #[cfg(test)]
    pub(crate) fn webhooks(&self, outcome: &'static str) -> u64 {
        self.webhooks.get_or_create(&[("outcome", outcome)]).get()
    }

    pub(crate) fn count_history_written(&self, entries: u64) {
        self.history_written.inc_by(entries);
    }

    pub(crate) fn count_history_lost(&self, events: u64) {
        self.history_lost.inc_by(events);
    }

    pub(crate) fn set_history_unwritten(&self, entries: usize) {
        self.history_unwritten.set(entries as i64);
    }

    pub(crate) fn count_identify_granted(&self) {
        self.granted.inc();
    }

    pub(crate) fn count_identify_used(&self) {
        self.used.inc();
    }

    pub(crate) fn count_identify_held_back(&self) {
        self.held_back.inc();
    }

    pub(crate) fn count_stream_overflow(&self) {
        self.overflows.inc();
    }

    pub(crate) fn set_identify(&self, view: &IdentifyView) {
        self.waiting.set(view.waiting.into());
        self.remaining.set(view.remaining.into());
        self.reserve.set(view.reserve.into());
    }

    pub(crate) fn set_acting(&self, term: Option<Term>) {
        self.term.set(term.map_or(0, |term| term.0 as i64));
    }

    /// True when this is news.
    pub(crate) fn set_store_up(&self, up: bool) -> bool {
        let before = self.store_up.inner().swap(up.into(), Ordering::Relaxed);
        let news = before != i64::from(up);
        if news && !up {
            self.store_failures.inc();
        }
        news
    }
}

/// Reads the newest snapshot at each scrape, so that no figure outlives what it is about.
#[derive(Debug)]
struct FleetCollector(PublishedSnapshot);

impl Collector for FleetCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let snapshot = self.0.snapshot.borrow().clone();
        let unplaced = snapshot.fleet.shards.iter().filter(|shard| shard.owner.is_none()).count();
        let held = snapshot.fleet.held_back;
        let figures = [
            ("fleet_workers", "Workers in the fleet", snapshot.fleet.workers.len()),
            ("fleet_shards_unplaced", "Shards without an owner", unplaced),
            (
                "fleet_workers_held_back",
                "Workers that died repeatedly and get no shards for now",
                held.workers,
            ),
            (
                "fleet_shards_held_back",
                "Shards whose owners died repeatedly and that get no owner for now",
                held.shards,
            ),
        ];
        for (name, help, figure) in figures {
            let gauge = ConstGauge::new(figure as i64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }

        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut descriptor = encoder.encode_descriptor("fleet_shards", "Shards, by status", None, kind)?;
        for status in ShardStatus::ALL {
            let count = snapshot.fleet.shards.iter().filter(|shard| shard.report.status == status).count();
            let labels = [("status", status.as_str())];
            ConstGauge::new(count as i64).encode(descriptor.encode_family(&labels)?)?;
        }
        let problems = ProblemMetrics::default();
        problems.set(&snapshot.fleet.problems);
        problems.encode(encoder)
    }
}

//! What the coordinator counts.

use std::sync::atomic::Ordering;

use fleet_model::{ShardStatus, Term};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{
        counter::Counter,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};

use crate::{
    fleet::Note,
    snapshot::{IdentifyView, Published},
};

/// The coordinator's metrics; clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct CoordinatorMetrics {
    joined: Counter,
    left: Counter,
    lost: Counter,
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
}

impl CoordinatorMetrics {
    /// Registers them, and what is read from the snapshots at each scrape.
    pub fn register(&self, registry: &mut Registry, published: Published) {
        let counters = [
            ("fleet_workers_joined", "Registrations taken", &self.joined),
            ("fleet_workers_left", "Workers that gave their shards away and left", &self.left),
            ("fleet_workers_lost", "Workers whose lease was revoked", &self.lost),
            ("fleet_shards_asked_back", "Shards asked back from their owner", &self.asked_back),
            ("fleet_shards_assigned", "Shards assigned", &self.assigned),
            ("identify_permits_granted", "Permits to IDENTIFY sent", &self.granted),
            ("identify_permits_used", "Permits to IDENTIFY used", &self.used),
            (
                "identify_held_back",
                "Wishes to IDENTIFY held back: budget short or token refused",
                &self.held_back,
            ),
            (
                "fleet_stream_overflows",
                "Streams closed because the worker did not read them",
                &self.overflows,
            ),
            ("fleet_store_failures", "Times the fleet store went away", &self.store_failures),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            ("identify_waiting", "Shards that wait for a permit", &self.waiting),
            ("identify_remaining", "IDENTIFYs left today", &self.remaining),
            ("identify_reserve", "IDENTIFYs kept back", &self.reserve),
            ("fleet_term", "Term of this coordinator; 0 while it does not act", &self.term),
            ("fleet_store_up", "1 while the fleet store answers", &self.store_up),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register_collector(Box::new(FleetCollector(published)));
    }

    pub(crate) fn count_note(&self, note: &Note) {
        match note {
            Note::Joined { .. } => self.joined.inc(),
            Note::Left(_) => self.left.inc(),
            Note::Lost { .. } => self.lost.inc(),
            Note::Releasing { .. } => self.asked_back.inc(),
            Note::Assigned(_) => self.assigned.inc(),
            Note::TotalSettled(_) => 0,
        };
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
struct FleetCollector(Published);

impl Collector for FleetCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let snapshot = self.0.snapshot.borrow().clone();
        let workers = ConstGauge::new(snapshot.fleet.workers.len() as i64);
        let descriptor = encoder.encode_descriptor(
            "fleet_workers",
            "Workers in the fleet",
            None,
            workers.metric_type(),
        )?;
        workers.encode(descriptor)?;

        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut descriptor = encoder.encode_descriptor("fleet_shards", "Shards, by status", None, kind)?;
        for status in ShardStatus::ALL {
            let count = snapshot.fleet.shards.iter().filter(|shard| shard.report.status == status).count();
            let labels = [("status", status.as_str())];
            ConstGauge::new(count as i64).encode(descriptor.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

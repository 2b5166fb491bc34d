//! What the bridge counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Seconds; the default deadline is 2.
const BUCKETS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// How asking one worker ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AskOutcome {
    /// With an answer.
    Answered,
    /// With an error, or no connection.
    Failed,
    /// Not by the deadline.
    TooLate,
}

impl AskOutcome {
    const ALL: [Self; 3] = [Self::Answered, Self::Failed, Self::TooLate];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::TooLate => "too_late",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AskedLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

/// The bridge's metrics; clones count into the same.
#[derive(Clone, Debug)]
pub struct BridgeMetrics {
    asked: Family<AskedLabels, Counter>,
    seconds: Family<MethodLabels, Histogram, fn() -> Histogram>,
    dropped: Counter,
}

impl Default for BridgeMetrics {
    fn default() -> Self {
        Self {
            asked: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            dropped: Counter::default(),
        }
    }
}

impl BridgeMetrics {
    /// Registers them. The outcomes are there from the start, at 0: a rate needs a first value.
    pub fn register(&self, registry: &mut Registry) {
        for outcome in AskOutcome::ALL {
            drop(self.asked.get_or_create(&AskedLabels { outcome: outcome.as_str() }));
        }
        registry.register("bridge_asked", "Workers asked, by how it ended", self.asked.clone());
        registry.register(
            "bridge_answer_seconds",
            "Time to answer a bridge call, by method",
            self.seconds.clone(),
        );
        registry.register(
            "bridge_dropped_deliveries",
            "Messages that a local subscriber was too slow to take",
            self.dropped.clone(),
        );
    }

    pub(crate) fn count_asked(&self, outcome: AskOutcome) {
        self.asked.get_or_create(&AskedLabels { outcome: outcome.as_str() }).inc();
    }

    pub(crate) fn observe(&self, method: &'static str, since: tokio::time::Instant) {
        self.seconds.get_or_create(&MethodLabels { method }).observe(since.elapsed().as_secs_f64());
    }

    pub(crate) fn count_dropped(&self) {
        self.dropped.inc();
    }
}

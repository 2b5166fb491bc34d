//! What the relay counts.

use std::time::Duration;

use delays::{DelayCounts, Delays};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Seconds.
const BUCKETS: [f64; 9] = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

/// What becomes of bots' commands: the label values of `relay_commands_total`.
const OUTCOMES: [&str; 6] = ["sent", "refused", "replaced", "waits", "given_up", "cut"];

/// A consumer group of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Group {
    pub(crate) stream: String,
    pub(crate) group: String,
}

/// A command's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// The metrics; clones count into the same.
#[derive(Clone, Debug)]
pub struct RelayMetrics {
    appended: Counter,
    repeated: Counter,
    bytes: Counter,
    garbled: Counter,
    failures: Counter,
    lost_writes: Counter,
    gaps: Counter,
    rewound: Counter,
    outranked: Counter,
    cut: Counter,
    waiting: Gauge,
    seconds: Histogram,
    delays: Delays,
    commands: Family<OutcomeLabels, Counter>,
    pub(crate) lag: Family<Group, Gauge>,
    pub(crate) unacknowledged: Family<Group, Gauge>,
    pub(crate) cut_unread: Family<Group, Counter>,
}

impl Default for RelayMetrics {
    fn default() -> Self {
        Self {
            appended: Counter::default(),
            repeated: Counter::default(),
            bytes: Counter::default(),
            garbled: Counter::default(),
            failures: Counter::default(),
            lost_writes: Counter::default(),
            gaps: Counter::default(),
            rewound: Counter::default(),
            outranked: Counter::default(),
            cut: Counter::default(),
            waiting: Gauge::default(),
            seconds: Histogram::new(BUCKETS),
            delays: Delays::default(),
            commands: Family::default(),
            lag: Family::default(),
            unacknowledged: Family::default(),
            cut_unread: Family::default(),
        }
    }
}

impl RelayMetrics {
    /// Registers them. The outcomes of commands are there from the start, at 0: a rate needs a first value.
    pub fn register(&self, registry: &mut Registry) {
        for outcome in OUTCOMES {
            drop(self.commands.get_or_create(&OutcomeLabels { outcome }));
        }
        let counters = [
            ("relay_events", "Events that were put into the relay's streams", &self.appended),
            ("relay_repeated", "Events that were there already", &self.repeated),
            ("relay_bytes", "Size of what was put into the streams, in bytes", &self.bytes),
            ("relay_garbled", "Events that could not be encoded and became gaps", &self.garbled),
            (
                "relay_failures",
                "Times that the streams did not take events; they are sent again",
                &self.failures,
            ),
            ("relay_lost_writes", "Times that the relay's Redis had lost its last writes", &self.lost_writes),
            ("relay_gaps", "Gaps told because it had lost more than was kept", &self.gaps),
            ("relay_rewound", "Fences ahead of their shard's session that were moved back", &self.rewound),
            (
                "relay_outranked",
                "Times that another worker relayed the shard, or another bot",
                &self.outranked,
            ),
            ("relay_cut", "Entries that were cut off because a stream was at its cap", &self.cut),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "relay_waiting",
            "Events that the streams have not taken yet",
            self.waiting.clone(),
        );
        registry.register("relay_append_seconds", "How long a batch took", self.seconds.clone());
        registry.register(
            "relay_commands",
            "What bots sent to the gateway, by outcome",
            self.commands.clone(),
        );
        registry.register("relay_group_lag", "Entries that a consumer group has not read", self.lag.clone());
        registry.register(
            "relay_group_unacknowledged",
            "Entries that a consumer group has read and not acknowledged",
            self.unacknowledged.clone(),
        );
        registry.register(
            "relay_group_cut",
            "Entries that were cut off before a consumer group had read them",
            self.cut_unread.clone(),
        );
    }

    /// Returns how many events the streams have not taken yet.
    pub fn waiting_count(&self) -> u64 {
        u64::try_from(self.waiting.get()).unwrap_or(0)
    }

    /// Returns how many times the streams did not take events.
    pub fn failure_count(&self) -> u64 {
        self.failures.get()
    }

    /// Returns how long events took from their receipt until the streams had them.
    pub fn delay_counts(&self) -> DelayCounts {
        self.delays.counts()
    }

    pub(crate) fn count_delay(&self, delay: Duration) {
        self.delays.count(delay);
    }

    pub(crate) fn count_appended(
        &self,
        appended: u64,
        repeated: u64,
        bytes: usize,
        cut: u64,
        took: Duration,
    ) {
        self.appended.inc_by(appended);
        self.repeated.inc_by(repeated);
        self.bytes.inc_by(bytes as u64);
        self.cut.inc_by(cut);
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn count_cut(&self, cut: u64) {
        self.cut.inc_by(cut);
    }

    pub(crate) fn count_garbled(&self) {
        self.garbled.inc();
    }

    pub(crate) fn count_failure(&self) {
        self.failures.inc();
    }

    pub(crate) fn count_lost_writes(&self) {
        self.lost_writes.inc();
    }

    pub(crate) fn count_gap(&self) {
        self.gaps.inc();
    }

    pub(crate) fn count_rewound(&self) {
        self.rewound.inc();
    }

    pub(crate) fn count_outranked(&self) {
        self.outranked.inc();
    }

    pub(crate) fn waiting(&self, more: i64) {
        self.waiting.inc_by(more);
    }

    pub(crate) fn count_command(&self, outcome: &'static str) {
        self.count_commands(outcome, 1);
    }

    pub(crate) fn count_commands(&self, outcome: &'static str, count: u64) {
        self.commands.get_or_create(&OutcomeLabels { outcome }).inc_by(count);
    }
}

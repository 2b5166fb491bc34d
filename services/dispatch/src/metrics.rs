//! What dispatch counts.
//!
//! One set is shared by all shards of a process. It owns the counters and the rule which kinds get some of their own: Discord's
//! event names are a closed set of about 80, but they come from outside, so what is no name (`[A-Z_]`, 1 to 64 of them)
//! and all after the first 128 count as `OTHER`. How long a queue is and how old its oldest event is not counted here: the code that
//! knows the shards reads it from [`Dispatcher::figures`](crate::Dispatcher::figures) at each scrape.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use delays::{DelayCounts, Delays};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Seconds. A handler that answers an interaction has 3.
const BUCKETS: [f64; 10] = [0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 30.0];

const KINDS: usize = 128;
const LONGEST_KIND: usize = 64;
const OTHER: &str = "OTHER";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: Arc<str>,
}

/// What is counted of one kind. Kept together, so that an event costs one look-up.
#[derive(Clone, Debug)]
struct KindMetrics {
    seconds: Histogram,
    handled: Counter,
    panics: Counter,
    shed: Counter,
    set_aside: Counter,
}

/// The metrics; clones count into the same.
#[derive(Clone, Debug)]
pub struct DispatchMetrics {
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
    handled: Family<Labels, Counter>,
    panics: Family<Labels, Counter>,
    shed: Family<Labels, Counter>,
    set_aside: Family<Labels, Counter>,
    set_aside_forgotten: Counter,
    overflows: Counter,
    delays: Delays,
    shed_count: Arc<AtomicU64>,
    kinds: Arc<RwLock<HashMap<Arc<str>, KindMetrics>>>,
    other: KindMetrics,
}

impl Default for DispatchMetrics {
    fn default() -> Self {
        let seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let (handled, panics) = (Family::default(), Family::default());
        let (shed, set_aside) = (Family::default(), Family::default());
        let other = of_kind(OTHER, &seconds, [&handled, &panics, &shed, &set_aside]);
        let (set_aside_forgotten, overflows) = (Counter::default(), Counter::default());
        let kinds = Arc::default();
        let (delays, shed_count) = (Delays::default(), Arc::default());
        Self {
            seconds,
            handled,
            panics,
            shed,
            set_aside,
            set_aside_forgotten,
            overflows,
            delays,
            shed_count,
            kinds,
            other,
        }
    }
}

impl DispatchMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("dispatch_handler_seconds", "Time in the handler, by kind", self.seconds.clone());
        for (name, help, family) in [
            ("dispatch_handled", "Events whose handler ended, by kind; panics included", &self.handled),
            ("dispatch_panics", "Handlers that panicked, by kind", &self.panics),
            ("dispatch_shed", "Events left out because the queue was full for long, by kind", &self.shed),
            (
                "dispatch_set_aside",
                "Events set aside because their handlers killed workers, by kind",
                &self.set_aside,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register(
            "dispatch_set_aside_forgotten",
            "Events that had been set aside and went to make room for others",
            self.set_aside_forgotten.clone(),
        );
        registry.register(
            "dispatch_overflows",
            "Times that a shard's queue was full and its socket was closed for it",
            self.overflows.clone(),
        );
    }

    /// Counts an event that was left out; the caller of [`ShedOrder::sheds`](crate::ShedOrder::sheds) counts.
    pub fn count_shed(&self, kind: &str) {
        self.of(kind, |of_kind| of_kind.shed.inc());
        self.shed_count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an event that was set aside, and the earlier ones that were forgotten to make room.
    pub fn count_set_aside(&self, kind: &str, forgotten: u32) {
        self.of(kind, |of_kind| of_kind.set_aside.inc());
        self.set_aside_forgotten.inc_by(forgotten.into());
    }

    /// Counts a full queue; the caller of [`Pressure::overflowed`](crate::Pressure::overflowed) counts.
    pub fn count_overflow(&self) {
        self.overflows.inc();
    }

    /// Returns how many events were left out.
    pub fn shed_count(&self) -> u64 {
        self.shed_count.load(Ordering::Relaxed)
    }

    /// Returns how long events waited for their handlers.
    pub fn delay_counts(&self) -> DelayCounts {
        self.delays.counts()
    }

    pub(crate) fn count_delay(&self, delay: Duration) {
        self.delays.count(delay);
    }

    pub(crate) fn count_handled(&self, kind: &str, took: Duration, panicked: bool) {
        self.of(kind, |of_kind| {
            of_kind.seconds.observe(took.as_secs_f64());
            of_kind.handled.inc();
            if panicked {
                of_kind.panics.inc();
            }
        });
    }

    fn of<R>(&self, kind: &str, count: impl FnOnce(&KindMetrics) -> R) -> R {
        if let Some(known) = self.kinds.read().unwrap_or_else(PoisonError::into_inner).get(kind) {
            return count(known);
        }
        if !is_name(kind) {
            return count(&self.other);
        }
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= KINDS && !kinds.contains_key(kind) {
            return count(&self.other);
        }
        let counted = [&self.handled, &self.panics, &self.shed, &self.set_aside];
        let new = || of_kind(kind, &self.seconds, counted);
        count(kinds.entry(kind.into()).or_insert_with(new))
    }
}

fn is_name(kind: &str) -> bool {
    let spelt = kind.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    (1..=LONGEST_KIND).contains(&kind.len()) && spelt
}

fn of_kind(
    kind: &str,
    seconds: &Family<Labels, Histogram, fn() -> Histogram>,
    [handled, panics, shed, set_aside]: [&Family<Labels, Counter>; 4],
) -> KindMetrics {
    let labels = Labels { kind: kind.into() };
    KindMetrics {
        seconds: seconds.get_or_create_owned(&labels),
        handled: handled.get_or_create_owned(&labels),
        panics: panics.get_or_create_owned(&labels),
        shed: shed.get_or_create_owned(&labels),
        set_aside: set_aside.get_or_create_owned(&labels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &DispatchMetrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn counts_by_kind() {
        let metrics = DispatchMetrics::default();
        metrics.count_handled("MESSAGE_CREATE", Duration::from_millis(20), false);
        metrics.count_handled("MESSAGE_CREATE", Duration::from_millis(20), true);
        metrics.clone().count_shed("TYPING_START");
        metrics.count_set_aside("MESSAGE_CREATE", 3);
        metrics.count_overflow();
        let text = text(&metrics);
        for line in [
            r#"dispatch_handled_total{kind="MESSAGE_CREATE"} 2"#,
            r#"dispatch_panics_total{kind="MESSAGE_CREATE"} 1"#,
            r#"dispatch_handler_seconds_count{kind="MESSAGE_CREATE"} 2"#,
            r#"dispatch_handler_seconds_bucket{le="0.03",kind="MESSAGE_CREATE"} 2"#,
            r#"dispatch_shed_total{kind="TYPING_START"} 1"#,
            r#"dispatch_set_aside_total{kind="MESSAGE_CREATE"} 1"#,
            "dispatch_set_aside_forgotten_total 3",
            "dispatch_overflows_total 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in {text}");
        }
    }

    #[test]
    fn outside_names_do_not_grow_the_metrics_without_bound() {
        let metrics = DispatchMetrics::default();
        for bad in ["", "message_create", "A B", "É", "A\"", &"A".repeat(65)] {
            metrics.count_shed(bad);
        }
        assert_eq!(metrics.other.shed.get(), 6);
        let name = |n: u8| format!("{}_{}", char::from(b'A' + n / 26), char::from(b'A' + n % 26));
        for n in 0..=u8::MAX {
            metrics.count_shed(&name(n));
        }
        assert_eq!(metrics.other.shed.get(), 6 + 256 - 128);
        metrics.count_shed(&name(0));
        assert_eq!(metrics.other.shed.get(), 6 + 256 - 128, "the first ones are still known");
        let series = text(&metrics).lines().filter(|line| line.starts_with("dispatch_shed_total")).count();
        assert_eq!(series, 128 + 1);
    }
}

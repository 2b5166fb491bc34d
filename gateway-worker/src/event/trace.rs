//! The trace of one event: whether it has one, and its spans from the socket to the handler.
//!
//! Whether an event is traced is decided once, when it is queued. An event that is not traced costs one comparison and makes no
//! span; without a collector none is traced.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dispatch::Item;
use fleet_model::{Epoch, ShardEvent, ShardKey};
use process::telemetry::{SpanKind, TimedSpan, exports_spans, trace_context};
use tracing::Span;

/// Events of this name are always traced: a user waits for the answer.
const ALWAYS: &str = "INTERACTION_CREATE";

/// The ratio of events that are traced. Interactions are always traced unless the ratio is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TracedRatio(f64);

impl Default for TracedRatio {
    /// One in 1,000.
    fn default() -> Self {
        Self(0.001)
    }
}

impl FromStr for TracedRatio {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ratio = text.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.map(Self).ok_or("it takes a ratio from 0 (no event) to 1 (every event), such as 0.001")
    }
}

impl fmt::Display for TracedRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Decides which events of one shard are traced. One task asks.
#[derive(Debug)]
pub(crate) struct EventSampling {
    shard: ShardKey,
    epoch: Epoch,
    /// 0: no event is traced.
    ratio: f64,
    /// How many events are left out before the next one is traced.
    left_out: AtomicU32,
}

impl EventSampling {
    /// Traces no event when no spans are exported.
    pub(crate) fn of_shard(shard: ShardKey, epoch: Epoch, TracedRatio(ratio): TracedRatio) -> Self {
        let ratio = if exports_spans() { ratio } else { 0.0 };
        Self { shard, epoch, ratio, left_out: AtomicU32::new(gap(ratio, rand::random())) }
    }

    /// Begins the trace of an event that is about to be queued, if it has one.
    pub(crate) fn begin(&self, event: &mut ShardEvent) -> Option<Box<EventTrace>> {
        if self.takes(&event.name) { EventTrace::begin(event, self.shard, self.epoch) } else { None }
    }

    fn takes(&self, name: &str) -> bool {
        if self.ratio <= 0.0 {
            return false;
        }
        if name == ALWAYS {
            return true;
        }
        let left_out = self.left_out.load(Ordering::Relaxed);
        let next = left_out.checked_sub(1).unwrap_or_else(|| gap(self.ratio, rand::random()));
        self.left_out.store(next, Ordering::Relaxed);
        left_out == 0
    }
}

/// Returns how many events are left out before the next one, so that each is traced with the same probability. `random`: from 0 to
/// below 1.
fn gap(ratio: f64, random: f64) -> u32 {
    if ratio >= 1.0 {
        return 0;
    }
    // Saturates, also for ratios that 1.0 - ratio would round away.
    ((1.0 - random).ln() / (-ratio).ln_1p()) as u32
}

/// A traced event. Its trace ends when it is dropped.
#[derive(Debug)]
pub(crate) struct EventTrace {
    whole: TimedSpan,
    queued_at: SystemTime,
}

impl EventTrace {
    fn begin(event: &mut ShardEvent, shard: ShardKey, epoch: Epoch) -> Option<Box<Self>> {
        let received_at = UNIX_EPOCH + Duration::from_millis(event.received_at_unix_ms);
        let whole = TimedSpan::root("gateway_event", SpanKind::Consumer, received_at)?;
        whole.set("event.name", event.name.to_string());
        whole.set("event.sequence", event.position.sequence as i64);
        whole.set("event.replayed", event.mark.is_late());
        whole.set("shard.id", i64::from(shard.slot().0));
        whole.set("epoch", epoch.0 as i64);
        if let Some(guild) = event.guild {
            whole.set("guild.id", guild.to_string());
        }
        event.traceparent = Some(Arc::from(whole.traceparent()));
        Some(Box::new(Self { whole, queued_at: SystemTime::now() }))
    }

    /// Ends the wait in the queue, and returns the span in which the event is handled.
    pub(crate) fn handling<T>(&self, item: &Item<T>, shard: ShardKey, epoch: Epoch) -> Span {
        drop(self.whole.child("queue_wait", SpanKind::Internal, self.queued_at));
        let span = tracing::info_span!(
            parent: None,
            "handle_event",
            kind = &*item.kind,
            sequence = item.sequence,
            shard.id = shard.slot().0,
            epoch = epoch.0
        );
        self.whole.adopt(&span);
        span
    }

    /// Returns the `traceparent` for calls that the current handler makes.
    pub(crate) fn of_calls(&self) -> String {
        // The handler's span does not exist if RUST_LOG leaves it out.
        trace_context::current_traceparent().unwrap_or_else(|| self.whole.traceparent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SHARD;

    fn sampling(ratio: f64) -> EventSampling {
        EventSampling { shard: SHARD, epoch: Epoch(1), ratio, left_out: AtomicU32::new(gap(ratio, 0.5)) }
    }

    fn taken(ratio: f64, name: &str, events: usize) -> usize {
        let sampling = sampling(ratio);
        (0..events).filter(|_| sampling.takes(name)).count()
    }

    #[test]
    fn interactions_are_traced_always_and_others_by_ratio() {
        assert_eq!(taken(0.001, ALWAYS, 100), 100);
        assert_eq!(taken(0.0, ALWAYS, 100), 0);
        assert_eq!(taken(0.0, "MESSAGE_CREATE", 100), 0);
        assert_eq!(taken(1.0, "MESSAGE_CREATE", 100), 100);
        // 1,000 expected; outside this range less than once in 10^20.
        assert!((700..=1_300).contains(&taken(0.01, "MESSAGE_CREATE", 100_000)));
    }

    #[test]
    fn gaps_are_bounded() {
        assert_eq!((gap(1.0, 0.9), gap(0.5, 0.0), gap(0.0, 0.5)), (0, 0, u32::MAX));
        assert!((690..=695).contains(&gap(0.001, 0.5)), "the median of one in 1,000");
        for tiny in [f64::MIN_POSITIVE, 1e-17, 1e-12] {
            assert_eq!(gap(tiny, 0.999), u32::MAX, "{tiny}");
        }
    }

    #[test]
    fn ratio_is_checked() {
        for (text, fits) in [
            ("0", true),
            ("0.001", true),
            ("1", true),
            ("1.1", false),
            ("-0.1", false),
            ("NaN", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<TracedRatio>().is_ok(), fits, "{text}");
        }
    }
}

//! What the spans of one event cost: `cargo bench -p process --bench spans`.
//!
//! Makes the spans of an event with a handler, as a worker does, without the handler. The collector is away, as its queue is full at
//! this rate in any case. Prints processor time of this thread, so the exporter's own thread does not count.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is how it fails"
)]

use std::{
    hint::black_box,
    time::{Duration, SystemTime},
};

use process::telemetry::{self, Service, SpanKind, TimedSpan, trace_context};
use rustix::time::{ClockId, clock_gettime};
use tracing::Instrument as _;

const EVENTS: u32 = 200_000;

fn main() {
    // `always_off` decides against each trace when it begins.
    let sampler = std::env::var("OTEL_TRACES_SAMPLER").unwrap_or_else(|_| "parentbased_always_on".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let entered = runtime.enter();
    let service = Service { name: "spans", instance: "1".to_owned() };
    let _telemetry = telemetry::init(&service, "error").unwrap();
    drop(entered);
    println!("spans are exported: {}; sampler: {sampler}", telemetry::exports_spans());
    for name in ["warm-up", "a traced event", "with its traceparent sent on"] {
        let began = cpu();
        for sequence in 0..EVENTS {
            futures_util::FutureExt::now_or_never(event(sequence, name.starts_with("with")));
        }
        println!("{name:30} {:>7.2} us", cpu().saturating_sub(began).as_secs_f64() * 1e6 / f64::from(EVENTS));
    }
}

/// The spans of one event, as the worker's `event/trace.rs` makes them.
async fn event(sequence: u32, calls: bool) {
    let received_at = SystemTime::now();
    let Some(whole) = TimedSpan::root("gateway_event", SpanKind::Consumer, received_at) else { return };
    whole.set("event.name", "MESSAGE_CREATE".to_owned());
    whole.set("event.sequence", i64::from(sequence));
    whole.set("event.replayed", false);
    whole.set("shard.id", 3);
    whole.set("epoch", 1_796_013_878_895);
    whole.set("guild.id", "613483232677092873".to_owned());
    black_box(whole.traceparent());
    drop(whole.child("queue_wait", SpanKind::Internal, received_at));
    let span = tracing::info_span!(
        parent: None,
        "handle_event",
        kind = "MESSAGE_CREATE",
        sequence,
        shard.id = 3,
        epoch = 1_796_013_878_895_u64
    );
    whole.adopt(&span);
    let handled = async {
        if calls {
            black_box(trace_context::current_traceparent());
        }
    };
    handled.instrument(span).await;
}

/// Processor time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

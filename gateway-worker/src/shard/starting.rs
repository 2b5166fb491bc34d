//! The trace of a shard's way to ready: one span for the whole, one for each step, and the coordinator's queue in between.

use fleet_model::ShardStatus;
use tracing::{Span, field};

use super::Shard;

/// A shard on its way. Dropped before it is ready, it has not come there.
#[derive(Debug)]
pub(super) struct Starting {
    whole: Span,
    /// Open until the next step begins.
    step: Span,
}

impl Starting {
    /// Begins the trace with the step of connecting; whoever asks the coordinator for this shard continues it.
    pub(super) fn begin(shard: &Shard) -> Self {
        let whole = tracing::info_span!(
            parent: None,
            "shard.start",
            shard_id = shard.number().0,
            epoch = shard.epoch().0,
            how = field::Empty,
            outcome = "not ready",
        );
        shard.set_traceparent(telemetry::trace_context::traceparent_of(&whole));
        let mut starting = Self { whole, step: Span::none() };
        starting.step("connect");
        starting
    }

    /// The step before ends, this one begins.
    pub(super) fn step(&mut self, name: &'static str) {
        self.step = tracing::info_span!(parent: &self.whole, "shard.step", otel.name = name);
    }

    /// IDENTIFY or RESUME goes out.
    pub(super) fn greets(&mut self, how: &'static str) {
        self.whole.record("how", how);
        self.step(how);
    }

    /// It has come there.
    pub(super) fn ready(self) {
        self.whole.record("outcome", field::display(ShardStatus::Ready));
    }
}

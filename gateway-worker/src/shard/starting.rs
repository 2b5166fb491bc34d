//! The trace of a shard's start: one span for the whole, one for each step, and the coordinator's queue in between. A failed
//! attempt ends its trace, and the next one begins another, so that no trace grows without end. A shard that comes from another
//! worker starts in the trace of its handoff or failover, for a minute at most.

use fleet_model::StartOutcome;
use process::telemetry::trace_context;
use tracing::{Span, field};

use crate::shard_state::ShardState;

/// A shard's start. Dropping it before the shard is ready records a failed start.
#[derive(Debug)]
pub(super) struct Starting {
    whole: Span,
    /// Open until the next step begins.
    step: Span,
    step_name: &'static str,
    how: Option<&'static str>,
    outcome: &'static str,
    replayed: u64,
    gap: bool,
}

impl Starting {
    /// Begins the trace with the step of connecting; the request for a permit continues it in the coordinator.
    pub(super) fn begin(shard: &ShardState) -> Self {
        let whole = tracing::info_span!(
            parent: None,
            "shard.start",
            shard_id = shard.key().slot().0,
            epoch = shard.epoch().0,
            how = field::Empty,
            outcome = field::Empty,
            replayed = field::Empty,
            gap = field::Empty,
        );
        if let Some(trace) = shard.brought_by() {
            trace_context::continue_from_traceparent(&whole, &trace);
        }
        shard.set_traceparent(trace_context::traceparent_of(&whole));
        let mut starting = Self {
            whole,
            step: Span::none(),
            step_name: "",
            how: None,
            outcome: "not ready",
            replayed: 0,
            gap: false,
        };
        starting.step("connect");
        starting
    }

    /// Ends the step before, and begins this one unless it is the same.
    pub(super) fn step(&mut self, name: &'static str) {
        if self.step_name != name {
            self.step_name = name;
            self.step = tracing::info_span!(parent: &self.whole, "shard.step", otel.name = name);
        }
    }

    /// IDENTIFY or RESUME goes out.
    pub(super) fn greets(&mut self, how: &'static str) {
        self.how = Some(how);
        self.step(how);
    }

    /// Ends the trace: the shard is ready.
    pub(super) fn ready(mut self, outcome: &StartOutcome) {
        self.outcome = "ready";
        self.replayed = outcome.replayed;
        self.gap = outcome.gap.is_some();
    }
}

impl Drop for Starting {
    /// Records all fields here, once: OpenTelemetry keeps every record of a field.
    fn drop(&mut self) {
        self.whole.record("how", self.how);
        self.whole.record("outcome", self.outcome);
        self.whole.record("replayed", self.replayed);
        self.whole.record("gap", self.gap);
    }
}

#[cfg(test)]
mod tests;

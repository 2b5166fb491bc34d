//! Metrics of messages and requests to shards.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// How messages end, as [`CallCount::outcome`] has it.
const MESSAGE_OUTCOMES: [&str; 7] =
    ["taken", "not_taken", "too_late", "busy", "not_mine", "no_lease", "cancelled"];

/// How requests end.
const REQUEST_OUTCOMES: [&str; 10] = [
    "replied",
    "failed",
    "unknown_type",
    "unfit",
    "panicked",
    "too_late",
    "busy",
    "not_mine",
    "no_lease",
    "cancelled",
];

/// The kind of a callback.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CallbackKind {
    Message,
    Request,
}

impl CallbackKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Request => "request",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    hook: &'static str,
    outcome: &'static str,
}

/// Counted by the shards' callbacks; clones count into the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallbackMetrics {
    calls: Family<CallLabels, Counter>,
    running: Gauge,
    panics: Counter,
}

impl CallbackMetrics {
    /// Registers them. The outcomes are there from the start, at 0: a rate needs a first value.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let messages = MESSAGE_OUTCOMES.map(|outcome| (CallbackKind::Message, outcome));
        let requests = REQUEST_OUTCOMES.map(|outcome| (CallbackKind::Request, outcome));
        for (hook, outcome) in messages.into_iter().chain(requests) {
            drop(self.calls.get_or_create(&CallLabels { hook: hook.as_str(), outcome }));
        }
        registry.register(
            "hook_calls",
            "Messages and requests to shards, by how they ended",
            self.calls.clone(),
        );
        registry.register("hooks_running", "Messages and requests that bot code is at", self.running.clone());
        registry.register("hook_panics", "Panics of bot code at messages and requests", self.panics.clone());
    }

    pub(crate) fn runs(&self, runs: bool) {
        if runs {
            self.running.inc();
        } else {
            self.running.dec();
        }
    }

    pub(crate) fn count_panic(&self) {
        self.panics.inc();
    }

    #[cfg(test)]
    pub(crate) fn count(&self, hook: CallbackKind, outcome: &'static str) -> u64 {
        self.calls.get_or_create(&CallLabels { hook: hook.as_str(), outcome }).get()
    }

    #[cfg(test)]
    pub(crate) fn running(&self) -> i64 {
        self.running.get()
    }
}

/// Counts one call when it ends, also when the caller has gone.
pub(super) struct CallCount<'a> {
    metrics: &'a CallbackMetrics,
    hook: CallbackKind,
    pub(super) outcome: &'static str,
}

impl<'a> CallCount<'a> {
    pub(super) fn new(metrics: &'a CallbackMetrics, hook: CallbackKind) -> Self {
        Self { metrics, hook, outcome: "cancelled" }
    }
}

impl Drop for CallCount<'_> {
    fn drop(&mut self) {
        let labels = CallLabels { hook: self.hook.as_str(), outcome: self.outcome };
        self.metrics.calls.get_or_create(&labels).inc();
    }
}

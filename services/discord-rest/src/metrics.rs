//! What the proxy counts.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{Scope, WaitReason};

/// Seconds of waiting for a turn.
const BUCKETS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// Why requests are answered here and not sent: the label values of `rest_refused_total`.
const REFUSED: [&str; 13] = [
    "late",
    "breaker",
    "token",
    "full",
    "away",
    "unreachable",
    "size",
    "slow",
    "broken",
    "web_page",
    "host",
    "gateway",
    "other_token",
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabels {
    scope: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    why: &'static str,
}

/// The status as a label: one that HTTP or Cloudflare (520 to 530) knows, 0 for none, or else the first of its hundred.
fn known_status(status: u16) -> u16 {
    let known = StatusCode::from_u16(status).is_ok_and(|status| status.canonical_reason().is_some());
    if known || (520..=530).contains(&status) { status } else { status / 100 * 100 }
}

/// The metrics; clones count into the same.
#[derive(Clone, Debug)]
pub struct RestMetrics {
    answered: Family<AnswerLabels, Counter>,
    limited: Family<ScopeLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    held_up: Family<ReasonLabels, Counter>,
    wait: Histogram,
    waiting: Gauge,
    retries: Counter,
    invalid: Gauge,
    breaker: Counter,
    fallback: Gauge,
    fallbacks: Counter,
}

impl Default for RestMetrics {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            limited: Family::default(),
            refused: Family::default(),
            held_up: Family::default(),
            wait: Histogram::new(BUCKETS),
            waiting: Gauge::default(),
            retries: Counter::default(),
            invalid: Gauge::default(),
            breaker: Counter::default(),
            fallback: Gauge::default(),
            fallbacks: Counter::default(),
        }
    }
}

/// Counts a request as waiting for as long as it is held.
#[derive(Debug)]
pub(crate) struct WaitingGuard(Gauge);

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl RestMetrics {
    /// Registers them. Labels out of a small set are there from the start, at 0: a rate needs a first value.
    pub fn register(&self, registry: &mut Registry) {
        for scope in Scope::ALL {
            drop(self.limited.get_or_create(&ScopeLabels { scope: scope.name() }));
        }
        for why in REFUSED {
            drop(self.refused.get_or_create(&ReasonLabels { why }));
        }
        for why in WaitReason::ALL {
            drop(self.held_up.get_or_create(&ReasonLabels { why: why.name() }));
        }
        registry.register(
            "rest_requests",
            "Answers of Discord's REST API, by the path's first step and status; status 0: none came",
            self.answered.clone(),
        );
        registry.register("rest_limited", "429s of Discord, by scope", self.limited.clone());
        registry.register(
            "rest_refused",
            "Requests answered here and not sent: late (no turn in time), breaker, token, full, away, unreachable, size, slow, \
             broken, web_page, host, gateway, other_token",
            self.refused.clone(),
        );
        registry.register(
            "rest_held_up",
            "Times that a request was told to wait, by what for",
            self.held_up.clone(),
        );
        registry.register("rest_wait_seconds", "How long requests waited for their turn", self.wait.clone());
        registry.register("rest_waiting", "Requests that wait for their turn", self.waiting.clone());
        registry.register("rest_retries", "Requests sent again after a 429", self.retries.clone());
        registry.register(
            "rest_invalid_requests",
            "Answers with 401, 403 or 429 in ten minutes, of the fleet, when last counted here",
            self.invalid.clone(),
        );
        registry.register(
            "rest_breaker_opened",
            "Times that the breaker before Discord's ban opened",
            self.breaker.clone(),
        );
        registry.register(
            "rest_fallback",
            "1 while the worker keeps to its own share",
            self.fallback.clone(),
        );
        registry.register(
            "rest_fallbacks",
            "Times that the fleet's budget could not be asked",
            self.fallbacks.clone(),
        );
    }

    /// Returns how many requests wait for their turn.
    pub fn waiting_count(&self) -> u64 {
        u64::try_from(self.waiting.get()).unwrap_or(0)
    }

    /// Returns how many answers with 401, 403 or 429 the fleet got in ten minutes, when last counted here.
    pub fn invalid_count(&self) -> u64 {
        u64::try_from(self.invalid.get()).unwrap_or(0)
    }

    pub(crate) fn answered(&self, route: &'static str, status: u16) {
        let status = known_status(status);
        self.answered.get_or_create(&AnswerLabels { route, status }).inc();
    }

    pub(crate) fn limited(&self, scope: Scope) {
        self.limited.get_or_create(&ScopeLabels { scope: scope.name() }).inc();
    }

    pub(crate) fn refused(&self, why: &'static str) {
        self.refused.get_or_create(&ReasonLabels { why }).inc();
    }

    pub(crate) fn held_up(&self, why: WaitReason) {
        self.held_up.get_or_create(&ReasonLabels { why: why.name() }).inc();
    }

    pub(crate) fn waits(&self) -> WaitingGuard {
        self.waiting.inc();
        WaitingGuard(self.waiting.clone())
    }

    pub(crate) fn waited(&self, wait: Duration) {
        self.wait.observe(wait.as_secs_f64());
    }

    pub(crate) fn retried(&self) {
        self.retries.inc();
    }

    pub(crate) fn invalid(&self, count: u32) {
        self.invalid.set(count.into());
    }

    pub(crate) fn breaker_opened(&self) {
        self.breaker.inc();
    }

    pub(crate) fn fell_back(&self, is_alone: bool) {
        self.fallback.set(is_alone.into());
        if is_alone {
            self.fallbacks.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_from_outside_are_few_labels() {
        for known in [200, 204, 401, 403, 429, 502, 520, 530] {
            assert_eq!(known_status(known), known);
        }
        for (outside, label) in [(0, 0), (299, 200), (999, 900), (599, 500)] {
            assert_eq!(known_status(outside), label);
        }
        let labels: std::collections::HashSet<_> = (0..=999).map(known_status).collect();
        assert!(labels.len() < 100, "{}", labels.len());
    }
}

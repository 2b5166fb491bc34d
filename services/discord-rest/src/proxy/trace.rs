//! The spans of a request whose caller sent a sampled `traceparent`: the whole, its waits, and each attempt to Discord.
//!
//! Only patterns of paths are recorded, as paths hold tokens. Nothing of a trace is sent to Discord.

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};
use process::telemetry::{SpanKind, TimedSpan, trace_context::TRACEPARENT};

use crate::route::Route;

/// The span of a request, if it has one.
#[derive(Debug)]
pub(super) struct RequestTrace(Option<TimedSpan>);

impl RequestTrace {
    pub(super) fn begin(route: &Route, headers: &HeaderMap) -> Self {
        let traceparent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let span = traceparent
            .and_then(|traceparent| TimedSpan::continuing(traceparent, "rest_request", SpanKind::Server));
        if let Some(span) = &span {
            span.set("http.route", route.pattern.to_string());
        }
        Self(span)
    }

    /// Begins a part of the request, which ends when it is dropped.
    pub(super) fn part(&self, name: &'static str, kind: SpanKind) -> Option<TimedSpan> {
        self.0.as_ref()?.child(name, kind, SystemTime::now())
    }

    /// Ends the span with the status that the caller gets.
    pub(super) fn answered(self, status: StatusCode) {
        if let Some(span) = self.0 {
            set_status(&span, status);
        }
    }
}

/// Records on the span the status of Discord's answer to one attempt, or the reason why no answer came.
pub(super) fn exchanged(span: &TimedSpan, answered: Result<StatusCode, &'static str>) {
    match answered {
        Ok(status) => set_status(span, status),
        Err(why) => span.fail(why),
    }
}

fn set_status(span: &TimedSpan, status: StatusCode) {
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        span.fail(status.canonical_reason().unwrap_or("failed"));
    }
}

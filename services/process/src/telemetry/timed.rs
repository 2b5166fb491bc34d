//! Spans that are made for one in many events, or whose start lies in the past.
//!
//! A span of the crate `tracing` costs something wherever it stands in the code, and begins when it is made. These exist only when
//! spans are exported and the trace is sampled: every constructor returns `None` otherwise.

use std::{sync::OnceLock, time::SystemTime};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::trace_context;

/// Set once spans are exported.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Exports spans from now on. Only the first call counts.
pub(super) fn export_with(tracer: SdkTracer) {
    let _ = TRACER.set(tracer);
}

/// Whether spans leave this process. Without a collector no span is made for an event.
pub fn exports_spans() -> bool {
    TRACER.get().is_some()
}

/// A span that is exported when it is dropped.
#[derive(Debug)]
pub struct TimedSpan(Context);

impl TimedSpan {
    /// Begins a trace.
    pub fn root(name: &'static str, kind: SpanKind, began: SystemTime) -> Option<Self> {
        Self::begin(name, kind, began, &Context::new())
    }

    /// Begins a span in the trace of a sender, if its `traceparent` is valid and sampled.
    pub fn continuing(traceparent: &str, name: &'static str, kind: SpanKind) -> Option<Self> {
        TRACER.get()?;
        let parent = trace_context::context_of(traceparent);
        let sent = parent.span().span_context().clone();
        if !sent.is_valid() || !sent.is_sampled() {
            return None;
        }
        Self::begin(name, kind, SystemTime::now(), &parent)
    }

    /// Begins a part of this span.
    pub fn child(&self, name: &'static str, kind: SpanKind, began: SystemTime) -> Option<Self> {
        Self::begin(name, kind, began, &self.0)
    }

    fn begin(name: &'static str, kind: SpanKind, began: SystemTime, parent: &Context) -> Option<Self> {
        let tracer = TRACER.get()?;
        let builder = tracer.span_builder(name).with_kind(kind).with_start_time(began);
        let span = Self(Context::new().with_span(tracer.build_with_context(builder, parent)));
        span.0.span().is_recording().then_some(span)
    }

    /// Sets an attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(key, value));
    }

    /// Marks the span as failed. `why` may be text from outside.
    pub fn fail(&self, why: impl Into<std::borrow::Cow<'static, str>>) {
        self.0.span().set_status(Status::error(why));
    }

    /// Refers to another trace, such as the one of the sender of a batch.
    pub fn link(&self, traceparent: &str) {
        let other = trace_context::context_of(traceparent).span().span_context().clone();
        if other.is_valid() {
            self.0.span().add_link(other, Vec::new());
        }
    }

    /// Returns the span as a `traceparent`.
    pub fn traceparent(&self) -> String {
        trace_context::written(&self.0).unwrap_or_default()
    }

    /// Makes this span the parent of a span of `tracing`.
    pub fn adopt(&self, span: &Span) {
        let own: SpanContext = self.0.span().span_context().clone();
        // Fails only without a layer for OpenTelemetry, and then this span does not exist.
        let _ = span.set_parent(Context::new().with_remote_span_context(own));
    }

    /// Ends the span at a time in the past.
    pub fn end_at(self, ended: SystemTime) {
        self.0.span().end_with_timestamp(ended);
    }
}

impl Drop for TimedSpan {
    fn drop(&mut self) {
        self.0.span().end();
    }
}

//! A trace's way from process to process: W3C Trace Context (<https://www.w3.org/TR/trace-context/>) in gRPC metadata and
//! in bus messages.

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector},
};
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The name of the header and of the metadata.
pub const TRACEPARENT: &str = "traceparent";

/// Writes the current span into a request's metadata.
pub fn inject(metadata: &mut MetadataMap) {
    let context = Span::current().context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut MetadataInjector(metadata));
    });
}

/// The current span as a `traceparent`, when it is traced.
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// A span as a `traceparent`, when it is traced.
pub fn traceparent_of(span: &Span) -> Option<String> {
    written(&span.context())
}

/// Returns a context's span as a `traceparent`.
pub(super) fn written(context: &Context) -> Option<String> {
    let mut carrier = std::collections::HashMap::new();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(context, &mut carrier);
    });
    carrier.remove(TRACEPARENT)
}

/// Makes the sender's span the parent of `span`, when the headers name one.
pub fn continue_from_headers(span: &Span, headers: &http::HeaderMap) {
    let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract(&HeaderExtractor(headers))
    });
    // Fails only where no OpenTelemetry layer is set: then there is no trace to continue.
    let _ = span.set_parent(parent);
}

/// Makes the sender's span the parent of `span`.
pub fn continue_from_traceparent(span: &Span, traceparent: &str) {
    // Fails only where no OpenTelemetry layer is set: then there is no trace to continue.
    let _ = span.set_parent(context_of(traceparent));
}

/// Reads a sender's `traceparent`. An invalid one is an empty context.
pub(super) fn context_of(traceparent: &str) -> Context {
    let carrier = std::collections::HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &carrier)
    })
}

struct MetadataInjector<'a>(&'a mut MetadataMap);

impl Injector for MetadataInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) =
            (MetadataKey::from_bytes(key.as_bytes()), MetadataValue::try_from(value.as_str()))
        {
            self.0.insert(key, value);
        }
    }
}

struct HeaderExtractor<'a>(&'a http::HeaderMap);

impl Extractor for HeaderExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

//! What an operator sees of a process: logs, traces, metrics, health.
//!
//! Owns the process-wide subscriber ([`init`]), the export of spans ([`otel`] checks its settings), the way of a trace from process to process ([`trace_context`], [`grpc`]) and
//! the HTTP server for probes and scrapes ([`health`]). Each component keeps its own metrics registry ([`metrics`]), as
//! several run in one process in dev mode. What a component reports, it decides itself.

mod batch;
mod exporter;
mod fold;
pub mod grpc;
pub mod health;
mod json_log;
pub mod metrics;
mod otel;
pub mod problems;
mod subscriber;
mod timed;
pub mod trace_context;

pub use exporter::ExporterError;
pub use otel::InvalidVariable;
pub use subscriber::{SERVICE_FILTER, Service, Telemetry, TelemetryError, init};
pub use timed::{TimedSpan, exports_spans};

pub use opentelemetry::trace::SpanKind;

/// The most characters of a field's value in a line.
const LONGEST_VALUE: usize = 1_000;

//! The process-wide subscriber: logs to standard error, spans to an OTLP collector when one is named.

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use outside_text::printable_within;
use tracing_subscriber::{
    EnvFilter, field::MakeExt as _, fmt::format::debug_fn, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{fold::Folding, json_log::JsonLines};

/// The standard variable that names the collector
/// ([OpenTelemetry](https://opentelemetry.io/docs/specs/otel/protocol/exporter/)); without it no span leaves.
const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What a service logs when `RUST_LOG` says nothing.
pub const SERVICE_FILTER: &str = "info,h2=warn,hyper=warn,tower=warn,opentelemetry=warn";

/// Keeps the subscriber's exporter; [`Telemetry::shutdown`] sends what is still buffered.
#[derive(Debug)]
#[must_use = "spans that are still buffered are lost unless it is shut down"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The value of `RUST_LOG` is no filter.
    #[error("RUST_LOG: {0}")]
    Filter(String),
    /// The exporter could not be made.
    #[error("{OTLP_ENDPOINT}: {0}")]
    Exporter(String),
    /// A subscriber is set already.
    #[error("telemetry was set up twice")]
    Twice,
    /// The thread that writes folded lines could not be started.
    #[error("cannot start the log-folding thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The most characters of a field's value in a line.
pub(crate) const LONGEST_VALUE: usize = 1_000;

/// Sets the process-wide subscriber. Lines for people in a terminal, JSON otherwise, both on standard error.
/// `default_filter` says what to log when `RUST_LOG` does not.
///
/// # Errors
/// A wrong `RUST_LOG`, an endpoint that is no URL, or a second call.
pub fn init(service: &'static str, default_filter: &str) -> Result<Telemetry, TelemetryError> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) if !text.is_empty() => {
            EnvFilter::try_new(text).map_err(|error| TelemetryError::Filter(error.to_string()))?
        }
        _ => EnvFilter::new(default_filter),
    };
    let provider = match std::env::var(OTLP_ENDPOINT) {
        Ok(endpoint) if !endpoint.is_empty() => Some(exporting_provider(service)?),
        _ => None,
    };
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());

    // Without a collector spans still get ids, so that logs of one query can be found together.
    let tracer = provider.clone().unwrap_or_default().tracer(service);
    let spans = tracing_opentelemetry::layer().with_tracer(tracer);
    let terminal = std::io::stderr().is_terminal();
    // Values may be text from outside, which could forge lines on a terminal.
    let fields = debug_fn(|writer, field, value| {
        let text = format!("{value:?}");
        let text = printable_within(&text, LONGEST_VALUE);
        match field.name() {
            "message" => write!(writer, "{text}"),
            name => write!(writer, "{name}={text}"),
        }
    })
    .delimited(" ");
    let people = terminal.then(|| {
        tracing_subscriber::fmt::layer()
            .compact()
            .with_target(false)
            .fmt_fields(fields)
            .with_writer(std::io::stderr)
    });
    let folding = Folding::default();
    folding.write_in_background()?;
    let machines = (!terminal)
        .then(|| tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(std::io::stderr));
    tracing_subscriber::registry()
        .with(filter)
        .with(folding)
        .with(spans)
        .with(people)
        .with(machines)
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    Ok(Telemetry { provider })
}

fn exporting_provider(service: &'static str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .build()
        .map_err(|error| TelemetryError::Exporter(error.to_string()))?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

impl Telemetry {
    /// Sends the spans that are still buffered. Blocks for at most five seconds, off the runtime's threads.
    pub async fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}

//! Sends spans to the collector: without secrets, and with one log line when the collector cannot be reached.
//!
//! Runs on the SDK's own thread. While the collector is away its queue fills, and further spans are dropped; no caller waits.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{Array, KeyValue, StringValue, Value, trace::Status};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter as OtlpExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use outside_text::{printable_within, without_secrets};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::{
    LONGEST_VALUE,
    otel::{Export, InvalidVariable, TlsFiles},
};

/// Why no exporter could be made.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// A file for TLS cannot be read.
    #[error("{variable}: cannot read {path}: {cause}")]
    File {
        /// The variable that names it.
        variable: String,
        /// Where it was looked for.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The URL, or what is in a file, does not fit.
    #[error("{named_by}: {cause}")]
    Collector {
        /// The variable that names the collector.
        named_by: &'static str,
        /// What does not fit.
        cause: ExporterBuildError,
    },
    /// A variable's value is invalid.
    #[error(transparent)]
    Variable(#[from] InvalidVariable),
}

/// Connects lazily: a collector that is away does not stop the start. Needs a tokio runtime.
pub(super) fn connect(
    export: &Export,
    sending: Sending,
) -> Result<GuardedExporter<OtlpExporter>, ExporterError> {
    let mut builder = OtlpExporter::builder().with_tonic().with_endpoint(export.endpoint.clone());
    if export.endpoint.starts_with("https://") {
        builder = builder.with_tls_config(tls(&export.files)?);
    }
    let named_by = export.named_by;
    let inner = builder.build().map_err(|cause| ExporterError::Collector { named_by, cause })?;
    Ok(GuardedExporter { inner, sending })
}

fn tls(files: &TlsFiles) -> Result<ClientTlsConfig, ExporterError> {
    let read = |(variable, path): &(String, std::path::PathBuf)| {
        std::fs::read(path).map_err(|cause| ExporterError::File {
            variable: variable.clone(),
            path: path.display().to_string(),
            cause,
        })
    };
    let config = match &files.authority {
        Some(authority) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(authority)?)),
        None => ClientTlsConfig::new().with_webpki_roots(),
    };
    Ok(match &files.identity {
        Some([certificate, key]) => config.identity(Identity::from_pem(read(certificate)?, read(key)?)),
        None => config,
    })
}

/// Whether exports succeed, for the process's end.
#[derive(Clone, Debug, Default)]
pub(super) struct Sending(Arc<AtomicU64>);

impl Sending {
    /// Whether the last export failed.
    pub(super) fn fails(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Notes the end of an export of `spans`, and logs when that has changed.
    fn ended(&self, spans: usize, result: &OTelSdkResult) {
        let lost = spans as u64;
        match result {
            Ok(()) => {
                let dropped = self.0.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    tracing::info!(dropped, "span export works again");
                }
            }
            Err(error) => {
                if self.0.fetch_add(lost, Ordering::Relaxed) == 0 {
                    let error = error.to_string();
                    let error = printable_within(&error, LONGEST_VALUE);
                    tracing::warn!(%error, "span export failed; spans are dropped until the collector answers");
                }
            }
        }
    }
}

/// An exporter that hides secrets and cuts long values as log lines do.
#[derive(Debug)]
pub(super) struct GuardedExporter<E> {
    inner: E,
    sending: Sending,
}

impl<E: SpanExporter> SpanExporter for GuardedExporter<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        batch.iter_mut().for_each(hide_secrets);
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.sending.ended(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

fn hide_secrets(span: &mut SpanData) {
    hide_in_name(&mut span.name);
    span.attributes.iter_mut().for_each(hide_in_value);
    for event in &mut span.events.events {
        hide_in_name(&mut event.name);
        event.attributes.iter_mut().for_each(hide_in_value);
    }
    for link in &mut span.links.links {
        link.attributes.iter_mut().for_each(hide_in_value);
    }
    if let Status::Error { description } = &mut span.status {
        hide_in_name(description);
    }
}

fn hide_in_name(name: &mut Cow<'static, str>) {
    if let Some(shown) = shown(name) {
        *name = shown.into();
    }
}

fn hide_in_value(attribute: &mut KeyValue) {
    let hide = |text: &mut StringValue| {
        if let Some(shown) = shown(text.as_str()) {
            *text = shown.into();
        }
    };
    match &mut attribute.value {
        Value::String(text) => hide(text),
        Value::Array(Array::String(texts)) => texts.iter_mut().for_each(hide),
        _ => {}
    }
}

/// Returns what is shown of a text, when that differs from it.
fn shown(text: &str) -> Option<String> {
    let hidden = without_secrets(text);
    match hidden.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => Some(format!("{}…", &hidden[..end])),
        None => match hidden {
            Cow::Owned(hidden) => Some(hidden),
            Cow::Borrowed(_) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::{error::OTelSdkError, trace::SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::{super::subscriber::tests::Lines, *};

    #[derive(Clone, Debug, Default)]
    struct Exported(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Exported {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    #[test]
    fn no_secret_leaves_in_a_span() {
        let secret = "MTIzNDU2.a-secret-that-must-not-be-exported";
        outside_text::hide_secret(secret);
        let exported = Exported::default();
        let exporter = GuardedExporter { inner: exported.clone(), sending: Sending::default() };
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let name = format!("GET /users/{secret}");
            let path = "interactions/7/aW50ZXJhY3Rpb24/callback";
            let span = tracing::info_span!("request", otel.name = name, path, cause = ?Some(secret));
            let _entered = span.enter();
            tracing::error!(header = secret, long = "x".repeat(5_000), "refused: {secret}");
        });
        let spans = exported.0.lock().unwrap();
        let text = format!("{spans:?}");
        assert_eq!(spans.len(), 1);
        assert!(!text.contains("a-secret") && !text.contains("aW50"), "{text}");
        assert!(text.matches("[secret]").count() >= 5, "{text}");
        assert!(text.len() < 4_000, "long values are cut");
    }

    #[test]
    fn collector_that_is_away_is_one_line_and_so_is_its_return() {
        let lines = Lines::default();
        let written = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || written.clone());
        let sending = Sending::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for _ in 0..20 {
                sending.ended(512, &Err(OTelSdkError::InternalFailure("refused".to_owned())));
                assert!(sending.fails());
            }
            sending.ended(3, &Ok(()));
            sending.ended(3, &Ok(()));
        });
        let text = lines.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("span export works again dropped=10240"), "{text}");
        assert!(!sending.fails());
    }
}

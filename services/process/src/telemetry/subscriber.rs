//! The process-wide subscriber: logs to standard error, spans to an OTLP collector when one is named.

use std::{
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{Sampler, SdkTracerProvider},
};
use outside_text::{printable_within, without_secrets};
use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer,
    field::MakeExt as _,
    filter::Targets,
    fmt::{MakeWriter, format::debug_fn, time::ChronoLocal},
    layer::{Context, Filter, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::{
    LONGEST_VALUE, batch,
    exporter::{self, ExporterError, Sending},
    fold::{self, Folding},
    json_log::JsonLines,
    otel::{self, Export},
    timed,
};

/// How long the end of the process waits for the last spans to be exported.
const LAST_EXPORT: Duration = Duration::from_secs(2);
/// As [`LAST_EXPORT`], when the export before failed.
const LAST_EXPORT_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The time of a line on a terminal, in the local time zone. JSON has UTC in RFC 3339.
const LOCAL_TIME: &str = "%H:%M:%S%.3f";

/// What a service logs when `RUST_LOG` says nothing.
pub const SERVICE_FILTER: &str = "info,h2=warn,hyper=warn,tower=warn,opentelemetry=warn";

/// Keeps what the subscriber buffers; [`Telemetry::shutdown`] writes and sends it.
#[derive(Debug)]
#[must_use = "buffered spans are lost unless it is shut down"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
    sending: Sending,
    folding: Folding,
}

/// What a program is called in its spans.
#[derive(Clone, Debug)]
pub struct Service {
    /// The program (`service.name`).
    pub name: &'static str,
    /// This process of it (`service.instance.id`).
    pub instance: String,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The value of `RUST_LOG` is no filter.
    #[error("RUST_LOG: {0}")]
    Filter(String),
    /// The exporter could not be made.
    #[error(transparent)]
    Exporter(#[from] ExporterError),
    /// A subscriber is set already.
    #[error("telemetry was set up twice")]
    Twice,
    /// The thread that writes folded lines could not be started.
    #[error("cannot start the log-folding thread: {0}")]
    Thread(#[from] io::Error),
}

/// Sets the process-wide subscriber. Lines for people in a terminal, JSON otherwise, both on standard error.
/// `default_filter` says what to log when `RUST_LOG` does not.
///
/// # Errors
/// An invalid `RUST_LOG` or variable of OpenTelemetry, or a second call.
pub fn init(service: &Service, default_filter: &str) -> Result<Telemetry, TelemetryError> {
    let filter = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = || filter_of(filter.as_deref().unwrap_or(default_filter));
    let export = otel::read(&|name| std::env::var(name).ok()).map_err(ExporterError::from)?;
    let sending = Sending::default();
    let provider = match &export {
        Some(export) => Some(exporting_provider(service, export, sending.clone())?),
        None => None,
    };
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());

    // Without a collector spans still get ids, so that logs of one query can be found together.
    if let Some(provider) = &provider {
        timed::export_with(provider.tracer(service.name));
    }
    let tracer = provider.clone().unwrap_or_else(without_export).tracer(service.name);
    // All of these cost time in each call or each poll of a call, and do not help to understand a call.
    let spans = tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_tracer(tracer)
        .with_filter(span_filter(export.is_some(), filter()?));
    let for_people = io::stderr().is_terminal() || crate::supervised::logs_for_people();
    let lines = if for_people {
        people(|| WithoutSecrets(io::stderr())).boxed()
    } else {
        let lines = tracing_subscriber::fmt::layer().event_format(JsonLines).with_ansi(false);
        lines.with_writer(|| WithoutSecrets(io::stderr())).boxed()
    };
    let folding = Folding::default();
    folding.write_in_background()?;
    tracing_subscriber::registry()
        .with(lines.with_filter(filter()?))
        .with(folding.clone().with_filter(filter()?))
        .with(spans)
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    if let Some(Export { endpoint, .. }) = &export {
        tracing::info!(collector = %endpoint, service.instance.id = %service.instance, "spans are exported");
    }
    Ok(Telemetry { provider, sending, folding })
}

/// What is exported, independent of `RUST_LOG`: spans down to INFO, and the log lines in them. Whether an event has a span is
/// decided elsewhere, so spans at DEBUG are not needed.
///
/// Lets pass every line that [`Folding`] may leave out: a line that one layer alone rejects would leave that layer's filter in a
/// wrong state for the next span.
struct Traced;

/// Libraries whose spans are not exported. twilight's is a trace of its own for each request, and has tokens in it.
const UNTRACED: [&str; 6] = ["h2", "hyper", "hyper_util", "tonic", "tower", "twilight_http"];

/// Without a collector spans are for log lines alone, and follow their filter.
fn span_filter<S>(exported: bool, lines: Targets) -> Box<dyn Filter<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if exported { Box::new(Traced) } else { Box::new(lines) }
}

impl Traced {
    fn has(metadata: &Metadata<'_>) -> bool {
        let library = metadata.target().split("::").next().unwrap_or_default();
        *metadata.level() <= Level::INFO && (metadata.is_event() || !UNTRACED.contains(&library))
    }
}

impl<S> Filter<S> for Traced {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        Self::has(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::has(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}

/// Parses a filter: levels and `target=level`, by commas. Lines that [`Folding`] writes always pass, because the lines that they replace have
/// passed the filter.
pub(super) fn filter_of(text: &str) -> Result<Targets, TelemetryError> {
    let is_target = |target: &str| {
        !target.is_empty() && target.chars().all(|c| c.is_ascii_alphanumeric() || "_:-.".contains(c))
    };
    // An empty level would be read as ERROR.
    let level_of = |text: &str| if text.is_empty() { None } else { text.parse::<LevelFilter>().ok() };
    let mut filter = Targets::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let invalid = || {
            let why =
                format!("{part:?} is neither a level nor target=level, as in info,gateway_worker=debug");
            TelemetryError::Filter(why)
        };
        filter = match part.rsplit_once('=') {
            Some((target, level)) if is_target(target) => {
                filter.with_target(target, level_of(level).ok_or_else(invalid)?)
            }
            Some(_) => return Err(invalid()),
            None => match level_of(part) {
                Some(level) => filter.with_default(level),
                None if is_target(part) => filter.with_target(part, LevelFilter::TRACE),
                None => return Err(invalid()),
            },
        };
    }
    Ok(filter.with_targets([batch::TARGET, fold::TARGET].map(|target| (target, LevelFilter::INFO))))
}

/// Lines for people in a terminal.
fn people<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
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
    tracing_subscriber::fmt::layer()
        .compact()
        .with_timer(ChronoLocal::new(LOCAL_TIME.to_owned()))
        .with_target(false)
        .fmt_fields(fields)
        .with_writer(writer)
}

/// Writes whole lines, with the process's secrets hidden in all fields of all crates.
pub(crate) struct WithoutSecrets<W>(pub(crate) W);

impl<W: Write> Write for WithoutSecrets<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(without_secrets(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Ignores the sampler that the environment names: it is only checked when spans are exported.
fn without_export() -> SdkTracerProvider {
    SdkTracerProvider::builder().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn))).build()
}

fn exporting_provider(
    service: &Service,
    export: &Export,
    sending: Sending,
) -> Result<SdkTracerProvider, TelemetryError> {
    for secret in &export.secrets {
        outside_text::hide_secret(secret);
    }
    let exporter = exporter::connect(export, sending)?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
    Ok(provider.with_resource(resource(service, export.service_name.clone())).build())
}

/// Describes this process. What the operator says (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) wins.
fn resource(service: &Service, name: Option<String>) -> Resource {
    let own = [
        KeyValue::new("service.name", service.name),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", service.instance.clone()),
        KeyValue::new("host.name", rustix::system::uname().nodename().to_string_lossy().into_owned()),
        KeyValue::new("process.pid", i64::from(std::process::id())),
    ];
    let resource = Resource::builder_empty()
        .with_attributes(own)
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match name {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

impl Telemetry {
    /// Sends buffered spans. Waits two seconds at most, off the runtime's threads.
    pub async fn shutdown(mut self) {
        let Some(provider) = self.provider.take() else { return };
        let failed = self.sending.fails();
        let within = if failed { LAST_EXPORT_AFTER_FAILURE } else { LAST_EXPORT };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(within)).await;
        if let Ok(Err(error)) = ended
            && !failed
            && !self.sending.fails()
        {
            tracing::warn!(%error, "last spans not exported at shutdown");
        }
    }
}

impl Drop for Telemetry {
    /// Writes collected log lines, even when the program ends by a panic.
    fn drop(&mut self) {
        self.folding.write_batches();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer whose lines can be read.
    #[derive(Clone, Default)]
    pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Rows: a filter; for the targets `coordinator` and `gateway_worker::shard`, the lowest level that passes.
    #[test]
    fn filter_takes_levels_and_targets_and_refuses_all_else() {
        let (off, error, info, debug, trace) =
            (LevelFilter::OFF, LevelFilter::ERROR, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE);
        for (text, coordinator, shard) in [
            ("info", info, info),
            ("INFO,", info, info),
            (" info ,, gateway_worker=debug ", info, debug),
            ("gateway_worker::shard", off, trace),
            ("coordinator=off,error", off, error),
            ("off,gateway_worker=trace", off, trace),
            ("3", info, info),
        ] {
            let filter = filter_of(text).unwrap();
            let lowest = |target: &str| {
                let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
                let mut passing = levels.into_iter().filter(|level| filter.would_enable(target, level));
                passing.next_back().map_or(LevelFilter::OFF, LevelFilter::from_level)
            };
            assert_eq!(
                (lowest("coordinator"), lowest("gateway_worker::shard")),
                (coordinator, shard),
                "{text:?}"
            );
            assert!(filter.would_enable(batch::TARGET, &Level::INFO), "{text:?}");
        }
        for refused in [
            "[span]=debug",
            "t[span{f=1}]=debug",
            "*=debug",
            "=debug",
            "coordinator=loud",
            "coordinator=",
            "a b",
        ] {
            assert!(filter_of(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand_in_a_line() {
        let secret = "MTIzNDU2.a-registered-secret-of-the-process";
        outside_text::hide_secret(secret);
        let lines = Lines::default();
        let written = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(JsonLines)
            .with_writer(move || WithoutSecrets(written.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("connect", header = secret);
            let _entered = span.enter();
            tracing::warn!(target: "some_library", cause = ?Some(secret), "closed: {}é{secret}", &secret[..20]);
            tracing::debug!("POST https://x/interactions/7/aW50ZXJhY3Rpb24/callback");
        });
        let text = lines.text();
        assert_eq!(text.matches("[secret]").count(), 6, "{text}");
        assert!(!text.contains("registered") && !text.contains("aW50"), "{text}");
        let value: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(value["message"], "closed: [secret]é[secret]");
    }

    /// Set in a process that writes a line for people and one for machines to its standard output.
    const WRITES_LINES: &str = "ALTERGOLDEN_TEST_WRITES_LINES";

    /// Minutes since midnight of a text that begins with `HH:MM`.
    fn minute_of_day(time: &str) -> i64 {
        time[..2].parse::<i64>().unwrap() * 60 + time[3..5].parse::<i64>().unwrap()
    }

    #[test]
    fn a_terminal_shows_local_time_and_json_shows_utc() {
        if std::env::var_os(WRITES_LINES).is_some() {
            let machines = tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(io::stdout);
            let subscriber = tracing_subscriber::registry().with(people(io::stdout)).with(machines);
            return tracing::subscriber::with_default(subscriber, || tracing::info!("a line"));
        }
        let name = "telemetry::subscriber::tests::a_terminal_shows_local_time_and_json_shows_utc";
        let written = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .envs([(WRITES_LINES, "1"), ("TZ", "IST-5:30")])
            .output()
            .unwrap();
        let written = String::from_utf8(written.stdout).unwrap();
        let people = written.lines().find(|line| line.contains("INFO")).unwrap();
        let people = people.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_start_matches("2m");
        let machines = written.lines().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let machines = machines.unwrap()["timestamp"].as_str().unwrap().to_owned();
        assert_eq!(&people[8..9], ".", "{written}");
        assert!(machines.ends_with('Z'), "{machines}");
        let ahead = (minute_of_day(people) - minute_of_day(&machines[11..])).rem_euclid(24 * 60);
        assert!((329..=331).contains(&ahead), "{written}");
    }
}

//! A collector inside the test: what processes export is here, by trace.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use fleet_fixture::until;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::span::SpanKind,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

/// A span as it was exported.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) service: String,
    /// `service.instance.id`: for a worker its name.
    pub(super) instance: String,
    pub(super) name: String,
    pub(super) id: Vec<u8>,
    pub(super) parent: Vec<u8>,
    pub(super) kind: SpanKind,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) resource: BTreeMap<String, String>,
    pub(super) took_ms: u64,
}

impl Span {
    pub(super) fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

type Traces = BTreeMap<Vec<u8>, Vec<Span>>;

/// See the module's documentation.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    traces: Arc<Mutex<Traces>>,
    /// Metadata of the last export.
    headers: Arc<Mutex<BTreeMap<String, String>>>,
    /// Everything that came, as text.
    exported: Arc<Mutex<String>>,
}

/// A collector that listens. It stops when this is dropped.
pub(crate) struct Listening {
    pub(crate) collector: Collector,
    pub(super) endpoint: String,
    _serving: AbortOnDropHandle<()>,
}

impl Listening {
    pub(crate) async fn start() -> Self {
        Self::with(Server::builder(), "http").await
    }

    /// Over TLS, with a certificate for `localhost`.
    pub(super) async fn with_tls(identity: Identity) -> Self {
        let server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        Self::with(server, "https").await
    }

    async fn with(mut server: Server, scheme: &str) -> Self {
        let collector = Collector::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let serving =
            server.add_service(TraceServiceServer::new(collector.clone())).serve_with_incoming_shutdown(
                TcpIncoming::from(listener),
                CancellationToken::new().cancelled_owned(),
            );
        let serving = AbortOnDropHandle::new(tokio::spawn(async move { serving.await.unwrap() }));
        let endpoint = format!("{scheme}://localhost:{}", address.port());
        Self { collector, endpoint, _serving: serving }
    }

    /// Has a process export here, soon after a span has ended.
    pub(crate) fn trace<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "200")
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        let texts = headers
            .iter()
            .filter_map(|(key, value)| Some((key.to_string(), value.to_str().ok()?.to_owned())));
        *self.headers.lock().unwrap() = texts.collect();
        writeln!(self.exported.lock().unwrap(), "{headers:?} {:?}", request.get_ref()).unwrap();
        let mut traces = self.traces.lock().unwrap();
        for of_process in request.into_inner().resource_spans {
            let resource = texts_of(of_process.resource.unwrap_or_default().attributes);
            let own = |key: &str| resource.get(key).cloned().unwrap_or_default();
            for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                traces.entry(span.trace_id.clone()).or_default().push(Span {
                    service: own("service.name"),
                    instance: own("service.instance.id"),
                    kind: span.kind(),
                    name: span.name,
                    id: span.span_id,
                    parent: span.parent_span_id,
                    attributes: texts_of(span.attributes),
                    resource: resource.clone(),
                    took_ms: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano) / 1_000_000,
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn texts_of(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| {
        let text = match attribute.value?.value? {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(value) => value.to_string(),
            Value::DoubleValue(number) => number.to_string(),
            _ => return None,
        };
        Some((attribute.key, text))
    };
    attributes.into_iter().filter_map(text).collect()
}

impl Collector {
    /// Metadata of the last export.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.lock().unwrap().get(name).cloned()
    }

    /// Everything that came, as text: attributes, events and statuses of spans, resources, metadata.
    pub(crate) fn exported(&self) -> String {
        self.exported.lock().unwrap().clone()
    }

    /// All traces.
    pub(super) fn all(&self) -> Vec<Vec<Span>> {
        self.traces.lock().unwrap().values().cloned().collect()
    }

    /// Every span.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.all().into_iter().flatten().collect()
    }

    /// Waits for exactly `count` traces with a root of this name that are `whole`.
    pub(super) async fn until_roots(
        &self,
        root: &str,
        count: usize,
        whole: impl Fn(&[Span]) -> bool,
    ) -> Vec<Vec<Span>> {
        let found = || -> Vec<Vec<Span>> {
            let is_root = |span: &Span| span.name == root && span.parent.is_empty();
            self.all().into_iter().filter(|spans| spans.iter().any(is_root)).collect()
        };
        let show = |spans: &Span| format!("{}/{} {}", spans.service, spans.instance, spans.name);
        let what = format!("{count} whole traces of {root}");
        let waiting = until(&what, async || {
            let traces = found();
            assert!(traces.len() <= count, "more than {count} traces of {root}");
            (traces.len() == count && traces.iter().all(|spans| whole(spans))).then_some(traces)
        });
        tokio::select! {
            traces = waiting => traces,
            () = tokio::time::sleep(fleet_fixture::PATIENCE * 9 / 10) => {
                let seen: Vec<Vec<String>> = found().iter().map(|spans| spans.iter().map(show).collect()).collect();
                panic!("no {count} whole traces of {root}; seen: {seen:#?}")
            }
        }
    }
}

/// The spans of a trace with this name.
pub(super) fn each<'a>(spans: &'a [Span], name: &str) -> impl Iterator<Item = &'a Span> {
    spans.iter().filter(move |span| span.name == name)
}

/// The only span of a trace with this name.
pub(super) fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut named = each(spans, name);
    let first = named.next().unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(named.next().is_none(), "two of {name} in {spans:#?}");
    first
}

/// Whether a trace has spans of all these names.
pub(super) fn has(spans: &[Span], names: &[&str]) -> bool {
    names.iter().all(|name| spans.iter().any(|span| span.name == *name))
}

/// Every span but the root has its parent in the trace.
pub(super) fn assert_connected(spans: &[Span]) {
    let lost: Vec<_> = spans
        .iter()
        .filter(|span| !span.parent.is_empty() && !spans.iter().any(|other| other.id == span.parent))
        .collect();
    assert!(lost.is_empty(), "spans without their parents: {lost:#?}");
    assert_eq!(spans.iter().filter(|span| span.parent.is_empty()).count(), 1, "one root: {spans:#?}");
}

/// The parent of `child` is `parent`.
pub(super) fn assert_child(spans: &[Span], child: &str, parent: &str) {
    assert_eq!(
        only(spans, child).parent,
        only(spans, parent).id,
        "{child} is no child of {parent}: {spans:#?}"
    );
}

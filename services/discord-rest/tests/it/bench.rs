//! A proxy, and a client of it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use discord_rest::{
    Budget, Caller, Gate, LimitRules, MemoryBudget, Rest, RestMetrics, RestOptions, RestStatus, Upstream,
};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use process::{credentials::ClientFacingCertificate, telemetry::metrics::Metrics};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;

/// A proxy that serves.
pub(crate) struct Bench {
    pub(crate) address: SocketAddr,
    pub(crate) status: RestStatus,
    metrics: Metrics,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// How a test wants the proxy.
pub(crate) struct Setting {
    pub(crate) budget: Arc<dyn Budget>,
    pub(crate) per_second: u32,
    pub(crate) longest_wait: Duration,
    /// The only accepted token.
    pub(crate) only_token: Option<Caller>,
    pub(crate) certificate: ClientFacingCertificate,
    pub(crate) metrics: RestMetrics,
    pub(crate) status: RestStatus,
}

impl Default for Setting {
    fn default() -> Self {
        Self::over(Arc::new(MemoryBudget::new(LimitRules::default())))
    }
}

impl Setting {
    pub(crate) fn over(budget: Arc<dyn Budget>) -> Self {
        let (metrics, status) = (RestMetrics::default(), RestStatus::default());
        let longest_wait = Duration::from_secs(10);
        let certificate = ClientFacingCertificate::none();
        Self { budget, per_second: 50, longest_wait, only_token: None, certificate, metrics, status }
    }
}

impl Bench {
    /// A proxy to what listens there.
    pub(crate) async fn start(upstream: SocketAddr, setting: Setting) -> Self {
        let api = format!("http://{upstream}").parse().unwrap();
        let rest = Rest::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, stop) = (rest.address(), CancellationToken::new());
        let Setting { budget, per_second, longest_wait, only_token, certificate, metrics, status } = setting;
        let registry = Metrics::new("test", |registry| metrics.register(registry));
        let gate = Arc::new(Gate::new(budget, per_second, metrics.clone(), status.clone()));
        let upstream = Upstream::new(Some(&api)).unwrap();
        let options = RestOptions { longest_wait, only_token, certificate, ..RestOptions::default() };
        let task = tokio::spawn(rest.serve(gate, upstream, metrics, options, stop.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { address, status, metrics: registry, client, stop, task }
    }

    /// The usual proxy.
    pub(crate) async fn to(upstream: SocketAddr) -> Self {
        Self::start(upstream, Setting::default()).await
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Got {
        let answer = timeout(PATIENCE, self.client.request(request)).await.expect("an answer").unwrap();
        let (head, body) = answer.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.expect("its body").unwrap().to_bytes();
        Got { status: head.status, headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    /// A request with a bot's token.
    pub(crate) fn request(
        &self,
        method: &Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}/api/v10{path}", self.address))
            .header("authorization", "Bot judge")
            .header("user-agent", "DiscordBot (test, 1)")
            .body(Full::new(body.into()))
            .unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.send(self.request(&Method::GET, path, "")).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Got {
        let mut request = self.request(&Method::POST, path, body);
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        self.send(request).await
    }

    /// The value of a metric's line.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.scrape().unwrap();
        let found =
            text.lines().find_map(|each| each.strip_prefix("test_")?.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or(0)
    }

    pub(crate) async fn finish(self) {
        drop(self.client);
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("it stops").unwrap();
    }
}

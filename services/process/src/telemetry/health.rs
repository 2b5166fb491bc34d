//! The HTTP server for probes and scrapes: `/health`, `/ready`, `/live`, `/metrics`.
//!
//! A component reports its state through [`HealthSource`]; no other process is asked, so a probe never waits. With credentials, `/health` and
//! `/metrics` need a client certificate or a bearer token from other hosts; `/live` and `/ready`, which name nothing, are open.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use fleet_model::Problem;
use futures_util::future::BoxFuture;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::metrics::{CONTENT_TYPE, Metrics};
use crate::{
    credentials::{Credentials, Ending, Peer, PortSecurity, calls::HEALTH_READERS},
    server::{Http1, Limits, Listener, is_for_localhost, serve_http1},
};

/// A probe is short, and a scraper that comes back later makes a new connection.
const LIMITS: Http1 = Http1 {
    head_within: Duration::from_secs(10),
    largest_head: 16 * 1024,
    last_answers: Duration::from_secs(1),
};

/// How a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well: 200.
    Healthy,
    /// It does its main work, and something needs attention: 200.
    Degraded,
    /// It can't do its main work: 503.
    Unhealthy,
}

impl Verdict {
    /// Its name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What a component says of itself. Both answers come from what it knows at this moment.
pub trait HealthSource: Send + Sync + 'static {
    /// The verdict, and the body of `/health`.
    fn health(&self) -> (Verdict, Value);
    /// Whether it takes part in the work now, and the body of `/ready`.
    fn ready(&self) -> (bool, Value);
}

/// Writes problems as JSON: `[{"code", "message", "since", "weight"}]`, `since` in RFC 3339 or null.
pub fn problems_json(problems: &[Problem]) -> Value {
    problems
        .iter()
        .map(|problem| {
            let since =
                problem.since_unix_ms.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
            json!({
                "code": problem.code.as_str(),
                "message": problem.to_string(),
                "since": since.map(|at| humantime::format_rfc3339_seconds(at).to_string()),
                "weight": problem.code.weight().as_str(),
            })
        })
        .collect()
}

/// The server, bound to its port.
#[derive(Debug)]
pub struct HealthServer {
    listener: Listener,
    address: SocketAddr,
    credentials: Credentials,
    more: Router,
}

/// The port can't be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind {address} ({setting}): {source}")]
pub struct BindError {
    address: SocketAddr,
    setting: &'static str,
    source: std::io::Error,
}

impl HealthServer {
    /// Binds the port. `setting` names the flag in the error.
    ///
    /// # Errors
    /// When the port is taken or not allowed.
    pub async fn bind(
        address: SocketAddr,
        setting: &'static str,
        credentials: Credentials,
    ) -> Result<Self, BindError> {
        let fail = |source| BindError { address, setting, source };
        let listener = Listener::bind(address, "health", Limits::HTTP1).await.map_err(fail)?;
        let address = listener.address().map_err(fail)?;
        Ok(Self { listener, address, credentials, more: Router::new() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds routes to the port.
    #[must_use]
    pub fn with_routes(mut self, more: Router) -> Self {
        self.more = more;
        self
    }

    /// Serves until `stop`. Boxed so that the server is compiled here, not in each program that polls it.
    pub fn serve(
        self,
        source: Arc<dyn HealthSource>,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(self.serve_until(source, metrics, stop))
    }

    async fn serve_until(self, source: Arc<dyn HealthSource>, metrics: Metrics, stop: CancellationToken) {
        let router = routes(source, metrics, self.credentials.clone()).merge(self.more);
        tracing::info!(address = %self.address, "health endpoints listening");
        let security = PortSecurity::Fleet(self.credentials);
        serve_http1(self.listener, security, LIMITS, TowerToHyperService::new(router), stop).await;
    }
}

pub(crate) fn routes(source: Arc<dyn HealthSource>, metrics: Metrics, credentials: Credentials) -> Router {
    let named = Router::new().route("/health", get(health)).route("/metrics", get(scrape));
    for_readers(named, credentials)
        .route("/ready", get(ready))
        .route("/live", get(live))
        .with_state(Served { source, metrics })
}

/// Closes routes whose answers have names to callers from other hosts that may not read them.
pub fn for_readers<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    credentials: Credentials,
) -> Router<S> {
    router.route_layer(from_fn_with_state(credentials, read_allowed))
}

async fn read_allowed(State(credentials): State<Credentials>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let peer = head.extensions.get::<Peer>();
    // A web page can reach this port by a name of its own that resolves to the loopback.
    let is_local = is_for_localhost(&head);
    match credentials.admit_reader(peer, is_local, &head.headers, HEALTH_READERS, head.uri.path()) {
        Ok(lost) => {
            let answer = next.run(Request::from_parts(head, body)).await;
            match lost {
                Some(lost) => answer.map(|body| Body::new(Ending::on(lost, body))),
                None => answer,
            }
        }
        Err(why) => {
            let bearer = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, bearer, Json(json!({ "error": why }))).into_response()
        }
    }
}

#[derive(Clone)]
struct Served {
    source: Arc<dyn HealthSource>,
    metrics: Metrics,
}

fn answer(ok: bool, body: Value) -> Response {
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // The details may repeat what Discord, a worker or a database sent.
    let body = outside_text::without_secrets(&body.to_string()).into_owned();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn health(State(served): State<Served>) -> Response {
    let (verdict, body) = served.source.health();
    answer(verdict != Verdict::Unhealthy, body)
}

async fn ready(State(served): State<Served>) -> Response {
    let (ready, body) = served.source.ready();
    answer(ready, body)
}

async fn live() -> Response {
    answer(true, json!({ "status": "alive" }))
}

async fn scrape(State(served): State<Served>) -> Response {
    match served.metrics.scrape() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

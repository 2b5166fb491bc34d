//! The way to Discord: connections that are kept, TLS, and nothing of limits.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backoff::{Backoff, Policy};
use bytes::Bytes;
use http::{Request, Response, Uri, uri};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use process::settings::ApiOrigin;
use rustls::crypto::ring::default_provider;
use tokio::time::Instant;

/// Discord.
const HOST: &str = "discord.com";
/// For name, TCP and TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an unused connection is kept.
const IDLE_FOR: Duration = Duration::from_mins(1);
/// How many of them.
const MOST_IDLE: usize = 128;

/// Waits after failed connections. Short, because callers are answered meanwhile and an interaction has 3 s.
const UNREACHABLE: Policy = Policy { longest: Duration::from_secs(5), ..Policy::DISCORD };

/// Any body on its way through.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;
/// Why it broke off.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Where requests go. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    scheme: uri::Scheme,
    authority: uri::Authority,
    reach: Arc<Mutex<Reachability>>,
}

/// Whether Discord can be reached.
#[derive(Debug)]
struct Reachability {
    backoff: Backoff,
    /// When the last failure was noted. Attempts that began earlier are ignored.
    failed_at: Option<Instant>,
    away_until: Option<Instant>,
}

/// No way to Discord can be set up.
#[derive(Debug, thiserror::Error)]
#[error("no connections to Discord's REST API can be made: {0}")]
pub struct UpstreamError(String);

impl Upstream {
    /// To Discord, or to a stand-in.
    ///
    /// # Errors
    /// TLS can't be set up, or the origin is no host.
    pub fn new(api: Option<&ApiOrigin>) -> Result<Self, UpstreamError> {
        let fail = |error: &dyn fmt::Display| UpstreamError(error.to_string());
        let (authority, is_plain) =
            api.map_or_else(|| (HOST.to_owned(), false), |api| (api.authority(), api.is_plain_http()));
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(default_provider())
            .map_err(|error| fail(&error))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(MOST_IDLE)
            .build(connector);
        let scheme = if is_plain { uri::Scheme::HTTP } else { uri::Scheme::HTTPS };
        let authority = authority.parse().map_err(|error| fail(&error))?;
        let reach = Reachability { backoff: Backoff::new(UNREACHABLE), failed_at: None, away_until: None };
        Ok(Self { client, scheme, authority, reach: Arc::new(Mutex::new(reach)) })
    }

    /// How long nothing is sent because Discord could not be reached.
    pub(crate) fn away_for(&self) -> Option<Duration> {
        let left = self.reach().away_until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Sends nothing for `wait`, as Cloudflare asked.
    pub(crate) fn stay_away(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut reach = self.reach();
        reach.away_until = reach.away_until.max(Some(until));
    }

    fn reach(&self) -> MutexGuard<'_, Reachability> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether an attempt that began at `began` could connect.
    fn reached(&self, is_reached: bool, began: Instant) {
        let (now, mut reach) = (Instant::now(), self.reach());
        if is_reached {
            reach.backoff.succeeded(now.into_std());
            if reach.failed_at.is_some_and(|at| at < began) {
                (reach.failed_at, reach.away_until) = (None, None);
            }
        } else if reach.failed_at.is_none_or(|at| at < began) {
            reach.backoff.failed(now.into_std());
            let wait = reach.backoff.wait(rand::random());
            (reach.failed_at, reach.away_until) = (Some(now), Some(now + wait));
        }
    }

    /// The URL of a path and query there.
    pub(crate) fn url(&self, path: uri::PathAndQuery) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
    }

    /// Sends a request. The answer's body is still to come.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        let began = Instant::now();
        let answer = self.client.request(request).await;
        match &answer {
            Ok(_) => self.reached(true, began),
            Err(error) if error.is_connect() => self.reached(false, began),
            Err(_) => {}
        }
        answer
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}://{})", self.scheme, self.authority)
    }
}

//! The HTTP proxy: takes requests, sends them when the [gate](crate::Gate) lets them, streams what comes back.
//!
//! It changes neither `Authorization` nor bodies, follows no redirect, and retries only after a 429, with growing waits. Its own
//! answers look like Discord's errors ([`answer`]).

mod answer;
mod body;
mod exchange;
#[cfg(test)]
mod fuzzing;
mod guard;
mod head;
mod server;
mod trace;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use backoff::{Backoff, Policy};
use futures_util::future::BoxFuture;
use http::{HeaderName, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use process::{
    credentials::{ClientFacingCertificate, Peer, PortSecurity},
    server::{Limits, Listener},
    telemetry::SpanKind,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Caller, Gate, RateLimit, RestMetrics, Scope, Upstream,
    gate::GateRefused,
    route::{Kind, Route},
    upstream::Body,
};
use body::CallerBody;
use exchange::ExchangeError;
use guard::RequestRejected;
use trace::RequestTrace;

/// A caller that can't wait out a 429 sets this to `503`: then it gets that status in its place. twilight-http without a rate limiter
/// repeats a 429 at once and ignores its headers.
pub const ANSWER_429_AS: HeaderName = HeaderName::from_static("x-answer-429-as");

/// Requests that wait or are under way; about what the longest wait can let through at 50 a second.
const REQUESTS: usize = 512;
/// First answers to interactions that are under way, beside the others.
const CALLBACKS: usize = 512;
/// How long a first answer to an interaction may wait after a 429: Discord takes it for 3 s.
const CALLBACK_WAIT: Duration = Duration::from_secs(2);
/// A request is sent again so often at most.
const RETRIES: u32 = 5;

/// How the proxy behaves.
#[derive(Clone, Debug)]
pub struct RestOptions {
    /// How long a request waits for its turn at most.
    pub longest_wait: Duration,
    /// The only accepted token; `None`: any.
    pub only_token: Option<Caller>,
    /// Whether requests for the gateway's address are passed on.
    pub allows_gateway: bool,
    /// The certificate of the port. With one, callers on other hosts need TLS.
    pub certificate: ClientFacingCertificate,
    /// The gateway that this proxy names in place of Discord's.
    pub gateway: Option<OwnGateway>,
}

/// A gateway that bots connect to in place of Discord's.
#[derive(Clone)]
pub struct OwnGateway {
    /// Its URL.
    pub url: String,
    /// How many shards a bot should have.
    pub shards: Arc<dyn Fn() -> u32 + Send + Sync>,
}

impl std::fmt::Debug for OwnGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnGateway").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Default for RestOptions {
    /// 10 s: discord.js gives up after 15 s.
    fn default() -> Self {
        Self {
            longest_wait: Duration::from_secs(10),
            only_token: None,
            allows_gateway: false,
            gateway: None,
            certificate: ClientFacingCertificate::none(),
        }
    }
}

/// The proxy, bound to its port.
#[derive(Debug)]
pub struct Rest {
    listener: Listener,
    address: SocketAddr,
}

impl Rest {
    /// Binds the port.
    ///
    /// # Errors
    /// It is taken or not allowed.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Self::over(Listener::bind(address, "rest", Limits::HTTP1).await?)
    }

    /// Binds the port, which others of this host may bind too.
    ///
    /// # Errors
    /// A program that does not share it has it, or it is not allowed.
    pub async fn bind_shared(address: SocketAddr) -> std::io::Result<Self> {
        Self::over(Listener::bind_shared(address, "rest", Limits::HTTP1).await?)
    }

    fn over(listener: Listener) -> std::io::Result<Self> {
        let address = listener.address()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; requests that are under way then may still end, for a few seconds.
    ///
    /// Boxed so that the server is compiled here, not in each program that polls it.
    pub fn serve(
        self,
        gate: Arc<Gate>,
        upstream: Upstream,
        metrics: RestMetrics,
        options: RestOptions,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        let security = PortSecurity::Clients(options.certificate.clone());
        let proxy = Proxy {
            gate,
            upstream,
            metrics,
            options,
            on_loopback: self.address.ip().is_loopback(),
            requests: Semaphore::new(REQUESTS),
            callbacks: Semaphore::new(CALLBACKS),
            kept: body::room(),
            tasks: TaskTracker::new(),
        };
        Box::pin(server::serve(self.listener, security, Arc::new(proxy), stop))
    }
}

/// What all requests share.
#[derive(Debug)]
struct Proxy {
    gate: Arc<Gate>,
    upstream: Upstream,
    metrics: RestMetrics,
    options: RestOptions,
    on_loopback: bool,
    requests: Semaphore,
    callbacks: Semaphore,
    /// Room for bodies that are kept to be sent again.
    kept: Arc<Semaphore>,
    /// Exchanges with Discord: they end even when the caller has left, as their outcome counts.
    tasks: TaskTracker,
}

impl Proxy {
    /// Answers one request.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let port =
            guard::Port { on_loopback: self.on_loopback, has_certificate: self.options.certificate.is_set() };
        if let Err(not_taken) = guard::check_sender(&head, head.extensions.get(), port) {
            return self.not_taken(not_taken);
        }
        let Some(route) = Route::of(&head.method, head.uri.path(), unix_ms()) else {
            return answer::error(StatusCode::NOT_FOUND, "404: Not Found");
        };
        if !matches!(
            head.method,
            Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE
        ) {
            return answer::error(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed");
        }
        let caller = Caller::of(head.headers.get(header::AUTHORIZATION));
        if let Err(not_taken) = guard::check_request(&route, &caller, &self.options) {
            return self.not_taken(not_taken);
        }
        if caller.has_token()
            && let Some(peer) = head.extensions.get::<Peer>()
        {
            peer.bot_token_shown();
        }
        if let Some(gateway) = self.options.gateway.as_ref().filter(|_| route.is_gateway) {
            let is_bot = head.uri.path().trim_end_matches('/').ends_with("/bot");
            return if is_bot {
                answer::gateway_bot(&gateway.url, (gateway.shards)())
            } else {
                answer::gateway(&gateway.url)
            };
        }
        let answer_429_as_503 = head.headers.get(&ANSWER_429_AS).is_some_and(|value| value == "503");
        let trace = RequestTrace::begin(&route, &head.headers);
        let answer = if let Some(_room) = self.room(&route) {
            self.pass(&route, &caller, head, body, &trace).await
        } else {
            self.metrics.refused("full");
            answer::full()
        };
        trace.answered(answer.status());
        if answer_429_as_503 && answer.status() == StatusCode::TOO_MANY_REQUESTS {
            return answer::as_503(answer.headers());
        }
        answer
    }

    fn room(&self, route: &Route) -> Option<SemaphorePermit<'_>> {
        let room = if route.kind == Kind::Callback { &self.callbacks } else { &self.requests };
        room.try_acquire().ok()
    }

    fn not_taken(&self, not_taken: RequestRejected) -> Response<Body> {
        self.metrics.refused(not_taken.name());
        answer::error(not_taken.status(), not_taken.text())
    }

    async fn pass(
        self: &Arc<Self>,
        route: &Route,
        caller: &Caller,
        mut head: Parts,
        body: Incoming,
        trace: &RequestTrace,
    ) -> Response<Body> {
        let wait = if route.kind == Kind::Callback { CALLBACK_WAIT } else { self.options.longest_wait };
        let until = Instant::now() + wait;
        let mut sent = match CallerBody::of(body, &self.kept).await {
            Ok(sent) => sent,
            Err(refused) => {
                self.metrics.refused(refused.name());
                return answer::error(refused.status(), refused.text());
            }
        };
        head::to_discord(&mut head.headers);
        let mut backoff = Backoff::new(Policy::DISCORD);
        loop {
            if let Some(left) = self.upstream.away_for() {
                self.metrics.refused("unreachable");
                return answer::unreachable(left);
            }
            let waiting = trace.part("wait_for_turn", SpanKind::Internal);
            let permit = match self.gate.enter(route, caller, until).await {
                Ok(permit) => permit,
                Err(refused) => return self.refused(refused),
            };
            drop(waiting);
            let Some(body) = sent.take() else {
                return answer::error(StatusCode::BAD_GATEWAY, "the body was sent and not kept");
            };
            let span = trace.part("discord_request", SpanKind::Client);
            let exchanged =
                self.exchange(route, permit, head::request(&head, &self.upstream), body, span).await;
            let (answer, limited) = match exchanged {
                Ok(exchanged) => exchanged,
                Err(failed) => {
                    if let ExchangeError::Caller(refused) = failed {
                        self.metrics.refused(refused.name());
                    }
                    return answer::error(failed.status(), failed.text());
                }
            };
            match limited {
                Some(limited) if backoff.failures() < RETRIES && sent.is_kept() && fits(limited, until) => {
                    backoff.failed(Instant::now().into_std());
                    if !gate_waits(route, limited) {
                        backoff.wait_at_least(limited.retry_after);
                    }
                    let wait = backoff.wait(rand::random());
                    if Instant::now() + wait >= until {
                        return answer;
                    }
                    self.metrics.retried();
                    let _waiting = trace.part("wait_after_429", SpanKind::Internal);
                    sleep(wait).await;
                }
                _ => return answer,
            }
        }
    }

    fn refused(&self, refused: GateRefused) -> Response<Body> {
        let (why, answer) = match refused {
            GateRefused::Late(wait, why) => ("late", answer::late(wait, why)),
            GateRefused::Breaker(left, why) => ("breaker", answer::breaker(left, why)),
            GateRefused::Token(_) => ("token", answer::error(StatusCode::UNAUTHORIZED, "401: Unauthorized")),
            GateRefused::Away => {
                ("away", answer::error(StatusCode::SERVICE_UNAVAILABLE, "the REST budget cannot be asked"))
            }
        };
        self.metrics.refused(why);
        answer
    }
}

/// A 429 can be waited out in time.
fn fits(limited: RateLimit, until: Instant) -> bool {
    limited.scope != Scope::Address && Instant::now() + limited.retry_after < until
}

/// What a 429 stopped is waited for at the gate.
fn gate_waits(route: &Route, limited: RateLimit) -> bool {
    match limited.scope {
        Scope::Global => route.kind == Kind::Bot,
        Scope::User | Scope::Shared => route.kind != Kind::Callback,
        Scope::Sub | Scope::Address => false,
    }
}

fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, crate::limits::millis)
}

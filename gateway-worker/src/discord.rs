//! Clients of Discord's REST API for bot code, through the worker's own proxy; and the check of the token, once at the start, so
//! that a wrong token is one clear error and not a login storm.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use discord_rest::ANSWER_429_AS;
use process::{settings::Secret, telemetry::trace_context::TRACEPARENT};
use tonic::codegen::http::{HeaderName, HeaderValue};
use twilight_http::{Client, client::ClientBuilder, error::ErrorType};

/// How long a request may take, its wait for a turn included: the proxy's longest is a minute, and it gives Discord 15 s.
const TIMEOUT: Duration = Duration::from_secs(80);
/// Time limit for a first answer to an interaction, and for the check of the token.
const SHORT: Duration = Duration::from_secs(5);

/// Clients that are made in a second at most, over all traced events: each opens a connection to the proxy.
const TRACED_PER_SECOND: u32 = 100;

/// The status 401.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("Discord refused the token (401): check DISCORD_TOKEN")]
pub struct TokenRefused;

/// Returns a client of the REST API through the proxy at `host:port`.
pub(crate) fn client(token: &Secret, proxy: &str) -> Client {
    builder(token, proxy).timeout(TIMEOUT).build()
}

/// Returns a client for first answers to interactions.
pub(crate) fn callbacks(token: &Secret, proxy: &str) -> Client {
    builder(token, proxy).timeout(SHORT).build()
}

/// Makes clients for traced events.
#[derive(Debug)]
pub(crate) struct ClientMaker {
    token: Secret,
    proxy: String,
    began: Instant,
    /// The second since then in which clients were last made, and how many.
    made: Mutex<(u64, u32)>,
}

impl ClientMaker {
    pub(crate) fn new(token: Secret, proxy: &str) -> Self {
        Self { token, proxy: proxy.to_owned(), began: Instant::now(), made: Mutex::default() }
    }

    /// Whether one more client may be made now.
    fn may_make(&self, second: u64) -> bool {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0 != second {
            *made = (second, 0);
        }
        made.1 += u32::from(made.1 <= TRACED_PER_SECOND);
        made.1 <= TRACED_PER_SECOND
    }

    fn make(&self, traceparent: &str, timeout: Duration) -> Option<Client> {
        let value = HeaderValue::from_str(traceparent).ok()?;
        if !self.may_make(self.began.elapsed().as_secs()) {
            return None;
        }
        let headers = default_headers().chain([(HeaderName::from_static(TRACEPARENT), value)]);
        let builder = builder(&self.token, &self.proxy).default_headers(headers.collect());
        Some(builder.timeout(timeout).build())
    }
}

/// The clients of one traced event. twilight takes no headers for a single request, so each has the event's `traceparent` as a default
/// header, and connections of its own. They are made when bot code first asks for them. `None` from a method: the event is not
/// linked to its calls, because others have used up [`TRACED_PER_SECOND`].
#[derive(Debug)]
pub(crate) struct TracedClients {
    traceparent: String,
    http: OnceLock<Option<Client>>,
    callbacks: OnceLock<Option<Client>>,
}

impl TracedClients {
    pub(crate) fn new(traceparent: String) -> Self {
        Self { traceparent, http: OnceLock::new(), callbacks: OnceLock::new() }
    }

    pub(crate) fn http(&self, makes: &ClientMaker) -> Option<&Client> {
        self.http.get_or_init(|| makes.make(&self.traceparent, TIMEOUT)).as_ref()
    }

    pub(crate) fn callbacks(&self, makes: &ClientMaker) -> Option<&Client> {
        self.callbacks.get_or_init(|| makes.make(&self.traceparent, SHORT)).as_ref()
    }
}

fn default_headers() -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    std::iter::once((ANSWER_429_AS, HeaderValue::from_static("503")))
}

/// The proxy keeps the limits, for the whole fleet: twilight's own limiter learns buckets only from headers with a scope, which
/// Discord sends with a 429, and sends first answers to interactions one after the other. Without it twilight repeats a 429 at once
/// and ignores its headers, so the proxy is asked to answer otherwise. Twilight also remembers refused tokens for good, which
/// is turned off.
fn builder(token: &Secret, proxy: &str) -> ClientBuilder {
    Client::builder()
        .token(token.expose().to_owned())
        .default_headers(default_headers().collect())
        .proxy(proxy.to_owned(), true)
        .ratelimiter(None)
        .remember_invalid_token(false)
}

/// Asks `GET /users/@me`. Only a refusal stops the start: other errors show at the gateway.
///
/// # Errors
/// [`TokenRefused`].
pub(crate) async fn check_token(token: &Secret, proxy: &str) -> Result<(), TokenRefused> {
    match callbacks(token, proxy).current_user().await {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorType::Unauthorized => Err(TokenRefused),
            ErrorType::Response { status, .. } if status.get() == 401 => Err(TokenRefused),
            // The error's own text contains the response body.
            kind => {
                let reason = match kind {
                    ErrorType::Response { status, .. } => format!("status {status}"),
                    ErrorType::RequestTimedOut => "timed out".to_owned(),
                    _ => "no answer".to_owned(),
                };
                tracing::warn!(reason, "token not checked: GET /users/@me failed");
                Ok(())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_traced_events_are_bounded_per_second() {
        let makes = ClientMaker::new(Secret::new("t"), "127.0.0.1:1");
        let made = |second| (0..1_000).filter(|_| makes.may_make(second)).count();
        assert_eq!((made(7), made(7), made(8)), (100, 0, 100));
    }
}

//! Clients of Discord's REST API for bot code, through the worker's own proxy; and the check of the token, once at the start, so
//! that a wrong token is one clear error and not a login storm.

use std::time::Duration;

use discord_rest::ANSWER_429_AS;
use process::settings::Secret;
use tonic::codegen::http::{HeaderMap, HeaderValue};
use twilight_http::{Client, client::ClientBuilder, error::ErrorType};

/// How long a request may take, its wait for a turn included: the proxy's longest is a minute, and it gives Discord 15 s.
const TIMEOUT: Duration = Duration::from_secs(80);
/// Time limit for a first answer to an interaction, and for the check of the token.
const SHORT: Duration = Duration::from_secs(5);

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

/// The proxy keeps the limits, for the whole fleet: twilight's own limiter learns buckets only from headers with a scope, which
/// Discord sends with a 429, and sends first answers to interactions one after the other. Without it twilight repeats a 429 at once
/// and ignores its headers, so the proxy is asked to answer otherwise. Twilight also remembers refused tokens for good, which
/// is turned off.
fn builder(token: &Secret, proxy: &str) -> ClientBuilder {
    let headers = HeaderMap::from_iter([(ANSWER_429_AS, HeaderValue::from_static("503"))]);
    Client::builder()
        .token(token.expose().to_owned())
        .default_headers(headers)
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

//! The coordinator's requests to Discord: `GET /gateway/bot` at the start, when the daily budget resets, and when a
//! worker reports that Discord refused the token.
//!
//! One [`Discord`] sends them one at a time. It waits between them by [`backoff::Policy::DISCORD`], and at least as
//! long as Discord asks for. While requests fail, [`Discord::problem`] says why and since when.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use backoff::{Backoff, Policy};
use bytes::Bytes;
use fleet_model::{Problem, ProblemCode};
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use process::settings::{ApiOrigin, GatewayUrl, Secret};
use tokio::time::{Instant, sleep_until, timeout};

use crate::https::{self, innermost};
use fleet::shard_total::Advice;

mod answer;
#[cfg(test)]
pub(crate) mod odd;
#[cfg(test)]
mod tests;

/// Time limit of one request, including its body.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest body that is read. `/gateway/bot` sends about 200 bytes.
const MOST_BYTES: usize = 64 * 1024;

/// Shortest time between two requests.
const SPACING: Duration = Duration::from_secs(1);

/// How long a refused token is not retried: each 401 counts towards a ban of the address.
const REFUSED_WAIT: Duration = Duration::from_mins(10);

/// The answer of `GET /gateway/bot`.
#[derive(Clone, Debug)]
pub struct GatewayInfo {
    /// The gateway's URL; the one in the settings takes precedence.
    pub url: String,
    /// How many shards, and how many at once.
    pub advice: Advice,
    /// IDENTIFYs a day.
    pub total: u32,
    /// IDENTIFYs left, at most `total`.
    pub remaining: u32,
    /// Time until the budget resets: a minute to a day.
    pub reset_after: Duration,
    /// When Discord answered.
    pub asked: Instant,
}

/// A failed `GET /gateway/bot`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DiscordError {
    /// Discord answers 401.
    #[error("Discord refused the token (401): check DISCORD_TOKEN")]
    TokenRefused,
    /// Any other failure; worth a retry.
    #[error("GET /gateway/bot failed: {0}")]
    Failed(String),
    /// The settings make no valid request.
    #[error("cannot prepare GET /gateway/bot: {0}")]
    Setup(String),
}

/// The client of Discord's REST API.
#[derive(Debug)]
pub struct Discord {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    uri: Uri,
    authorization: HeaderValue,
    gateway: Option<GatewayUrl>,
    pacing: Mutex<Pacing>,
}

/// When the next request may go out, and what is wrong.
#[derive(Debug)]
struct Pacing {
    backoff: Backoff,
    not_before: Instant,
    trouble: Option<Trouble>,
}

/// The last failure.
#[derive(Clone, Debug)]
struct Trouble {
    code: ProblemCode,
    cause: String,
    since_unix_ms: u64,
}

impl Discord {
    /// Creates a client with the bot's token. `gateway` replaces the URL that Discord answers with.
    ///
    /// # Errors
    /// [`DiscordError::Setup`]: the token or the origin is invalid, or TLS cannot be set up.
    pub fn new(
        token: &Secret,
        api: Option<&ApiOrigin>,
        gateway: Option<&GatewayUrl>,
    ) -> Result<Self, DiscordError> {
        let setup = |why: &str| DiscordError::Setup(why.to_owned());
        let token = token.expose();
        let prefix = if token.starts_with("Bot ") || token.starts_with("Bearer ") { "" } else { "Bot " };
        let mut authorization = HeaderValue::try_from(format!("{prefix}{token}"))
            .map_err(|_| setup("DISCORD_TOKEN contains invalid characters"))?;
        authorization.set_sensitive(true);
        let origin = api.map_or_else(
            || "https://discord.com".to_owned(),
            |api| format!("{}://{}", if api.is_plain_http() { "http" } else { "https" }, api.authority()),
        );
        let uri = Uri::try_from(format!("{origin}/api/v10/gateway/bot"))
            .map_err(|_| setup("DISCORD_API_URL is not an origin"))?;
        let connector = https::connector(TIMEOUT / 2).map_err(|error| setup(&error.to_string()))?;
        // Requests are hours apart, so no connection is kept.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let backoff = Backoff::new(Policy::DISCORD);
        let pacing = Pacing { backoff, not_before: Instant::now(), trouble: None };
        Ok(Self { client, uri, authorization, gateway: gateway.cloned(), pacing: Mutex::new(pacing) })
    }

    /// Sends one request, as soon as the back-off and Discord's own waits allow.
    ///
    /// # Errors
    /// See [`DiscordError`].
    pub async fn gateway_info(&self) -> Result<GatewayInfo, DiscordError> {
        while let Some(at) = self.begin() {
            sleep_until(at).await;
        }
        match self.ask().await {
            Ok(info) => {
                let mut pacing = self.pacing();
                pacing.backoff.succeeded(Instant::now().into_std());
                if pacing.trouble.take().is_some() {
                    tracing::info!("GET /gateway/bot succeeded again");
                }
                Ok(info)
            }
            Err(Refusal { error, floor }) => {
                self.failed(&error, floor);
                Err(error)
            }
        }
    }

    /// Retries until Discord answers.
    ///
    /// # Errors
    /// Only [`DiscordError::TokenRefused`].
    pub async fn gateway_info_at_last(&self) -> Result<GatewayInfo, DiscordError> {
        loop {
            match self.gateway_info().await {
                Err(DiscordError::Failed(_)) => {}
                answer => return answer,
            }
        }
    }

    /// Why the last request failed, and since when requests fail; `None` after an answer.
    pub fn problem(&self) -> Option<Problem> {
        let pacing = self.pacing();
        let Trouble { code, cause, since_unix_ms } = pacing.trouble.as_ref()?;
        let left = pacing.not_before.saturating_duration_since(Instant::now()).as_millis().div_ceil(1000);
        let message = format!("{cause}; asked {} times, next in {left} s", pacing.backoff.failures());
        Some(Problem::new(*code, message).since(*since_unix_ms))
    }

    /// Starts a request, or returns when the next one may go out.
    fn begin(&self) -> Option<Instant> {
        let mut pacing = self.pacing();
        let now = Instant::now();
        if now < pacing.not_before {
            return Some(pacing.not_before);
        }
        // A cancelled request counts as failed.
        pacing.not_before = now + SPACING;
        None
    }

    fn failed(&self, error: &DiscordError, floor: Duration) {
        let mut pacing = self.pacing();
        let now = Instant::now();
        pacing.backoff.failed(now.into_std());
        // Discord's wait applies once: the next failure brings its own.
        let wait = floor.saturating_add(pacing.backoff.wait(rand::random())).max(SPACING);
        pacing.not_before = now + wait;
        let code = match error {
            DiscordError::TokenRefused => ProblemCode::TokenRefused,
            DiscordError::Failed(_) | DiscordError::Setup(_) => ProblemCode::DiscordUnreachable,
        };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_unix_ms = pacing
            .trouble
            .take()
            .filter(|before| before.code == code)
            .map_or(unix.as_millis() as u64, |before| before.since_unix_ms);
        let cause = error.to_string();
        tracing::warn!(%cause, next_in_ms = wait.as_millis() as u64, "GET /gateway/bot failed");
        pacing.trouble = Some(Trouble { code, cause, since_unix_ms });
    }

    fn pacing(&self) -> std::sync::MutexGuard<'_, Pacing> {
        self.pacing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self) -> Result<GatewayInfo, Refusal> {
        let answered = timeout(TIMEOUT, self.fetch()).await;
        answered.unwrap_or_else(|_| Err(Refusal::failed(format!("no answer within {TIMEOUT:?}"))))
    }

    async fn fetch(&self) -> Result<GatewayInfo, Refusal> {
        let request = Request::get(self.uri.clone())
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|error| Refusal::failed(error.to_string()))?;
        let response =
            self.client.request(request).await.map_err(|error| Refusal::failed(innermost(&error)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MOST_BYTES).collect().await.map(http_body_util::Collected::to_bytes);
        answer::read(&head, body.ok().as_deref(), self.gateway.as_ref(), SystemTime::now())
    }
}

/// The form that Discord requires: `DiscordBot ($url, $version)`, then any text. The project has no page of its own.
/// [Source](https://docs.discord.com/developers/reference#user-agent).
const USER_AGENT: &str = concat!(
    "DiscordBot (https://discord.com/developers/applications, ",
    env!("CARGO_PKG_VERSION"),
    ") altergolden"
);

/// A failed request, and the wait that Discord asks for.
#[derive(Debug)]
struct Refusal {
    error: DiscordError,
    floor: Duration,
}

impl Refusal {
    fn failed(why: String) -> Self {
        Self { error: DiscordError::Failed(why), floor: Duration::ZERO }
    }
}

//! What Discord says at the start and at each new day of the budget: `GET /gateway/bot`.

use std::time::Duration;

use settings::{ApiOrigin, Secret};
use tokio::time::Instant;
use twilight_http::{Client, error::ErrorType};

use crate::shard_total::Advice;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The budget is not asked for again sooner than this.
const SOONEST_RESET: Duration = Duration::from_mins(1);

/// The first wait after a failure; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What Discord says.
#[derive(Clone, Debug)]
pub struct GatewayInfo {
    /// The gateway's URL.
    pub url: String,
    /// How many shards, and how many at once.
    pub advice: Advice,
    /// IDENTIFYs a day.
    pub total: u32,
    /// IDENTIFYs left.
    pub remaining: u32,
    /// When Discord counts anew.
    pub reset_after: Duration,
    /// When it said so.
    pub asked: Instant,
}

/// Discord did not say.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DiscordError {
    /// 401: trying again would be a login storm.
    #[error("Discord refused the token (401): check DISCORD_TOKEN")]
    TokenRefused,
    /// Anything else; worth another try.
    #[error("GET /gateway/bot failed: {0}")]
    Failed(String),
}

/// The client for Discord's REST API.
#[derive(Debug)]
pub struct Discord {
    client: Client,
}

impl Discord {
    /// A client with the bot's token. A rustls provider must be installed.
    pub fn new(token: &Secret, api: Option<&ApiOrigin>) -> Self {
        let mut builder = Client::builder().token(token.expose().to_owned()).timeout(TIMEOUT);
        if let Some(api) = api {
            builder = builder.proxy(api.authority(), api.is_plain_http());
        }
        Self { client: builder.build() }
    }

    /// Asks once.
    ///
    /// # Errors
    /// See [`DiscordError`].
    pub async fn gateway_info(&self) -> Result<GatewayInfo, DiscordError> {
        let response = self.client.gateway().authed().await.map_err(|error| match error.kind() {
            ErrorType::Unauthorized => DiscordError::TokenRefused,
            ErrorType::Response { status, .. } if status.get() == 401 => DiscordError::TokenRefused,
            ErrorType::Response { status, .. } => DiscordError::Failed(format!("status {status}")),
            _ => DiscordError::Failed(innermost(&error)),
        })?;
        let info = response.model().await.map_err(|error| DiscordError::Failed(innermost(&error)))?;
        let limit = info.session_start_limit;
        Ok(GatewayInfo {
            url: info.url,
            advice: Advice { shards: info.shards, max_concurrency: limit.max_concurrency.into() },
            total: limit.total,
            remaining: limit.remaining,
            asked: Instant::now(),
            // Bots with one shard are told 0; asking again at once would hammer Discord.
            reset_after: Duration::from_millis(limit.reset_after).max(SOONEST_RESET),
        })
    }

    /// Asks until there is an answer, with growing waits.
    ///
    /// # Errors
    /// Only [`DiscordError::TokenRefused`].
    pub async fn gateway_info_at_last(&self) -> Result<GatewayInfo, DiscordError> {
        let mut wait = FIRST_WAIT;
        loop {
            match self.gateway_info().await {
                Err(DiscordError::Failed(reason)) => {
                    tracing::warn!(%reason, again_in = ?wait, "Discord does not answer GET /gateway/bot");
                }
                answer => return answer,
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

/// The last cause: what happened, without the words around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

//! Whether Discord takes the token: asked once at the start, so that a wrong one is one clear line and no login storm.

use std::time::Duration;

use settings::{ApiOrigin, Secret};
use twilight_http::{Client, client::ClientBuilder, error::ErrorType};

/// How long the request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// 401.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("Discord refused the token (401): check DISCORD_TOKEN")]
pub struct TokenRefused;

/// A client of the REST API.
pub(crate) fn client(token: &Secret, api: Option<&ApiOrigin>) -> Client {
    builder(token, api).build()
}

/// A client for first answers to interactions: Discord does not count them against the global limit, each has a path of its own, and
/// twilight's limiter would send them one after the other
/// ([Interactions](https://discord.com/developers/docs/topics/rate-limits#global-rate-limit)).
pub(crate) fn callbacks(token: &Secret, api: Option<&ApiOrigin>) -> Client {
    builder(token, api).ratelimiter(None).build()
}

fn builder(token: &Secret, api: Option<&ApiOrigin>) -> ClientBuilder {
    let builder = Client::builder().token(token.expose().to_owned()).timeout(TIMEOUT);
    match api {
        Some(api) => builder.proxy(api.authority(), api.is_plain_http()),
        None => builder,
    }
}

/// Asks `GET /users/@me`. Anything but a refusal is no reason not to start: the gateway will tell.
///
/// # Errors
/// [`TokenRefused`].
pub(crate) async fn check_token(token: &Secret, api: Option<&ApiOrigin>) -> Result<(), TokenRefused> {
    match client(token, api).current_user().await {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorType::Unauthorized => Err(TokenRefused),
            ErrorType::Response { status, .. } if status.get() == 401 => Err(TokenRefused),
            _ => {
                tracing::warn!(%error, "Discord's REST API does not answer; the token is not checked");
                Ok(())
            }
        },
    }
}

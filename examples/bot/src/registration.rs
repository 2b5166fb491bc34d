//! Registers the commands with Discord, retrying until it succeeds.

use std::time::Duration;

use twilight_http::{Client, response::DeserializeBodyError};

use crate::commands;

/// Wait after the first failure; it doubles with each further one up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// Why the commands were not registered.
#[derive(Debug, thiserror::Error)]
enum RegistrationError {
    /// The request failed or was rejected.
    #[error(transparent)]
    Request(#[from] twilight_http::Error),
    /// The answer is malformed.
    #[error(transparent)]
    Answer(#[from] DeserializeBodyError),
}

/// Replaces all global commands, retrying until it succeeds. May be cancelled at any time.
pub(crate) async fn register(http: &Client) {
    let mut wait = FIRST;
    loop {
        match overwrite(http).await {
            Ok(count) => {
                tracing::info!(count, "commands registered");
                return;
            }
            Err(error) => tracing::warn!(%error, retry_in = ?wait, "cannot register commands"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST);
    }
}

async fn overwrite(http: &Client) -> Result<usize, RegistrationError> {
    let application = http.current_user_application().await?.model().await?.id;
    let commands = commands::all();
    http.interaction(application).set_global_commands(&commands).await?;
    Ok(commands.len())
}

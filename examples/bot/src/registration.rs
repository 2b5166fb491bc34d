//! Tells Discord which commands there are, until it has taken them.

use std::time::Duration;

use twilight_http::{Client, response::DeserializeBodyError};

use crate::commands;

/// The wait after a failure. It doubles with each further one, up to the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// Why Discord did not take the commands.
#[derive(Debug, thiserror::Error)]
enum RegistrationError {
    /// No answer, or a refusal.
    #[error(transparent)]
    Request(#[from] twilight_http::Error),
    /// An answer that can't be read.
    #[error(transparent)]
    Answer(#[from] DeserializeBodyError),
}

/// Replaces all registered commands, for all guilds. Ends when that has worked; may be dropped at any time.
pub(crate) async fn register(http: &Client) {
    let mut wait = FIRST;
    loop {
        match overwrite(http).await {
            Ok(count) => {
                tracing::info!(count, "commands registered");
                return;
            }
            Err(error) => tracing::warn!(%error, again_in = ?wait, "the commands are not registered"),
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

//! Secrets: never a flag, never shown.

use std::{env, fmt, fs};

use super::SettingsError;

/// A value that no log, error, metric or debug print shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(value))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The bot's token, from `DISCORD_TOKEN`, its older name `BOT_TOKEN`, or the file that `DISCORD_TOKEN_FILE` names.
///
/// # Errors
/// Two of them at once with different values, or a file that can't be read or is empty.
pub fn discord_token() -> Result<Option<Secret>, SettingsError> {
    let token = read_secret("DISCORD_TOKEN", "DISCORD_TOKEN_FILE")?;
    let older = variable("BOT_TOKEN");
    match (token, older) {
        (Some(token), Some(older)) if token.expose() != older.expose() => {
            Err(SettingsError::new("BOT_TOKEN", "DISCORD_TOKEN is set too, and differs: set only one"))
        }
        (token, older) => Ok(token.or(older)),
    }
}

/// Returns the name of the variable that [`discord_token`] takes the token from.
pub fn discord_token_source() -> Option<&'static str> {
    ["DISCORD_TOKEN", "DISCORD_TOKEN_FILE", "BOT_TOKEN"].into_iter().find(|name| variable(name).is_some())
}

/// Returns the bot's token, which logs and errors hide from now on.
///
/// # Errors
/// The token is not set.
pub fn required_token(token: Option<Secret>) -> Result<Secret, SettingsError> {
    let token = token.ok_or_else(|| {
        SettingsError::new(
            "DISCORD_TOKEN",
            "is not set; set it or DISCORD_TOKEN_FILE (`altergolden dev` needs none)",
        )
    })?;
    outside_text::hide_secret(token.expose());
    Ok(token)
}

/// A secret from the variable `name` or from the file that the variable `file_name` names.
///
/// # Errors
/// Both at once, or a file that can't be read or is empty.
pub fn read_secret(name: &'static str, file_name: &'static str) -> Result<Option<Secret>, SettingsError> {
    let value = variable(name);
    let Some(path) = variable(file_name) else { return Ok(value) };
    if value.is_some() {
        return Err(SettingsError::new(file_name, format!("{name} is set too: set only one")));
    }
    let path = path.expose();
    let text = fs::read_to_string(path)
        .map_err(|error| SettingsError::new(file_name, format!("cannot read {path}: {error}")))?;
    match text.trim() {
        "" => Err(SettingsError::new(file_name, format!("{path} is empty"))),
        secret => Ok(Some(Secret::new(secret))),
    }
}

/// A variable's trimmed value; an empty one counts as not set, as in an `.env` file.
fn variable(name: &str) -> Option<Secret> {
    let value = env::var(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| Secret::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_secrets() {
        assert_eq!(format!("{:?}", Secret::new("abc")), "Secret(..)");
    }
}

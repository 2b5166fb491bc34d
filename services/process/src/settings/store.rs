//! Flags of the Redis that holds the shared state of the fleet.

use std::{fs, path::PathBuf};

use redis_link::{KeyPrefix, RedisUrl};

use super::{Secret, SettingsError};

/// Address of Redis and prefix of the keys.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Redis")]
pub struct StoreArgs {
    /// Redis of the fleet, required: `redis://`, `rediss://`, `redis-sentinel://HOST:PORT,HOST:PORT/?master=NAME` or
    /// `redis-cluster://HOST:PORT,HOST:PORT`
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,

    /// File with the password of Redis, for a REDIS_URL without one; it is read at each connection
    #[arg(long, env = "REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub redis_password_file: Option<PathBuf>,

    /// File with the certificate authority of Redis in PEM, for `rediss://` with certificates of your own
    #[arg(long, env = "REDIS_CA_FILE", value_name = "FILE")]
    pub redis_ca_file: Option<PathBuf>,

    /// Prefix of every key and channel; two bots can share a Redis with different prefixes
    #[arg(long, env = "REDIS_PREFIX", value_name = "TEXT", default_value = "altergolden")]
    pub redis_prefix: KeyPrefix,
}

impl StoreArgs {
    /// Whether a Redis is named; its URL may still be invalid.
    pub fn is_named(&self) -> bool {
        self.given().is_some()
    }

    /// Returns the URL. It is checked here because an error of the command line would show its password.
    ///
    /// # Errors
    /// It is not set or not a Redis URL; a file with the password or the certificate authority cannot be used.
    pub fn url(&self) -> Result<RedisUrl, SettingsError> {
        let setting = "--redis-url (REDIS_URL)";
        let url = self.given().ok_or_else(|| {
            SettingsError::new(setting, "is not set; set it (`altergolden dev` needs none)")
        })?;
        let url: RedisUrl = url.expose().parse().map_err(|error| SettingsError::new(setting, error))?;
        let url = self.with_root(url)?;
        let Some(file) = set(self.redis_password_file.as_ref()) else { return Ok(url) };
        // A mistake ends the process before a port is bound.
        fs::metadata(file).map_err(|error| {
            let why = format!("cannot read {}: {error}", file.display());
            SettingsError::new("--redis-password-file (REDIS_PASSWORD_FILE)", why)
        })?;
        url.with_password_file(file.clone()).map_err(|error| SettingsError::new(setting, error))
    }

    /// Has the URL trust the certificate authority that is set, if it uses TLS.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate.
    pub fn with_root(&self, url: RedisUrl) -> Result<RedisUrl, SettingsError> {
        let Some(file) = set(self.redis_ca_file.as_ref()) else { return Ok(url) };
        let setting = "--redis-ca-file (REDIS_CA_FILE)";
        let pem = fs::read(file).map_err(|error| {
            SettingsError::new(setting, format!("cannot read {}: {error}", file.display()))
        })?;
        url.with_root(pem).map_err(|error| SettingsError::new(setting, error))
    }

    /// The URL from the flag or its variable; an empty one counts as not set.
    fn given(&self) -> Option<&Secret> {
        self.redis_url.as_ref().filter(|url| !url.expose().trim().is_empty())
    }
}

/// A path that is set: an empty variable counts as not set, as in an `.env` file.
fn set(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

//! Flags of the Redis that holds the shared state of the fleet.

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

    /// Prefix of every key and channel; two bots can share a Redis with different prefixes
    #[arg(long, env = "REDIS_PREFIX", value_name = "TEXT", default_value = "altergolden")]
    pub redis_prefix: KeyPrefix,
}

impl StoreArgs {
    /// Returns the URL. It is checked here because an error of the command line would show its password.
    ///
    /// # Errors
    /// It is not set, or not a Redis URL.
    pub fn url(&self) -> Result<RedisUrl, SettingsError> {
        let setting = "--redis-url (REDIS_URL)";
        let Some(url) = &self.redis_url else {
            return Err(SettingsError::new(setting, "is not set (`altergolden dev` needs none)"));
        };
        url.expose().parse().map_err(|error| SettingsError::new(setting, error))
    }
}

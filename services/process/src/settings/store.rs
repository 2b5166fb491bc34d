//! Flags of the Redis that holds the shared state of the fleet.

use redis_link::{KeyPrefix, RedisUrl};

use super::{Secret, SettingsError, secret};

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

/// The variable that names a file with the URL: like the token's, for deployments that make a password.
const FILE: &str = "REDIS_URL_FILE";

impl StoreArgs {
    /// Whether a Redis is named; its URL may still be invalid.
    pub fn is_named(&self) -> bool {
        self.given().is_some() || secret::variable(FILE).is_some()
    }

    /// Returns the URL. It is checked here because an error of the command line would show its password.
    ///
    /// # Errors
    /// It is not set or not a Redis URL, or its file can't be read.
    pub fn url(&self) -> Result<RedisUrl, SettingsError> {
        let setting = "--redis-url (REDIS_URL)";
        let from_file = secret::read_secret_file(FILE, "REDIS_URL", self.given().is_some())?;
        let (setting, url) = match (self.given(), &from_file) {
            (Some(url), _) => (setting, url),
            (None, Some(url)) => (FILE, url),
            (None, None) => {
                let problem = "is not set; set it or REDIS_URL_FILE (`altergolden dev` needs none)";
                return Err(SettingsError::new(setting, problem));
            }
        };
        url.expose().parse().map_err(|error| SettingsError::new(setting, error))
    }

    /// The URL from the flag or its variable; an empty one counts as not set.
    fn given(&self) -> Option<&Secret> {
        self.redis_url.as_ref().filter(|url| !url.expose().trim().is_empty())
    }
}

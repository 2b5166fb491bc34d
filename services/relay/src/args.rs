//! Flags of the relay of events to bots in other languages.

use std::time::Duration;

use process::settings::{self, Secret, SettingsError};
use redis_link::{LinkOptions, RedisLink, RedisUrl};

use crate::{Caps, EventNames, RedisRelay, StreamPrefix};

/// Flags of the relay.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Relay")]
pub struct RelayArgs {
    /// `redis` puts events into Redis streams for bots in other languages; `off` does not. The coordinator needs it only to
    /// serve ShardBridge/Events
    #[arg(long, env = "RELAY", value_name = "WHAT", default_value = "off")]
    pub relay: RelayKind,

    /// Relayed events: `all`, or names such as MESSAGE_CREATE,INTERACTION_CREATE
    #[arg(long, env = "RELAY_EVENTS", value_name = "LIST", default_value = "all")]
    pub relay_events: EventNames,

    /// Prefix of the streams' names; in a Redis Cluster it needs a hash tag, such as {bot}:
    #[arg(long, env = "RELAY_PREFIX", value_name = "TEXT", default_value = "")]
    pub relay_prefix: StreamPrefix,

    /// Approximate maximum number of entries in each stream
    #[arg(long, env = "RELAY_MAX_LENGTH", value_name = "NUMBER", default_value_t = Caps::default().length,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub relay_max_length: u64,

    /// Approximate maximum size of each stream, in MiB
    #[arg(long, env = "RELAY_MAX_MIB", value_name = "NUMBER", default_value_t = Caps::default().bytes / MIB,
          value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub relay_max_mib: u64,

    /// Maximum age of entries
    #[arg(long, env = "RELAY_MAX_AGE", value_name = "DURATION", default_value = "1h", value_parser = settings::duration)]
    pub relay_max_age: Duration,

    /// Redis for the streams, written like REDIS_URL; by default that one
    #[arg(long, env = "RELAY_REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub relay_redis_url: Option<Secret>,
}

const MIB: u64 = 1024 * 1024;

/// The target of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayKind {
    /// No relay.
    Off,
    /// Redis streams.
    Redis,
}

impl std::str::FromStr for RelayKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "redis" => Ok(Self::Redis),
            _ => Err("it takes `redis` or `off`".to_owned()),
        }
    }
}

impl RelayArgs {
    /// Returns the streams, if the relay is on; without a URL of their own they are in `store`.
    ///
    /// # Errors
    /// The URL is not a Redis URL, or the prefix does not keep the streams in one slot of a Cluster.
    pub fn streams(&self, store: &RedisUrl) -> Result<Option<RedisRelay>, SettingsError> {
        if self.relay == RelayKind::Off {
            return Ok(None);
        }
        let url = match &self.relay_redis_url {
            Some(url) => {
                let wrong = |error| SettingsError::new("--relay-redis-url (RELAY_REDIS_URL)", error);
                let url: RedisUrl = url.expose().parse().map_err(wrong)?;
                url.trusting_as(store)
            }
            None => store.clone(),
        };
        if url.is_cluster() && !self.relay_prefix.has_hash_tag() {
            return Err(SettingsError::new(
                "--relay-prefix (RELAY_PREFIX)",
                "in a Redis Cluster it needs a hash tag, as {bot}: , so that all streams are in one slot",
            ));
        }
        let caps =
            Caps { length: self.relay_max_length, bytes: self.relay_max_mib * MIB, age: self.relay_max_age };
        let link = RedisLink::new(url, LinkOptions::default());
        Ok(Some(RedisRelay::new(link, self.relay_prefix.clone(), caps)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        relay: RelayArgs,
    }

    fn streams(flags: &[&str], store: &str) -> Result<Option<RedisRelay>, SettingsError> {
        let program = Program::try_parse_from([&["program"], flags].concat()).unwrap();
        program.relay.streams(&store.parse().unwrap())
    }

    #[test]
    fn clusters_need_a_hash_tag() {
        let (one, cluster) = ("redis://127.0.0.1:1", "redis-cluster://127.0.0.1:1");
        assert!(streams(&[], one).unwrap().is_none());
        assert!(streams(&["--relay=redis"], one).unwrap().is_some());
        let refused = streams(&["--relay=redis"], cluster).unwrap_err().to_string();
        assert!(refused.contains("RELAY_PREFIX"), "{refused}");
        assert!(streams(&["--relay=redis", "--relay-prefix={bot}:"], cluster).unwrap().is_some());
        let own = streams(&["--relay=redis", "--relay-redis-url", one], cluster).unwrap();
        assert!(own.is_some());
        streams(&["--relay=redis", "--relay-redis-url", "http://x"], one).unwrap_err();
    }
}

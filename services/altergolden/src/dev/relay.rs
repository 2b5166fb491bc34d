//! The relay of dev mode: in memory for `ShardBridge/Events`, and with a Redis also as streams for discord.js's brokers.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use gateway_worker::Relay;
use process::settings::{self, Secret, SettingsError};
use redis_link::{LinkOptions, RedisLink, RedisUrl};
use relay::{Caps, EventNames, MemoryRelay, RedisRelay, RunClaim, StreamPrefix};

use crate::exit::CommandOutcome;

/// Settings, as errors name them, with their variables.
const REDIS_URL: UrlSetting = UrlSetting { named: "--redis-url (REDIS_URL)", variable: "REDIS_URL" };
const RELAY_REDIS_URL: UrlSetting =
    UrlSetting { named: "--relay-redis-url (RELAY_REDIS_URL)", variable: "RELAY_REDIS_URL" };
const MIB: u64 = 1024 * 1024;

/// Number and bytes of events that are kept in memory.
const IN_MEMORY: (u64, u64) = (20_000, 32 * MIB);

/// Flags of dev mode's relay.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Relay: events for bots in any language")]
pub(super) struct DevRelayArgs {
    /// Redis for the streams of events; nothing else of dev mode is kept there. By default events are in memory, for gRPC only
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub(super) redis_url: Option<Secret>,

    /// `memory`, `redis` (for gRPC too) or `off`; by default `redis` with a URL, else `memory`
    #[arg(long, env = "RELAY", value_name = "WHERE")]
    pub(super) relay: Option<RelayPlace>,

    /// Relayed events: `all`, or names such as MESSAGE_CREATE,INTERACTION_CREATE
    #[arg(long, env = "RELAY_EVENTS", value_name = "LIST", default_value = "all")]
    pub(super) relay_events: EventNames,

    /// Prefix of the streams' names in Redis
    #[arg(long, env = "RELAY_PREFIX", value_name = "TEXT", default_value = "")]
    pub(super) relay_prefix: StreamPrefix,

    /// Maximum number of entries: in each stream of Redis by default 100000, in memory 20000 in all
    #[arg(long, env = "RELAY_MAX_LENGTH", hide_short_help = true, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) relay_max_length: Option<u64>,

    /// Maximum size in MiB: of each stream of Redis by default 256, in memory 32 in all
    #[arg(long, env = "RELAY_MAX_MIB", hide_short_help = true, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub(super) relay_max_mib: Option<u64>,

    /// Maximum age of entries
    #[arg(long, env = "RELAY_MAX_AGE", hide_short_help = true, value_name = "DURATION", default_value = "1h", value_parser = settings::duration)]
    pub(super) relay_max_age: Duration,

    /// Redis for the streams, in place of --redis-url
    #[arg(long, env = "RELAY_REDIS_URL", hide_short_help = true, value_name = "URL", hide_env_values = true)]
    pub(super) relay_redis_url: Option<Secret>,
}

/// A setting of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UrlSetting {
    /// Its flag and its variable, for errors.
    pub(super) named: &'static str,
    pub(super) variable: &'static str,
}

/// Where events go, as the flag has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelayPlace {
    Memory,
    Redis,
    Off,
}

impl FromStr for RelayPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "memory" => Ok(Self::Memory),
            "redis" => Ok(Self::Redis),
            "off" => Ok(Self::Off),
            _ => Err("it takes `memory`, `redis` or `off`".to_owned()),
        }
    }
}

/// Where events go.
#[derive(Clone, Debug)]
pub(super) enum RelayTarget {
    Memory,
    Redis {
        url: Box<RedisUrl>,
        prefix: StreamPrefix,
        /// The variable that the URL is set by; it has a flag too.
        setting: UrlSetting,
    },
    Off,
}

impl fmt::Display for RelayTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("in memory"),
            Self::Redis { url, setting, .. } => write!(f, "{url} ({})", setting.variable),
            Self::Off => f.write_str("off"),
        }
    }
}

impl DevRelayArgs {
    /// The URL that is used if the relay is in Redis, and its setting. An empty value counts as not set.
    fn url(&self) -> Option<(&Secret, UrlSetting)> {
        let given = |url: &Secret| !url.expose().trim().is_empty();
        let own = self.relay_redis_url.as_ref().filter(|url| given(url)).map(|url| (url, RELAY_REDIS_URL));
        own.or_else(|| self.redis_url.as_ref().filter(|url| given(url)).map(|url| (url, REDIS_URL)))
    }

    /// Chooses where events go.
    ///
    /// # Errors
    /// Redis is wanted without a URL, or the URL or the prefix cannot be used.
    pub(super) fn target(&self) -> Result<RelayTarget, SettingsError> {
        let (text, setting) = match (self.relay, self.url()) {
            (Some(RelayPlace::Off), _) => return Ok(RelayTarget::Off),
            (Some(RelayPlace::Memory), _) | (None, None) => return Ok(RelayTarget::Memory),
            (Some(RelayPlace::Redis), None) => {
                let problem =
                    format!("`redis` needs a Redis: start redis-server and set {}", REDIS_URL.named);
                return Err(SettingsError::new("--relay (RELAY)", problem));
            }
            (Some(RelayPlace::Redis) | None, Some(url)) => url,
        };
        let url: RedisUrl =
            text.expose().parse().map_err(|error| SettingsError::new(setting.named, error))?;
        if url.is_cluster() && !self.relay_prefix.has_hash_tag() {
            return Err(SettingsError::new(
                "--relay-prefix (RELAY_PREFIX)",
                "in a Redis Cluster it needs a hash tag, as {bot}: , so that all streams are in one slot",
            ));
        }
        Ok(RelayTarget::Redis { url: Box::new(url), prefix: self.relay_prefix.clone(), setting })
    }

    /// Opens the relay. Streams in Redis are emptied: bots of this run must not get events of an earlier run.
    ///
    /// # Errors
    /// Redis does not answer, or has streams of a fleet that keeps its state.
    pub(super) async fn open(&self, target: &RelayTarget) -> Result<Option<Relay>, CommandOutcome> {
        let caps = |(length, bytes): (u64, u64)| Caps {
            length: self.relay_max_length.unwrap_or(length),
            bytes: self.relay_max_mib.map_or(bytes, |mib| mib * MIB),
            age: self.relay_max_age,
        };
        let names = self.relay_events.clone();
        let (url, setting) = match target {
            RelayTarget::Off => return Ok(None),
            RelayTarget::Memory => {
                let store = Arc::new(MemoryRelay::new(caps(IN_MEMORY)));
                return Ok(Some(Relay { store, redis: None, names }));
            }
            RelayTarget::Redis { url, setting, .. } => (url, setting.named),
        };
        let defaults = Caps::default();
        let link = RedisLink::new(url.as_ref().clone(), LinkOptions::default());
        let mut redis =
            RedisRelay::new(link, self.relay_prefix.clone(), caps((defaults.length, defaults.bytes)));
        match redis.claim_for_one_run().await {
            Ok(RunClaim::Empty { .. }) => Ok(Some(Relay::redis(redis, names))),
            Ok(RunClaim::Kept) => Err(CommandOutcome::wrong_setting(format!(
                "{setting}: {url} has the events of a fleet that is no `altergolden dev`, and its bots would get simulated ones: use \
                 another Redis, a prefix of its own (--relay-prefix dev:) or --relay memory"
            ))),
            Err(error) => Err(CommandOutcome::unreachable(format!(
                "{setting}: {url} cannot be used: {error}; start that Redis, or use --relay memory"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        relay: DevRelayArgs,
    }

    fn target(flags: &[&str]) -> String {
        let args = Program::try_parse_from([&["dev"], flags].concat()).unwrap().relay;
        args.target().map_or_else(|error| error.to_string(), |target| target.to_string())
    }

    #[test]
    fn a_redis_url_puts_events_into_redis_unless_the_relay_is_elsewhere() {
        let (one, two) = ("--redis-url=redis://127.0.0.1:1", "--relay-redis-url=redis://127.0.0.1:2");
        assert_eq!(target(&[]), "in memory");
        assert_eq!(target(&["--redis-url="]), "in memory");
        assert_eq!(target(&[one]), "redis://127.0.0.1:1 (REDIS_URL)");
        assert_eq!(target(&[one, two]), "redis://127.0.0.1:2 (RELAY_REDIS_URL)");
        assert_eq!(target(&[one, "--relay=memory"]), "in memory");
        assert_eq!(target(&[one, "--relay=off"]), "off");
        assert!(target(&["--relay=redis"]).starts_with("--relay (RELAY): `redis` needs a Redis"));
        assert!(target(&["--redis-url=redsi://:hunter2@x"]).starts_with("--redis-url (REDIS_URL): "));
        assert!(target(&["--redis-url=redis-cluster://127.0.0.1:1"]).contains("hash tag"));
    }
}

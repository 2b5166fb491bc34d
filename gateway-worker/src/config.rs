//! The worker's settings.

use std::{net::SocketAddr, str::FromStr, sync::LazyLock, time::Duration};

use ::relay::{EventNames, RelayArgs};
use checkpoint::HeadKeys;
use fleet_model::{AdvertisedAddress, Generation, WorkerId};
use outside_text::printable;
use process::{
    credentials::{
        ClientFacingArgs, ClientFacingCertificate, Credentials, CredentialsArgs, Listening, Protection, Role,
    },
    settings::{self, ApiOrigin, DiscordArgs, GatewayUrl, Secret, SettingsError, StoreArgs},
};
use redis_link::KeyPrefix;
use shard_bridge::Deadlines;
use twilight_model::gateway::Intents;

use crate::{
    bot_gateway::{BotGatewayArgs, BotGatewayConfig},
    cache::{CacheSettings, CachedResources},
    checkpoints::Keep,
    event::trace::TracedRatio,
    rest::{RestArgs, RestConfig},
    shard::GatewayCompression,
};

/// The text of `--version`.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let protocols = altergolden_proto::PROTOCOL_MIN..=altergolden_proto::PROTOCOL_MAX;
    settings::long_version(
        env!("CARGO_PKG_VERSION"),
        protocols,
        checkpoint::FORMAT_MIN..=checkpoint::FORMAT_MAX,
    )
});

/// A gateway worker of a sharded Discord bot: registers with the coordinator, runs the shards that it is given.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "gateway-worker",
    version,
    long_version = LONG_VERSION.as_str(),
    after_help = "The bot's token has no flag: set DISCORD_TOKEN (or BOT_TOKEN), or DISCORD_TOKEN_FILE.\n\
                  Spans are exported when OTEL_EXPORTER_OTLP_ENDPOINT is set; RUST_LOG sets what is logged."
)]
pub struct WorkerArgs {
    /// Address of the coordinator's gRPC server, as HOST:PORT or URL
    #[arg(long, env = "COORDINATOR_URL", value_name = "URL", default_value = "127.0.0.1:50051")]
    pub coordinator_url: CoordinatorUrl,

    /// Address of this worker's gRPC server; port 0 takes a free one
    #[arg(long, env = "WORKER_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub worker_listen: SocketAddr,

    /// Address at which the coordinator and other workers reach this worker, as HOST:PORT or URL; by default this machine's
    /// address towards the coordinator, with the bound port
    #[arg(long, env = "WORKER_ADVERTISE", value_name = "ADDRESS")]
    pub worker_advertise: Option<Advertised>,

    /// Name of this worker, unique in the fleet; by default the host's name and a nonce
    #[arg(long, env = "WORKER_NAME", value_name = "NAME")]
    pub worker_name: Option<WorkerId>,

    /// Port of /health, /ready, /live and /metrics; 0 takes a free one and logs it
    #[arg(long, env = "HEALTH_PORT", value_name = "PORT", default_value_t = 3000)]
    pub health_port: u16,

    /// Address that the health port is bound to
    #[arg(long, env = "HEALTH_LISTEN_HOST", value_name = "IP", default_value = "127.0.0.1")]
    pub health_listen_host: std::net::IpAddr,

    /// Maximum number of shards of this worker; by default there is no limit
    #[arg(long, env = "SHARDS_PER_CLUSTER", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub shards_per_cluster: Option<u32>,

    /// Gateway intents, by name or as a number; privileged ones must be enabled for the application
    #[arg(
        long,
        env = "INTENTS",
        value_name = "LIST",
        default_value = "GUILDS,GUILD_MESSAGES,GUILD_VOICE_STATES"
    )]
    pub intents: IntentList,

    /// The deployment that this worker belongs to. Shards run only on workers of the active generation. In a new fleet that is the generation
    /// of its workers; later it is the promoted one (`altergolden deploy promote`)
    #[arg(long, env = "GENERATION", value_name = "NAME", default_value = "default")]
    pub generation: Generation,

    /// Compression of gateway connections: `zstd-stream`, `zlib-stream` (less memory) or `none`. After a change each shard identifies once, because a session keeps its compression
    #[arg(
        long,
        env = "GATEWAY_COMPRESSION",
        hide_short_help = true,
        value_name = "NAME",
        value_enum,
        default_value_t
    )]
    pub gateway_compression: GatewayCompression,

    /// What each shard keeps in memory: `all`, `none`, or any of guilds, channels, roles, members, users, own_user,
    /// voice_states, presences, messages, reactions, emojis, stickers, stage_instances, integrations, scheduled_events
    #[arg(
        long,
        env = "CACHE",
        value_name = "LIST",
        default_value = "guilds,channels,roles,voice_states,own_user"
    )]
    pub cache: CachedResources,

    /// Messages kept per channel, if CACHE includes messages
    #[arg(long, env = "CACHE_MESSAGES", value_name = "NUMBER", default_value_t = 100)]
    pub cache_messages: u16,

    /// Age at which messages are removed from the cache, at most a minute late; by default only their number is limited
    #[arg(long, env = "CACHE_MESSAGE_LIFETIME", hide_short_help = true, value_name = "DURATION", value_parser = settings::duration)]
    pub cache_message_lifetime: Option<Duration>,

    /// What is kept of each shard for the worker that takes it over: `full`, `session` (it resumes, with an empty cache) or
    /// `off` (it identifies)
    #[arg(long, env = "CHECKPOINT", value_name = "WHAT", default_value = "full")]
    pub checkpoint: Keep,

    /// Time between two checkpoints of a shard
    #[arg(long, env = "CHECKPOINT_EVERY", hide_short_help = true, value_name = "DURATION", default_value = "1s", value_parser = settings::duration)]
    pub checkpoint_every: Duration,

    /// Newest checkpoint format that this worker reads and writes; lower it while an older version may come back
    #[arg(long, env = "CHECKPOINT_FORMAT_MAX", hide_short_help = true, value_name = "NUMBER", default_value_t = checkpoint::FORMAT_MAX,
          value_parser = clap::value_parser!(u16).range(i64::from(checkpoint::FORMAT_MIN)..=i64::from(checkpoint::FORMAT_MAX)))]
    pub checkpoint_format_max: u16,

    /// Maximum number of handlers that one shard runs at the same time
    #[arg(long, env = "HANDLERS_AT_ONCE", value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub handlers_at_once: u16,

    /// Maximum number of events of one shard that wait for bot code or are being handled
    #[arg(long, env = "QUEUE_EVENTS", value_name = "NUMBER", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    pub queue_events: u32,

    /// Maximum size of the events of one shard that wait for bot code or are being handled, in MiB
    #[arg(long, env = "QUEUE_MIB", hide_short_help = true, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub queue_mib: u32,

    /// How long the bot's singleton may take to end before shard 0 moves; then it is aborted
    #[arg(long, env = "SINGLETON_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = settings::duration)]
    pub singleton_timeout: Duration,

    /// Maximum time to hand off all shards when this worker stops
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "DURATION", default_value = "25s", value_parser = settings::duration)]
    pub drain_timeout: Duration,

    /// Deadline of ShardBridge calls that bring none; at most 30s
    #[arg(long, env = "BRIDGE_DEADLINE", value_name = "DURATION", default_value = "2s", value_parser = settings::duration)]
    pub bridge_deadline: Duration,

    /// Prefix of all metric names
    #[arg(long, env = "METRICS_PREFIX", hide_short_help = true, value_name = "TEXT", default_value = "altergolden", value_parser = settings::metrics_prefix)]
    pub metrics_prefix: String,

    /// Ratio of events to trace, from 0 to 1, if a collector is set; interactions are always traced unless the ratio is 0
    #[arg(long, env = "TRACE_EVENTS", hide_short_help = true, value_name = "RATIO", default_value_t)]
    pub trace_events: TracedRatio,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub discord: DiscordArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub rest: RestArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub bot_gateway: BotGatewayArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub store: StoreArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub relay: RelayArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub access: CredentialsArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub client_facing: ClientFacingArgs,
}

/// The coordinator's URL. `HOST:PORT` alone means https for a worker with credentials, else http.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorUrl {
    url: String,
    has_scheme: bool,
}

/// The advertised host and port of a worker. Credentials decide the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised(String);

/// A list of gateway intents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntentList(pub Intents);

fn server_url(text: &str) -> Result<String, String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: tonic::transport::Uri =
        url.parse().map_err(|_| "it takes HOST:PORT or a URL like http://10.0.0.5:50051".to_owned())?;
    if uri.host().is_none_or(str::is_empty) || uri.port_u16().is_none_or(|port| port == 0) {
        return Err("it takes a host and a port: 10.0.0.5:50051".to_owned());
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("it takes an http:// or https:// URL".to_owned());
    }
    Ok(url)
}

impl FromStr for CoordinatorUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        server_url(text).map(|url| Self { url, has_scheme: text.contains("://") })
    }
}

impl FromStr for Advertised {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        AdvertisedAddress::parse(&url).map_err(|why| format!("{} {why}", printable(&url)))?;
        Ok(Self(url.split_once("://").map_or(url.as_str(), |(_, address)| address).to_owned()))
    }
}

impl CoordinatorUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Returns the URL for a worker with these credentials.
    fn with(self, credentials: &Credentials) -> Self {
        if self.has_scheme || !credentials.is_set() {
            return self;
        }
        Self { url: self.url.replacen("http", "https", 1), has_scheme: true }
    }
}

impl Advertised {
    /// Returns the URL with this scheme.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.0)
    }
}

fn intent_names() -> String {
    Intents::all().iter_names().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}

impl FromStr for IntentList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(bits) = text.trim().parse::<u64>() {
            return Intents::from_bits(bits)
                .map(Self)
                .ok_or_else(|| format!("{bits} has bits that are no intent"));
        }
        let mut intents = Intents::empty();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            intents |= Intents::from_name(&name.to_ascii_uppercase()).ok_or_else(|| {
                format!("{name:?} is not an intent; expected a number, or names of {}", intent_names())
            })?;
        }
        Ok(Self(intents))
    }
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Where the coordinator is.
    pub coordinator: CoordinatorUrl,
    /// Where the gRPC server listens.
    pub listen: SocketAddr,
    /// Where others reach it.
    pub advertise: Option<Advertised>,
    /// This worker's name.
    pub worker: WorkerId,
    /// Where the health server listens.
    pub health_listen: SocketAddr,
    /// The most shards that it takes.
    pub capacity: Option<u32>,
    /// What it keeps in memory.
    pub cache: CacheSettings,
    /// What is kept for the worker that takes a shard over.
    pub keep: Keep,
    /// How often it is written.
    pub checkpoint_every: Duration,
    /// The newest format of it.
    pub checkpoint_format_max: u16,
    /// The keys that sign the heads of checkpoints; none without credentials.
    pub head_keys: HeadKeys,
    /// The fleet's name: the prefix of its keys in Redis.
    pub fleet: KeyPrefix,
    /// How much of a shard's events may wait for bot code.
    pub limits: dispatch::Limits,
    /// How long the bot's singleton may take to end.
    pub singleton_timeout: Duration,
    /// How long giving the shards away may take.
    pub drain_timeout: Duration,
    /// The deployment that it is of.
    pub generation: Generation,
    /// By when bridge calls answer.
    pub deadlines: Deadlines,
    /// What metric names begin with.
    pub metrics_prefix: String,
    /// Which events are traced.
    pub trace_events: TracedRatio,
    /// The REST proxy.
    pub rest: RestConfig,
    /// The gateway for the bot's own programs.
    pub bot_gateway: Option<BotGatewayConfig>,
    /// The bot's token.
    pub token: Secret,
    /// The REST API, when it is not Discord's.
    pub api: Option<ApiOrigin>,
    /// The gateway, when it is not what the coordinator says.
    pub gateway: Option<GatewayUrl>,
    /// How gateway connections are compressed.
    pub compression: GatewayCompression,
    /// What this worker proves to others, and demands of callers.
    pub credentials: Credentials,
    /// The certificate of the REST proxy.
    pub client_facing: ClientFacingCertificate,
}

impl WorkerArgs {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// The first invalid flag, in one line.
    pub fn into_config(self, token: Option<Secret>) -> Result<WorkerConfig, SettingsError> {
        let token = settings::required_token(token)?;
        let worker = match self.worker_name {
            Some(name) => name,
            None => settings::default_worker_name()
                .parse()
                .map_err(|error| SettingsError::new("--worker-name (WORKER_NAME)", error))?,
        };
        let deadlines = Deadlines { default: self.bridge_deadline, ..Deadlines::default() };
        if self.bridge_deadline > deadlines.longest {
            return Err(SettingsError::new("--bridge-deadline (BRIDGE_DEADLINE)", "it takes at most 30s"));
        }
        let health_listen = SocketAddr::new(self.health_listen_host, self.health_port);
        let rest = self.rest.into_config()?;
        let mut bot_gateway = self.bot_gateway.into_config()?;
        if bot_gateway.is_some() && self.relay.relay_events != EventNames::All {
            return Err(SettingsError::new(
                "--gateway-listen (GATEWAY_LISTEN)",
                "the gateway for bots needs all events in the relay (RELAY_EVENTS=all)",
            ));
        }
        let mut resources = self.cache;
        if let Some(gateway) = &mut bot_gateway {
            resources = self.cache.for_clients(self.intents.0);
            gateway.cache_added = resources.beyond(self.cache);
        }
        let client_facing = self.client_facing.open()?;
        let mut ports = vec![
            Listening {
                setting: "--worker-listen (WORKER_LISTEN)",
                address: self.worker_listen,
                protection: Protection::Credentials,
            },
            Listening {
                setting: "--health-listen-host (HEALTH_LISTEN_HOST)",
                address: health_listen,
                protection: Protection::Credentials,
            },
            Listening {
                setting: "--rest-listen (REST_LISTEN)",
                address: rest.listen,
                protection: if client_facing.is_set() { Protection::ClientFacing } else { Protection::None },
            },
        ];
        if let Some(gateway) = &bot_gateway {
            ports.push(Listening {
                setting: "--gateway-listen (GATEWAY_LISTEN)",
                address: gateway.listen,
                protection: if client_facing.is_set() { Protection::ClientFacing } else { Protection::None },
            });
        }
        let credentials = self.access.open(self.store.redis_prefix.as_str(), Role::Worker, &ports)?;
        let head_keys = HeadKeys::new(credentials.head_keys()).map_err(|error| {
            SettingsError::new(
                "--credentials (CREDENTIALS)",
                format!("cannot use the keys in the ALTERGOLDEN HEAD KEY blocks: {error}"),
            )
        })?;
        Ok(WorkerConfig {
            coordinator: self.coordinator_url.with(&credentials),
            listen: self.worker_listen,
            advertise: self.worker_advertise,
            worker,
            health_listen,
            capacity: self.shards_per_cluster,
            cache: CacheSettings {
                resources,
                messages_per_channel: self.cache_messages.into(),
                message_lifetime: self.cache_message_lifetime,
                intents: self.intents.0,
            },
            keep: self.checkpoint,
            checkpoint_every: self.checkpoint_every,
            checkpoint_format_max: self.checkpoint_format_max,
            head_keys,
            fleet: self.store.redis_prefix,
            limits: dispatch::Limits {
                at_once: self.handlers_at_once.into(),
                items: self.queue_events as usize,
                bytes: self.queue_mib as usize * 1024 * 1024,
            },
            singleton_timeout: self.singleton_timeout,
            drain_timeout: self.drain_timeout,
            generation: self.generation,
            deadlines,
            metrics_prefix: self.metrics_prefix,
            trace_events: self.trace_events,
            rest,
            bot_gateway,
            token,
            api: self.discord.discord_api_url,
            gateway: self.discord.discord_gateway_url,
            compression: self.gateway_compression,
            credentials,
            client_facing,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn defaults_are_valid_and_ask_for_no_privileged_intent() {
        let args = WorkerArgs::try_parse_from(["gateway-worker"]).unwrap();
        let config = args.into_config(Some(Secret::new("t"))).unwrap();
        let privileged = Intents::GUILD_MEMBERS | Intents::GUILD_PRESENCES | Intents::MESSAGE_CONTENT;
        assert!(!config.cache.intents.intersects(privileged));
        assert_eq!(config.coordinator.as_str(), "http://127.0.0.1:50051");
    }

    #[test]
    fn wrong_value_names_what_its_setting_takes() {
        for (flag, value, says) in [
            ("--worker-name", "a b", "a-z A-Z 0-9"),
            ("--worker-advertise", "somewhere", "http://HOST:PORT"),
            ("--worker-advertise", "http://worker:50052/path", "http://HOST:PORT"),
            ("--worker-advertise", "0.0.0.0:50052", "a single host"),
            ("--coordinator-url", "ftp://x:1", "http://"),
            ("--intents", "GILDS", "\"GILDS\" is not an intent"),
            ("--intents", "GUILDS,GUILDZ", "GUILDS, GUILD_MEMBERS, "),
            ("--intents", "4294967296", "no intent"),
            ("--cache", "everything", "scheduled_events"),
            ("--drain-timeout", "25", "unit"),
            ("--shards-per-cluster", "0", "1.."),
            ("--checkpoint", "some", "off, session or full"),
            ("--checkpoint-format-max", "4", "1..=3"),
            ("--handlers-at-once", "0", "1.."),
            ("--rest-global-per-second", "0", "1..=100000"),
            ("--rest-invalid-limit", "10001", "1..=10000"),
            ("--trace-events", "2", "from 0"),
        ] {
            let error = WorkerArgs::try_parse_from(["gateway-worker", flag, value]).unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(says), "{flag} {value}: {error}");
        }
    }
}

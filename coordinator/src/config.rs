//! The coordinator's settings.

use std::{net::SocketAddr, sync::LazyLock, time::Duration};

use fleet_model::{Generation, Percent, ShardCount};
use process::{
    credentials::{Credentials, CredentialsArgs, Listening, Protection, Role},
    settings::{self, ApiOrigin, DiscordArgs, GatewayUrl, Secret, SettingsError, StoreArgs},
};
use relay::RelayArgs;
use shard_bridge::Deadlines;

use crate::webhook_target::{WebhookConfig, WebhookTarget};

/// Discord's own interval between two IDENTIFYs of a bucket
/// ([Max Concurrency](https://discord.com/developers/docs/events/gateway#sharding-max-concurrency)).
pub const DISCORD_IDENTIFY_INTERVAL: Duration = Duration::from_secs(5);

/// The text of `--version`.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let protocols = altergolden_proto::PROTOCOL_MIN..=altergolden_proto::PROTOCOL_MAX;
    settings::long_version(
        env!("CARGO_PKG_VERSION"),
        protocols,
        checkpoint::FORMAT_MIN..=checkpoint::FORMAT_MAX,
    )
});

/// The coordinator of a sharded Discord bot: hands out shards, queues identifies, answers for the fleet.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "coordinator",
    version,
    long_version = LONG_VERSION.as_str(),
    after_help = "The bot's token has no flag: set DISCORD_TOKEN (or BOT_TOKEN), or DISCORD_TOKEN_FILE.\n\
                  Spans are exported when OTEL_EXPORTER_OTLP_ENDPOINT is set; RUST_LOG sets what is logged."
)]
pub struct CoordinatorArgs {
    /// Address of the gRPC server
    #[arg(long, env = "COORDINATOR_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    pub coordinator_listen: SocketAddr,

    /// Port of /health, /ready, /live and /metrics; 0 takes a free one
    #[arg(long, env = "MANAGER_HEALTH_PORT", value_name = "PORT", default_value_t = 3001)]
    pub manager_health_port: u16,

    /// Address that the health port is bound to
    #[arg(long, env = "HEALTH_LISTEN_HOST", value_name = "IP", default_value = "127.0.0.1")]
    pub health_listen_host: std::net::IpAddr,

    /// Number of shards, or `auto` for what Discord recommends plus SHARD_BUFFER. A running fleet keeps its number
    #[arg(long, env = "SHARD_COUNT", value_name = "NUMBER|auto", default_value = "auto")]
    pub shard_count: ShardCount,

    /// Percentage that `auto` adds to what Discord recommends, from two shards up
    #[arg(long, env = "SHARD_BUFFER", value_name = "PERCENT", default_value = "20")]
    pub shard_buffer: Percent,

    /// How long a worker's lease lasts after each renewal; from 1s to 1d
    #[arg(long, env = "LEASE_TTL", value_name = "DURATION", default_value = "5s", value_parser = settings::duration)]
    pub lease_ttl: Duration,

    /// How long an idle fleet waits for more workers before it assigns shards
    #[arg(long, env = "SETTLE", hide_short_help = true, value_name = "DURATION", default_value = "2s", value_parser = settings::duration)]
    pub settle: Duration,

    /// Generation to activate in a fleet that has no active one yet. If unset and workers of several generations start together, no shard is
    /// placed until `altergolden deploy promote`
    #[arg(long, env = "ACTIVE_GENERATION", hide_short_help = true, value_name = "NAME")]
    pub active_generation: Option<Generation>,

    /// Maximum number of shards that move between workers at the same time
    #[arg(long, env = "MOVES_AT_ONCE", value_name = "NUMBER", default_value = "8")]
    pub moves_at_once: std::num::NonZeroUsize,

    /// Deadline of ShardBridge calls that bring none; at most 30s
    #[arg(long, env = "BRIDGE_DEADLINE", value_name = "DURATION", default_value = "2s", value_parser = settings::duration)]
    pub bridge_deadline: Duration,

    /// Percentage of the daily IDENTIFYs that is kept in reserve
    #[arg(long, env = "IDENTIFY_RESERVE", value_name = "PERCENT", default_value = "10")]
    pub identify_reserve: Percent,

    /// Time between two IDENTIFYs of a bucket; below 5s only with a simulated Discord on this machine
    #[arg(long, env = "IDENTIFY_INTERVAL", hide_short_help = true, value_name = "DURATION", default_value = "5s", value_parser = settings::duration)]
    pub identify_interval: Duration,

    /// URL of a webhook that gets a POST when problems begin and end; treated as a secret
    #[arg(long, env = "PROBLEMS_WEBHOOK_URL", value_name = "URL", hide_env_values = true)]
    pub problems_webhook_url: Option<Secret>,

    /// Shortest time between two requests to the problems webhook; at least 1s
    #[arg(long, env = "PROBLEMS_WEBHOOK_INTERVAL", hide_short_help = true, value_name = "DURATION", default_value = "1m", value_parser = settings::duration)]
    pub problems_webhook_interval: Duration,

    /// Prefix of all metric names
    #[arg(long, env = "METRICS_PREFIX", hide_short_help = true, value_name = "TEXT", default_value = "altergolden", value_parser = settings::metrics_prefix)]
    pub metrics_prefix: String,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub discord: DiscordArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub store: StoreArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub relay: RelayArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment here would replace the program's own in --help")]
    pub access: CredentialsArgs,
}

/// Settings that are known to be good.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Where the gRPC server listens.
    pub listen: SocketAddr,
    /// Where the health server listens.
    pub health_listen: SocketAddr,
    /// How many shards are wanted.
    pub shard_count: ShardCount,
    /// Room to grow.
    pub shard_buffer: Percent,
    /// How long a lease lasts.
    pub lease_ttl: Duration,
    /// How long to wait for workers before the first shards are handed out.
    pub settle: Duration,
    /// The active generation of a fleet whose store names none.
    pub active_generation: Option<Generation>,
    /// How many shards may move at once.
    pub moves_at_once: usize,
    /// By when bridge calls answer.
    pub deadlines: Deadlines,
    /// Share of the day's IDENTIFYs that is kept back.
    pub identify_reserve: Percent,
    /// Time between two IDENTIFYs of a bucket.
    pub identify_interval: Duration,
    /// What metric names begin with.
    pub metrics_prefix: String,
    /// The problems webhook, if there is one.
    pub webhook: Option<WebhookConfig>,
    /// The bot's token.
    pub token: Secret,
    /// The REST API, when it is not Discord's.
    pub api: Option<ApiOrigin>,
    /// The gateway, when it is not what `/gateway/bot` says.
    pub gateway: Option<GatewayUrl>,
    /// What this coordinator proves to others, and demands of callers.
    pub credentials: Credentials,
}

impl CoordinatorArgs {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// The first invalid flag, in one line.
    pub fn into_config(self, token: Option<Secret>) -> Result<CoordinatorConfig, SettingsError> {
        let token = settings::required_token(token)?;
        let stand_in = self.discord.discord_api_url.as_ref().is_some_and(ApiOrigin::is_loopback);
        if self.identify_interval < DISCORD_IDENTIFY_INTERVAL && !stand_in {
            return Err(SettingsError::new(
                "--identify-interval (IDENTIFY_INTERVAL)",
                "Discord allows one IDENTIFY per bucket in 5s; less is only for a --discord-api-url on this machine",
            ));
        }
        if !(Duration::from_secs(1)..=Duration::from_hours(24)).contains(&self.lease_ttl) {
            return Err(SettingsError::new("--lease-ttl (LEASE_TTL)", "it takes 1s to 1d"));
        }
        let deadlines = Deadlines { default: self.bridge_deadline, ..Deadlines::default() };
        if self.bridge_deadline > deadlines.longest {
            return Err(SettingsError::new("--bridge-deadline (BRIDGE_DEADLINE)", "it takes at most 30s"));
        }
        if self.problems_webhook_interval < Duration::from_secs(1) {
            let setting = "--problems-webhook-interval (PROBLEMS_WEBHOOK_INTERVAL)";
            return Err(SettingsError::new(setting, "it takes at least 1s"));
        }
        // Checked here because an error of the command line would show the URL.
        let target = self.problems_webhook_url.as_ref().map(WebhookTarget::read).transpose();
        let target = target
            .map_err(|why| SettingsError::new("--problems-webhook-url (PROBLEMS_WEBHOOK_URL)", why))?
            .flatten();
        let interval = self.problems_webhook_interval;
        let health_listen = SocketAddr::new(self.health_listen_host, self.manager_health_port);
        let ports = [
            Listening {
                setting: "--coordinator-listen (COORDINATOR_LISTEN)",
                address: self.coordinator_listen,
                protection: Protection::Credentials,
            },
            Listening {
                setting: "--health-listen-host (HEALTH_LISTEN_HOST)",
                address: health_listen,
                protection: Protection::Credentials,
            },
        ];
        let credentials = self.access.open(self.store.redis_prefix.as_str(), Role::Coordinator, &ports)?;
        Ok(CoordinatorConfig {
            listen: self.coordinator_listen,
            health_listen,
            shard_count: self.shard_count,
            shard_buffer: self.shard_buffer,
            lease_ttl: self.lease_ttl,
            settle: self.settle,
            active_generation: self.active_generation,
            moves_at_once: self.moves_at_once.get(),
            deadlines,
            identify_reserve: self.identify_reserve,
            identify_interval: self.identify_interval,
            metrics_prefix: self.metrics_prefix,
            webhook: target.map(|target| WebhookConfig { target, interval }),
            token,
            api: self.discord.discord_api_url,
            gateway: self.discord.discord_gateway_url,
            credentials,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn config(flags: &[&str]) -> Result<CoordinatorConfig, SettingsError> {
        let args = CoordinatorArgs::try_parse_from([&["coordinator"], flags].concat()).unwrap();
        args.into_config(Some(Secret::new("t")))
    }

    #[test]
    fn the_five_seconds_are_discords() {
        let refused = config(&["--identify-interval", "1s"]).unwrap_err();
        assert!(refused.to_string().contains("--identify-interval"));
        assert!(config(&["--identify-interval", "1s", "--discord-api-url", "http://127.0.0.1:1"]).is_ok());
    }

    #[test]
    fn no_token_is_one_clear_line() {
        let args = CoordinatorArgs::try_parse_from(["coordinator"]).unwrap();
        assert!(args.into_config(None).unwrap_err().to_string().starts_with("DISCORD_TOKEN: "));
    }

    #[test]
    fn webhook_url_is_checked_and_not_repeated() {
        let wrong = config(&["--problems-webhook-url", "ftp://example.org/s3cret"]).unwrap_err().to_string();
        assert!(wrong.contains("PROBLEMS_WEBHOOK_URL") && !wrong.contains("s3cret"), "{wrong}");
        assert!(config(&["--problems-webhook-url", ""]).unwrap().webhook.is_none());
        let valid = config(&["--problems-webhook-url", "https://example.org/s3cret"]).unwrap();
        assert!(!format!("{valid:?}").contains("s3cret"));
        assert!(config(&["--problems-webhook-interval", "999ms"]).is_err());
    }

    #[test]
    fn a_shard_count_is_auto_or_a_number() {
        assert_eq!("AUTO".parse(), Ok(ShardCount::Auto));
        assert_eq!("16".parse(), Ok(ShardCount::Fixed(16)));
        for wrong in ["0", "-1", "many", "70000"] {
            assert!(wrong.parse::<ShardCount>().is_err(), "{wrong} passed");
        }
    }
}

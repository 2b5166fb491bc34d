//! The command line of `discord-sim`.

use clap::Parser;
use discord_sim::{ConfigError, SimConfig};
use std::{net::SocketAddr, time::Duration};

/// A stand-in for Discord: REST, gateway and a control API on one port.
///
/// Point a bot's REST calls at http://ADDRESS/api and its gateway at ws://ADDRESS. It keeps Discord's rules strictly; the
/// rules that a client broke are at http://ADDRESS/sim/violations, what was sent to whom at /sim/ledger,
/// and faults are made with POST /sim/faults.
#[derive(Debug, Parser)]
#[command(
    name = "discord-sim",
    version,
    after_help = "SIM_TOKEN (environment only): the one bot token that is accepted; without it every token is."
)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "SIM_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:3900")]
    listen: SocketAddr,
    /// What clients are told in gateway URLs [default: where it listens]
    #[arg(long, env = "SIM_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// How many guilds the bot is in
    #[arg(long, env = "SIM_GUILDS", value_name = "N", default_value_t = 100)]
    guilds: u32,
    /// Shards that /gateway/bot recommends [default: one for each 1,000 guilds]
    #[arg(long, env = "SIM_SHARDS", value_name = "N")]
    shards: Option<u32>,
    /// A bot's shard total must be a multiple of this, as Discord asks of large bots
    #[arg(long, env = "SIM_SHARD_MULTIPLE", value_name = "N", default_value_t = 1)]
    shard_multiple: u32,
    /// The same seed makes the same guilds, users and ids
    #[arg(long, env = "SIM_SEED", value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Messages a second of the whole bot, spread over its guilds
    #[arg(long, env = "SIM_EVENTS_PER_SECOND", value_name = "RATE", default_value_t = 0.0)]
    events_per_second: f64,
    /// Identify buckets: shard n is in bucket n % this
    #[arg(long, env = "SIM_MAX_CONCURRENCY", value_name = "N", default_value_t = 1)]
    max_concurrency: u16,
    /// One IDENTIFY per bucket in this time
    #[arg(long, env = "SIM_IDENTIFY_INTERVAL", value_name = "TIME", default_value = "5s",
          value_parser = duration)]
    identify_interval: Duration,
    /// IDENTIFYs a day
    #[arg(long, env = "SIM_DAILY_IDENTIFIES", value_name = "N", default_value_t = 1_000)]
    daily_identifies: u32,
    /// What HELLO tells; a client silent for twice as long is closed
    #[arg(long, env = "SIM_HEARTBEAT_INTERVAL", value_name = "TIME", default_value = "41250ms",
          value_parser = duration)]
    heartbeat_interval: Duration,
    /// How long a session without a connection can be resumed
    #[arg(long, env = "SIM_SESSION_LIFE", value_name = "TIME", default_value = "3m", value_parser = duration)]
    session_life: Duration,
    /// Events that each session keeps for RESUME
    #[arg(long, env = "SIM_REPLAY_BUFFER", value_name = "N", default_value_t = 4_096)]
    replay_buffer: usize,
    /// REST calls a second of one token
    #[arg(long, env = "SIM_REST_GLOBAL_LIMIT", value_name = "N", default_value_t = 50)]
    rest_global_limit: u32,
    /// How many times faster than Discord's the windows of REST's rate limits pass
    #[arg(long, env = "SIM_REST_LIMIT_SPEED", value_name = "FACTOR", default_value_t = 1.0)]
    rest_limit_speed: f64,
    /// Answers with 401, 403 and 429 in ten minutes after which an address is banned
    #[arg(long, env = "SIM_INVALID_REQUEST_LIMIT", value_name = "N", default_value_t = 10_000)]
    invalid_request_limit: u32,
    /// How long such a ban lasts
    #[arg(long, env = "SIM_INVALID_REQUEST_BAN", value_name = "TIME", default_value = "1h",
          value_parser = duration)]
    invalid_request_ban: Duration,
    /// How long an interaction waits for its first answer
    #[arg(long, env = "SIM_INTERACTION_DEADLINE", value_name = "TIME", default_value = "3s",
          value_parser = duration)]
    interaction_deadline: Duration,
    /// How long an interaction's token is good for follow-ups
    #[arg(long, env = "SIM_INTERACTION_LIFE", value_name = "TIME", default_value = "15m",
          value_parser = duration)]
    interaction_life: Duration,
}

/// A time with its unit, such as `5s` or `1m 30s`.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "a time with its unit, such as 500ms, 5s or 3m, is needed".into())
}

impl Args {
    /// The settings, checked; `token` is the one that is accepted.
    pub(crate) fn into_config(self, token: Option<String>) -> Result<SimConfig, ConfigError> {
        let config = SimConfig {
            listen: self.listen,
            advertise: self.advertise,
            seed: self.seed,
            guilds: self.guilds,
            shards: self.shards,
            shard_multiple: self.shard_multiple,
            token,
            max_concurrency: self.max_concurrency,
            identify_interval: self.identify_interval,
            daily_identifies: self.daily_identifies,
            heartbeat_interval: self.heartbeat_interval,
            session_life: self.session_life,
            replay_buffer: self.replay_buffer,
            events_per_second: self.events_per_second,
            rest_global_limit: self.rest_global_limit,
            rest_limit_speed: self.rest_limit_speed,
            invalid_request_limit: self.invalid_request_limit,
            invalid_request_ban: self.invalid_request_ban,
            interaction_deadline: self.interaction_deadline,
            interaction_life: self.interaction_life,
            ..SimConfig::default()
        };
        config.validate().map(|()| config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        let args = Args::try_parse_from(["discord-sim", "--max-concurrency", "0"]).unwrap();
        assert_eq!(args.into_config(None).unwrap_err().setting, "max_concurrency");
        assert!(Args::try_parse_from(["discord-sim", "--session-life", "3"]).is_err());
    }
}

//! The command line of `discord-sim`.

use crate::{ConfigError, FaultKind, Profile, ResumeWhileOpen, Schedule, SimConfig, Switches};
use clap::Parser;
use std::{net::SocketAddr, time::Duration};

/// A stand-in for Discord: REST, gateway and a control API on one port.
///
/// Point a bot's REST calls at http://ADDRESS/api and its gateway at ws://ADDRESS. The simulator enforces Discord's rules: GET
/// http://ADDRESS/sim/violations lists the rules that clients broke, GET /sim/ledger the events that were sent to each connection,
/// and POST /sim/faults injects faults.
#[derive(Debug, Parser)]
#[command(
    name = "discord-sim",
    version,
    after_help = "SIM_TOKEN (environment only): the only accepted bot token; without it every token is accepted."
)]
pub struct SimArgs {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, env = "SIM_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:3900")]
    listen: SocketAddr,
    /// Host and port in the gateway URLs sent to clients [default: the listen address]
    #[arg(long, env = "SIM_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Size of the bot: sets the defaults that name the profile
    #[arg(long, env = "SIM_PROFILE", value_name = "NAME")]
    profile: Option<Profile>,
    /// Guilds of the bot [default: the profile's, or 100]
    #[arg(long, env = "SIM_GUILDS", value_name = "N")]
    guilds: Option<u32>,
    /// Members of the first guild [default: the profile's, or as the seed draws]
    #[arg(long, env = "SIM_LARGEST_GUILD", value_name = "N")]
    largest_guild: Option<u64>,
    /// Guilds that start with an outage [default: the profile's, or 0]
    #[arg(long, env = "SIM_OUTAGES", value_name = "N")]
    outages: Option<u32>,
    /// Shards that /gateway/bot recommends [default: the profile's, or one for each 1,000 guilds]
    #[arg(long, env = "SIM_SHARDS", value_name = "N")]
    shards: Option<u32>,
    /// A bot's shard total must be a multiple of this, as Discord requires of large bots
    #[arg(long, env = "SIM_SHARD_MULTIPLE", value_name = "N", default_value_t = 1)]
    shard_multiple: u32,
    /// Seed of guilds, users and ids: the same seed gives the same world
    #[arg(long, env = "SIM_SEED", value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Messages per second, spread over all guilds [default: the profile's, or 0]
    #[arg(long, env = "SIM_EVENTS_PER_SECOND", value_name = "RATE")]
    events_per_second: Option<f64>,
    /// Identify buckets: shard n is in bucket n modulo this [default: the profile's, or 1]
    #[arg(long, env = "SIM_MAX_CONCURRENCY", value_name = "N")]
    max_concurrency: Option<u16>,
    /// Interval between two IDENTIFYs of a bucket
    #[arg(long, env = "SIM_IDENTIFY_INTERVAL", value_name = "TIME", default_value = "5s",
          value_parser = duration)]
    identify_interval: Duration,
    /// IDENTIFYs per day
    #[arg(long, env = "SIM_DAILY_IDENTIFIES", value_name = "N", default_value_t = 1_000)]
    daily_identifies: u32,
    /// Heartbeat interval in HELLO; a client silent for twice as long is closed
    #[arg(long, env = "SIM_HEARTBEAT_INTERVAL", value_name = "TIME", default_value = "41250ms",
          value_parser = duration)]
    heartbeat_interval: Duration,
    #[command(flatten, next_help_heading = "Fault schedule")]
    chaos: ChaosArgs,
    #[command(
        flatten,
        next_help_heading = "Behaviour that Discord does not document (change it at runtime with PATCH /sim/switches)"
    )]
    switches: SwitchArgs,
    #[command(flatten, next_help_heading = "REST")]
    rest: RestArgs,
}

/// REST limits as flags.
#[derive(Debug, clap::Args)]
struct RestArgs {
    /// REST calls per second of one token
    #[arg(long, env = "SIM_REST_GLOBAL_LIMIT", value_name = "N", default_value_t = 50)]
    rest_global_limit: u32,
    /// Factor by which REST rate limit windows pass faster than Discord's
    #[arg(long, env = "SIM_REST_LIMIT_SPEED", value_name = "FACTOR", default_value_t = 1.0)]
    rest_limit_speed: f64,
    /// Answers with 401, 403 and 429 within ten minutes that ban an address
    #[arg(long, env = "SIM_INVALID_REQUEST_LIMIT", value_name = "N", default_value_t = 10_000)]
    invalid_request_limit: u32,
    /// Length of such a ban
    #[arg(long, env = "SIM_INVALID_REQUEST_BAN", value_name = "TIME", default_value = "1h",
          value_parser = duration)]
    invalid_request_ban: Duration,
    /// Time to answer an interaction
    #[arg(long, env = "SIM_INTERACTION_DEADLINE", value_name = "TIME", default_value = "3s",
          value_parser = duration)]
    interaction_deadline: Duration,
    /// Lifetime of an interaction's token
    #[arg(long, env = "SIM_INTERACTION_LIFE", value_name = "TIME", default_value = "15m",
          value_parser = duration)]
    interaction_life: Duration,
}

/// A [`Schedule`] as flags.
#[derive(Debug, clap::Args)]
struct ChaosArgs {
    /// Inject faults at this mean interval
    #[arg(long, env = "SIM_CHAOS_EVERY", value_name = "TIME", value_parser = duration)]
    chaos_every: Option<Duration>,
    /// Seed of the faults: the same seed gives the same faults at the same times
    #[arg(long, env = "SIM_CHAOS_SEED", value_name = "N", default_value_t = 1)]
    chaos_seed: u64,
    /// Kinds of faults [default: those that a correct client survives without an IDENTIFY]
    #[arg(long, env = "SIM_CHAOS_KINDS", value_name = "KIND,...", value_enum, value_delimiter = ',')]
    chaos_kinds: Vec<FaultKind>,
    /// Oddities that the schedule also injects, each for up to 10 s (GET /sim/presets lists them)
    #[arg(long, env = "SIM_CHAOS_PRESETS", value_name = "NAME,...", value_delimiter = ',')]
    chaos_presets: Vec<String>,
    /// Oddities that are active from the start
    #[arg(long, env = "SIM_PRESETS", value_name = "NAME,...", value_delimiter = ',')]
    presets: Vec<String>,
}

impl ChaosArgs {
    fn into_schedule(self) -> Option<Schedule> {
        let kinds = if self.chaos_kinds.is_empty() && self.chaos_presets.is_empty() {
            FaultKind::RESUMABLE.to_vec()
        } else {
            self.chaos_kinds
        };
        self.chaos_every.map(|every| Schedule {
            seed: self.chaos_seed,
            mean_ms: every.as_millis() as u64,
            kinds,
            presets: self.chaos_presets,
            shards: None,
            count: None,
        })
    }
}

/// [`Switches`] as flags.
#[derive(Debug, clap::Args)]
struct SwitchArgs {
    /// Answer to a RESUME whose session still has an open connection
    #[arg(long, env = "SIM_RESUME_WHILE_OPEN", value_enum, value_name = "WHAT", default_value = "takeover")]
    resume_while_open: ResumeWhileOpen,
    /// A heartbeat drops events up to its sequence from the replay buffer
    #[arg(long, env = "SIM_HEARTBEAT_TRIMS")]
    heartbeat_trims: bool,
    /// The simulator ends connections without a close frame, unless a rule was broken
    #[arg(long, env = "SIM_NO_CLOSE_FRAMES")]
    no_close_frames: bool,
    /// Delay of HELLO
    #[arg(long, env = "SIM_HELLO_DELAY", value_name = "TIME", default_value = "0s", value_parser = duration)]
    hello_delay: Duration,
    /// Delay of READY
    #[arg(long, env = "SIM_READY_DELAY", value_name = "TIME", default_value = "0s", value_parser = duration)]
    ready_delay: Duration,
    /// Time after op 7 until an open connection is closed
    #[arg(long, env = "SIM_RECONNECT_GRACE", value_name = "TIME", default_value = "5s", value_parser = duration)]
    reconnect_grace: Duration,
    /// Events kept per session for RESUME
    #[arg(long, env = "SIM_REPLAY_BUFFER", value_name = "N", default_value_t = 4_096)]
    replay_buffer: usize,
    /// Time that a session without a connection can be resumed
    #[arg(long, env = "SIM_SESSION_LIFE", value_name = "TIME", default_value = "3m", value_parser = duration)]
    session_life: Duration,
    /// Reset connections to READY's resume_gateway_url
    #[arg(long, env = "SIM_RESUME_URL_DEAD")]
    resume_url_dead: bool,
    /// Close code for a client that was silent for twice the heartbeat interval
    #[arg(long, env = "SIM_ZOMBIE_CLOSE_CODE", value_name = "CODE", default_value_t = 4009)]
    zombie_close_code: u16,
}

impl From<SwitchArgs> for Switches {
    fn from(args: SwitchArgs) -> Self {
        Self {
            resume_while_open: args.resume_while_open,
            heartbeat_trims: args.heartbeat_trims,
            close_frames: !args.no_close_frames,
            hello_delay: args.hello_delay,
            ready_delay: args.ready_delay,
            reconnect_grace: args.reconnect_grace,
            replay_buffer: args.replay_buffer,
            session_life: args.session_life,
            resume_url_dead: args.resume_url_dead,
            zombie_close_code: args.zombie_close_code,
        }
    }
}

/// Parses a time with its unit, such as `5s` or `1m 30s`.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a time with a unit, such as 500ms, 5s or 3m".into())
}

impl SimArgs {
    /// Builds and validates the settings. `token` is the only accepted bot token.
    ///
    /// # Errors
    /// The first invalid setting.
    pub fn into_config(self, token: Option<String>) -> Result<SimConfig, ConfigError> {
        let size = self
            .profile
            .map_or_else(SimConfig::default, |profile| SimConfig::default().with_profile(profile));
        let config = SimConfig {
            listen: self.listen,
            advertise: self.advertise,
            seed: self.seed,
            guilds: self.guilds.unwrap_or(size.guilds),
            largest_guild: self.largest_guild.or(size.largest_guild),
            outages: self.outages.unwrap_or_else(|| size.outages.min(self.guilds.unwrap_or(size.guilds))),
            shards: self.shards.or(size.shards),
            shard_multiple: self.shard_multiple,
            token,
            max_concurrency: self.max_concurrency.unwrap_or(size.max_concurrency),
            identify_interval: self.identify_interval,
            daily_identifies: self.daily_identifies,
            heartbeat_interval: self.heartbeat_interval,
            rest_global_limit: self.rest.rest_global_limit,
            rest_limit_speed: self.rest.rest_limit_speed,
            invalid_request_limit: self.rest.invalid_request_limit,
            invalid_request_ban: self.rest.invalid_request_ban,
            interaction_deadline: self.rest.interaction_deadline,
            interaction_life: self.rest.interaction_life,
            switches: self.switches.into(),
            presets: self.chaos.presets.clone(),
            schedule: self.chaos.into_schedule(),
            events_per_second: self.events_per_second.unwrap_or(size.events_per_second),
            ..size
        };
        config.validate().map(|()| config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_valid_clap() {
        SimArgs::command().debug_assert();
    }

    #[test]
    fn flags_override_the_profile() {
        let config = |arguments: &[&str]| {
            let program = std::iter::once(&"discord-sim");
            SimArgs::try_parse_from(program.chain(arguments)).unwrap().into_config(None).unwrap()
        };
        let huge = config(&["--profile", "huge", "--guilds", "300", "--largest-guild", "7000"]);
        assert_eq!((huge.guilds, huge.largest_guild), (300, Some(7_000)));
        assert_eq!((huge.shards, huge.max_concurrency), (Some(256), 16));
        let none = config(&[]);
        assert_eq!((none.guilds, none.largest_guild, none.shards), (100, None, None));
        assert_eq!((none.max_concurrency, none.events_per_second.to_bits()), (1, 0.0_f64.to_bits()));
        assert!(SimArgs::try_parse_from(["discord-sim", "--profile", "giant"]).is_err());
    }

    #[test]
    fn invalid_settings_are_named() {
        let args = SimArgs::try_parse_from(["discord-sim", "--max-concurrency", "0"]).unwrap();
        assert_eq!(args.into_config(None).unwrap_err().setting, "max_concurrency");
        assert!(SimArgs::try_parse_from(["discord-sim", "--session-life", "3"]).is_err());
    }
}

//! Settings of a simulator.

use crate::{Snowflake, intents::Intents, presets, schedule::Schedule, switches::Switches};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Takes a guild's id and the body of its GUILD_CREATE, and returns the body to send.
pub type ShapeGuild = Arc<dyn Fn(Snowflake, Vec<u8>) -> Vec<u8> + Send + Sync>;

/// The settings of a simulator. [Faults](crate::Fault) change its behaviour while it runs.
#[derive(Clone)]
pub struct SimConfig {
    /// Address of REST, gateway and control API; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The `host:port` in gateway URLs; `None` is the listen address. Set it if clients use another name, as in containers.
    pub advertise: Option<String>,
    /// Seed of the world and of session ids.
    pub seed: u64,
    /// Guilds of the bot.
    pub guilds: u32,
    /// Members of the first guild, including the bot; `None` is what the seed draws.
    pub largest_guild: Option<u64>,
    /// Guilds that start with an outage: the last ones.
    pub outages: u32,
    /// Shards that `/gateway/bot` recommends; `None` is one per 1,000 guilds, rounded up to `shard_multiple`.
    pub shards: Option<u32>,
    /// A client's shard total must be a multiple of this, as Discord requires of large bots; otherwise close code 4010.
    pub shard_multiple: u32,
    /// Guilds per shard; above it the close code is 4011.
    pub max_guilds_per_shard: u32,
    /// The only accepted bot token; `None` accepts every non-empty token.
    pub token: Option<String>,
    /// `session_start_limit.max_concurrency`: shard `n` is in identify bucket `n % max_concurrency`.
    pub max_concurrency: u16,
    /// Interval between two IDENTIFYs of a bucket.
    pub identify_interval: Duration,
    /// IDENTIFYs per day.
    pub daily_identifies: u32,
    /// Heartbeat interval in HELLO. A connection that is silent for twice as long is closed.
    pub heartbeat_interval: Duration,
    /// Initial switches for behaviour that Discord does not document.
    pub switches: Switches,
    /// MESSAGE_CREATEs per second, spread over all guilds.
    pub events_per_second: f64,
    /// Fault schedule that runs from the start.
    pub schedule: Option<Schedule>,
    /// Presets that are active from the start.
    pub presets: Vec<String>,
    /// Privileged intents that the application has enabled; others give close code 4014.
    pub privileged_intents: Intents,
    /// REST calls per second of one token, without answers to interactions.
    pub rest_global_limit: u32,
    /// Factor by which REST rate limit windows and the ban pass faster than Discord's.
    pub rest_limit_speed: f64,
    /// Answers with 401, 403 and 429 within ten minutes that ban an address.
    pub invalid_request_limit: u32,
    /// Length of the ban, which Discord does not document.
    pub invalid_request_ban: Duration,
    /// Time to answer an interaction.
    pub interaction_deadline: Duration,
    /// Lifetime of an interaction's token, for everything after the first answer.
    pub interaction_life: Duration,
    /// Changes the body of every GUILD_CREATE, for benchmarks with content of their own. It must give the same body for the same guild:
    /// a replay writes it again. REST does not show the changes.
    pub shape_guild: Option<ShapeGuild>,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            seed: 1,
            guilds: 100,
            largest_guild: None,
            outages: 0,
            shards: None,
            shard_multiple: 1,
            max_guilds_per_shard: 2_500,
            token: None,
            max_concurrency: 1,
            identify_interval: Duration::from_secs(5),
            daily_identifies: 1_000,
            heartbeat_interval: Duration::from_millis(41_250),
            switches: Switches::default(),
            events_per_second: 0.0,
            schedule: None,
            presets: Vec::new(),
            privileged_intents: Intents::PRIVILEGED,
            rest_global_limit: 50,
            rest_limit_speed: 1.0,
            invalid_request_limit: 10_000,
            invalid_request_ban: Duration::from_hours(1),
            interaction_deadline: Duration::from_secs(3),
            interaction_life: Duration::from_mins(15),
            shape_guild: None,
        }
    }
}

impl std::fmt::Debug for SimConfig {
    /// Omits the token.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SimConfig")
            .field("listen", &self.listen)
            .field("seed", &self.seed)
            .field("guilds", &self.guilds)
            .finish_non_exhaustive()
    }
}

impl SimConfig {
    /// Returns the recommended shard count.
    pub fn recommended_shards(&self) -> u32 {
        let wanted = self.shards.unwrap_or_else(|| self.guilds.div_ceil(1_000).max(1));
        wanted.next_multiple_of(self.shard_multiple)
    }

    /// Validates the settings.
    ///
    /// # Errors
    ///
    /// The first invalid setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |setting, needs| Err(ConfigError { setting, needs });
        if self.guilds > 1_000_000 {
            return refuse("guilds", "at most 1000000");
        }
        if self.largest_guild.is_some_and(|members| !LARGEST_GUILD.contains(&members)) {
            return refuse("largest_guild", "a number of members from 5 to 10000000");
        }
        if self.outages > self.guilds {
            return refuse("outages", "at most the number of guilds");
        }
        if self.largest_guild.is_some() && self.guilds == 0 {
            return refuse("guilds", "at least 1 if largest_guild is set");
        }
        if self.shards == Some(0) || self.shards.is_some_and(|shards| shards > MAX_SHARDS) {
            return refuse("shards", "a number from 1 to 65536");
        }
        if self.shard_multiple == 0 || self.shard_multiple > MAX_SHARDS {
            return refuse("shard_multiple", "a number from 1 to 65536");
        }
        if self.max_concurrency == 0 {
            return refuse("max_concurrency", "at least 1");
        }
        for (setting, time) in [
            ("heartbeat_interval", self.heartbeat_interval),
            ("identify_interval", self.identify_interval),
            ("invalid_request_ban", self.invalid_request_ban),
            ("interaction_deadline", self.interaction_deadline),
            ("interaction_life", self.interaction_life),
        ] {
            if time > LONGEST {
                return refuse(setting, "at most a year");
            }
        }
        if self.heartbeat_interval < Duration::from_millis(10) {
            return refuse("heartbeat_interval", "at least 10ms");
        }
        self.switches.validate().or_else(|(setting, needs)| refuse(setting, needs))?;
        if !self.presets.iter().all(|name| presets::exists(name)) {
            return refuse("presets", "names that GET /sim/presets lists");
        }
        if let Some(Err(needs)) = self.schedule.as_ref().map(Schedule::validate) {
            return refuse("schedule", needs);
        }
        if !is_valid_rate(self.events_per_second) {
            return refuse("events_per_second", "a number from 0 to 1000000");
        }
        if self.rest_global_limit == 0 {
            return refuse("rest_global_limit", "at least 1");
        }
        if self.invalid_request_limit == 0 {
            return refuse("invalid_request_limit", "at least 1");
        }
        if !(0.001..=1_000.0).contains(&self.rest_limit_speed) {
            return refuse("rest_limit_speed", "a number from 0.001 to 1000");
        }
        if self.advertise.as_deref().is_some_and(|name| !is_host_and_port(name)) {
            return refuse("advertise", "a host and port such as discord-sim:3900");
        }
        if self.token.as_deref().is_some_and(str::is_empty) {
            return refuse("token", "at least one character");
        }
        Ok(())
    }
}

/// Valid sizes of the largest guild; more would exhaust user ids.
const LARGEST_GUILD: std::ops::RangeInclusive<u64> = 5..=10_000_000;

/// The longest valid time.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// The largest valid shard total.
pub(crate) const MAX_SHARDS: u32 = 65_536;

/// Returns whether a message rate is valid.
pub(crate) fn is_valid_rate(per_second: f64) -> bool {
    (0.0..=1_000_000.0).contains(&per_second)
}

fn is_host_and_port(name: &str) -> bool {
    name.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['/', '@', ' ']) && port.parse::<u16>().is_ok()
    })
}

/// An invalid setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} must be {needs}")]
pub struct ConfigError {
    /// Name of the field of [`SimConfig`].
    pub setting: &'static str,
    /// The valid values.
    pub needs: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_settings_are_named_and_defaults_are_valid() {
        assert_eq!(SimConfig::default().validate(), Ok(()));
        let not_a_number = SimConfig { events_per_second: f64::NAN, ..SimConfig::default() };
        assert_eq!(not_a_number.validate().unwrap_err().setting, "events_per_second");
        let url = SimConfig { advertise: Some("ws://sim:3900".into()), ..SimConfig::default() };
        assert_eq!(url.validate().unwrap_err().setting, "advertise");
        let lonely = SimConfig { largest_guild: Some(1), ..SimConfig::default() };
        assert_eq!(lonely.validate().unwrap_err().setting, "largest_guild");
        let nowhere = SimConfig { guilds: 0, largest_guild: Some(9), ..SimConfig::default() };
        assert_eq!(nowhere.validate().unwrap_err().setting, "guilds");
        let none = SimConfig { max_concurrency: 0, ..SimConfig::default() };
        assert_eq!(none.validate().unwrap_err().to_string(), "max_concurrency must be at least 1");
    }

    #[test]
    fn recommended_shards_follow_the_number_of_guilds() {
        let config = |guilds, shard_multiple| SimConfig { guilds, shard_multiple, ..SimConfig::default() };
        assert_eq!(config(0, 1).recommended_shards(), 1);
        assert_eq!(config(2_500, 1).recommended_shards(), 3);
        assert_eq!(config(150_000, 16).recommended_shards(), 160);
    }
}

//! Profiles: settings for the size of the bot.

use crate::SimConfig;

/// The size of a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// 20 guilds on one shard, no traffic
    Small,
    /// 2,400 guilds, one with 60,000 members, two with an outage, 40 events per second
    Typical,
    /// 50,000 guilds on 256 shards, one with 250,000 members, 500 events per second, 16 identify buckets
    Huge,
}

impl SimConfig {
    /// Returns the settings with the profile's guilds, shards, largest guild, outages, message rate and identify buckets.
    #[must_use]
    pub fn with_profile(self, profile: Profile) -> Self {
        let (guilds, largest_guild, outages, shards, max_concurrency, events_per_second) = match profile {
            Profile::Small => (20, None, 0, Some(1), 1, 0.0),
            Profile::Typical => (2_400, Some(60_000), 2, None, 1, 40.0),
            Profile::Huge => (50_000, Some(250_000), 20, Some(256), 16, 500.0),
        };
        Self { guilds, largest_guild, outages, shards, max_concurrency, events_per_second, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn profiles_are_valid_and_keep_other_settings() {
        for profile in Profile::value_variants() {
            let config = SimConfig { seed: 9, ..SimConfig::default() }.with_profile(*profile);
            assert_eq!(config.validate(), Ok(()));
            assert_eq!(config.seed, 9);
            let guilds_per_shard = config.guilds / config.recommended_shards();
            assert!(guilds_per_shard <= config.max_guilds_per_shard);
        }
        let typical = SimConfig::default().with_profile(Profile::Typical);
        assert_eq!((typical.recommended_shards(), typical.largest_guild), (3, Some(60_000)));
    }
}

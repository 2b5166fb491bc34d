//! Scheduled events of guilds.

use super::{Draw, GuildIndex, Snowflake, World, names, time};
use serde::Serialize;

/// Earliest start of a scheduled event, 2030-01-01, in milliseconds since Discord's epoch, so that no event has started.
const FROM_MS: u64 = 473_385_600_000;
const YEAR_MS: u64 = 365 * 86_400_000;
const HOUR_MS: u64 = 3_600_000;

const VOICE: u8 = 2;
const EXTERNAL: u8 = 3;

/// A scheduled event that has not started.
/// [Source](https://docs.discord.com/developers/resources/guild-scheduled-event#guild-scheduled-event-object).
#[derive(Debug, Serialize)]
pub(crate) struct ScheduledEvent {
    id: Snowflake,
    guild_id: Snowflake,
    channel_id: Option<Snowflake>,
    creator_id: Snowflake,
    name: String,
    description: Option<&'static str>,
    scheduled_start_time: String,
    scheduled_end_time: Option<String>,
    privacy_level: u8,
    status: u8,
    entity_type: u8,
    entity_id: Option<Snowflake>,
    entity_metadata: Option<Location>,
    user_count: u64,
    image: Option<String>,
    recurrence_rule: Option<()>,
}

#[derive(Debug, Serialize)]
struct Location {
    location: &'static str,
}

impl World {
    /// Returns a guild's scheduled events: none in nine of ten guilds, otherwise one or two, in a voice channel or elsewhere.
    pub(crate) fn scheduled_events(&self, guild: GuildIndex) -> Vec<ScheduledEvent> {
        let head = self.head(guild);
        let rooms = self.channel_counts(guild).voice;
        let mut draw = Draw::new(self.seed, &[54, u64::from(guild)]);
        let count = if draw.chance(90) { 0 } else { draw.pick(&[1, 1, 1, 2]) };
        (0..count)
            .map(|number| {
                let starts_ms = FROM_MS + draw.range(0, YEAR_MS / HOUR_MS) * HOUR_MS;
                let elsewhere = draw.chance(40);
                let made_ms = head.id.timestamp_ms() + (number + 1) * HOUR_MS;
                ScheduledEvent {
                    id: Snowflake::new(made_ms, draw.word()),
                    guild_id: head.id,
                    channel_id: (!elsewhere)
                        .then(|| self.open_voice_channel(guild, draw.range(0, rooms - 1))),
                    creator_id: self.user_id(self.user_index(guild, 1)),
                    name: names::thread(&mut draw),
                    description: draw.chance(50).then_some("Bring a friend.\nStarts on time!"),
                    scheduled_start_time: time::iso(starts_ms),
                    scheduled_end_time: elsewhere.then(|| time::iso(starts_ms + 2 * HOUR_MS)),
                    privacy_level: 2,
                    status: 1,
                    entity_type: if elsewhere { EXTERNAL } else { VOICE },
                    entity_id: None,
                    entity_metadata: elsewhere.then_some(Location { location: "Café Zoë, 2nd floor" }),
                    user_count: draw.skewed(1, 50).min(head.members),
                    image: None,
                    recurrence_rule: None,
                }
            })
            .collect()
    }
}

//! A guild's channels.
//!
//! Of `n` channels the first tenth are categories, then text channels, and the last fifth are voice channels; there is at
//! least one of each.

use super::{Draw, GuildIndex, Snowflake, World, names};
use serde::Serialize;

/// A channel object. [Source](https://docs.discord.com/developers/resources/channel#channel-object).
#[derive(Debug, Serialize)]
pub(super) struct Channel {
    id: Snowflake,
    #[serde(rename = "type")]
    kind: u8,
    name: String,
    position: u64,
    flags: u64,
    parent_id: Option<Snowflake>,
    permission_overwrites: Vec<Overwrite>,
    #[serde(flatten)]
    body: Body,
}

#[derive(Debug, Serialize)]
struct Overwrite {
    id: Snowflake,
    #[serde(rename = "type")]
    kind: u8,
    allow: &'static str,
    deny: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Body {
    Category {},
    Text {
        topic: Option<&'static str>,
        nsfw: bool,
        rate_limit_per_user: u64,
        last_message_id: Option<Snowflake>,
    },
    Voice {
        bitrate: u64,
        user_limit: u64,
        rtc_region: Option<String>,
        nsfw: bool,
        rate_limit_per_user: u64,
    },
}

/// How many channels of each kind a guild has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelCounts {
    pub(crate) categories: u64,
    pub(crate) text: u64,
    pub(crate) voice: u64,
}

impl ChannelCounts {
    /// All channels.
    pub(crate) const fn total(self) -> u64 {
        self.categories + self.text + self.voice
    }
}

impl World {
    /// How many channels a guild has: 5 to 60.
    pub(crate) fn channel_counts(&self, guild: GuildIndex) -> ChannelCounts {
        let total = Draw::new(self.seed, &[8, u64::from(guild)]).skewed(5, 60);
        let (categories, voice) = ((total / 10).max(1), (total / 5).max(1));
        ChannelCounts { categories, text: total - categories - voice, voice }
    }

    fn channel_id(&self, guild: GuildIndex, number: u64) -> Snowflake {
        let id = self.head(guild).id;
        let low = Draw::new(self.seed, &[9, id.0, number]).word();
        Snowflake::new(id.timestamp_ms() + 1 + number * 7_000, low)
    }

    /// The id of text channel `number`, counted from 0.
    pub(super) fn text_channel_id(&self, guild: GuildIndex, number: u64) -> Snowflake {
        self.channel_id(guild, self.channel_counts(guild).categories + number)
    }

    /// The id of voice channel `number`, counted from 0.
    pub(super) fn voice_channel_id(&self, guild: GuildIndex, number: u64) -> Snowflake {
        let counts = self.channel_counts(guild);
        self.channel_id(guild, counts.categories + counts.text + number)
    }

    /// All channels of a guild.
    pub(super) fn channels(&self, guild: GuildIndex) -> Vec<Channel> {
        let counts = self.channel_counts(guild);
        (0..counts.total()).map(|number| self.channel(guild, counts, number)).collect()
    }

    fn channel(&self, guild: GuildIndex, counts: ChannelCounts, number: u64) -> Channel {
        let mut draw = Draw::new(self.seed, &[10, u64::from(guild), number]);
        let id = self.channel_id(guild, number);
        let (kind, name, body) = if number < counts.categories {
            (4, names::category(&mut draw).to_owned(), Body::Category {})
        } else if number < counts.categories + counts.text {
            let body = Body::Text {
                topic: draw.chance(30).then_some("Be kind. Read the rules before you post."),
                nsfw: draw.chance(5),
                rate_limit_per_user: if draw.chance(10) { 5 } else { 0 },
                last_message_id: draw.chance(80).then(|| {
                    Snowflake::new(id.timestamp_ms() + draw.range(1_000, 10_000_000_000), draw.word())
                }),
            };
            (0, names::text_channel(&mut draw), body)
        } else {
            let body = Body::Voice {
                bitrate: 64_000,
                user_limit: if draw.chance(30) { draw.range(2, 25) } else { 0 },
                rtc_region: None,
                nsfw: false,
                rate_limit_per_user: 0,
            };
            (2, names::voice_channel(&mut draw).to_owned(), body)
        };
        let parent_id = (kind != 4).then(|| self.channel_id(guild, draw.range(0, counts.categories - 1)));
        let overwritten = draw.chance(25);
        let permission_overwrites = overwritten
            .then(|| Overwrite { id: self.role_id(guild, 0), kind: 0, allow: "0", deny: "2048" })
            .into_iter()
            .collect();
        Channel { id, kind, name, position: number, flags: 0, parent_id, permission_overwrites, body }
    }
}

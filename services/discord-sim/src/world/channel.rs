//! A guild's channels.
//!
//! The first tenth of a guild's channels are categories, then follow text channels, and the last fifth are voice channels; there is
//! at least one of each. Some are [hidden](super::hidden) from the bot.

use super::{Draw, GuildIndex, Snowflake, World, names, permissions};
use serde::Serialize;

/// Limit of channels per guild.
pub(super) const MOST: u64 = 60;
/// Time between the creation of a guild and of its first channel, in milliseconds.
pub(super) const FIRST_AFTER_MS: u64 = 1;
/// Time between the creation of two channels, in milliseconds.
pub(super) const STEP_MS: u64 = 7_000;

/// Channel types. [Source](https://docs.discord.com/developers/resources/channel#channel-object-channel-types).
const TEXT: u8 = 0;
const VOICE: u8 = 2;
const CATEGORY: u8 = 4;
const TOPIC: &str = "Be kind 🌱 — read the rules before you post.\nНовичкам: \"/help\" or C:\\help";

/// A channel object. [Source](https://docs.discord.com/developers/resources/channel#channel-object).
#[derive(Debug, Serialize)]
pub(crate) struct Channel {
    id: Snowflake,
    #[serde(rename = "type")]
    kind: u8,
    /// Missing in GUILD_CREATE.
    #[serde(skip_serializing_if = "Option::is_none")]
    guild_id: Option<Snowflake>,
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
        rtc_region: Option<&'static str>,
        nsfw: bool,
        rate_limit_per_user: u64,
    },
}

impl Channel {
    /// Returns the user limit of a voice channel, 0 for unlimited; `None` for other channels.
    pub(super) const fn user_limit(&self) -> Option<u64> {
        match self.body {
            Body::Voice { user_limit, .. } => Some(user_limit),
            Body::Category {} | Body::Text { .. } => None,
        }
    }

    /// Adds the guild's id, as in REST and CHANNEL_CREATE.
    pub(super) fn with_guild(self, guild_id: Snowflake) -> Self {
        Self { guild_id: Some(guild_id), ..self }
    }
}

impl Body {
    const fn voice(user_limit: u64) -> Self {
        Self::Voice { bitrate: 64_000, user_limit, rtc_region: None, nsfw: false, rate_limit_per_user: 0 }
    }

    /// Returns the body of a hidden channel.
    const fn blanked(&self) -> Self {
        match self {
            Self::Category {} => Self::Category {},
            Self::Text { .. } => {
                Self::Text { topic: None, nsfw: false, rate_limit_per_user: 0, last_message_id: None }
            }
            Self::Voice { .. } => Self::voice(0),
        }
    }
}

/// Number of channels of each kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChannelCounts {
    pub(crate) categories: u64,
    pub(crate) text: u64,
    pub(crate) voice: u64,
}

impl ChannelCounts {
    /// Returns the number of all channels.
    pub(crate) const fn total(self) -> u64 {
        self.categories + self.text + self.voice
    }
}

impl World {
    /// Returns the number of a guild's channels: 5 to 60.
    pub(crate) fn channel_counts(&self, guild: GuildIndex) -> ChannelCounts {
        let total = Draw::new(self.seed, &[8, u64::from(guild)]).skewed(5, MOST);
        let (categories, voice) = ((total / 10).max(1), (total / 5).max(1));
        ChannelCounts { categories, text: total - categories - voice, voice }
    }

    /// Returns the id of channel `number`, counted from 0 over all kinds.
    pub(super) fn channel_id(&self, guild: GuildIndex, number: u64) -> Snowflake {
        let id = self.head(guild).id;
        let low = Draw::new(self.seed, &[9, id.0, number]).word();
        Snowflake::new(id.timestamp_ms() + FIRST_AFTER_MS + number * STEP_MS, low)
    }

    /// Returns the id of text channel `number`, counted from 0.
    pub(super) fn text_channel_id(&self, guild: GuildIndex, number: u64) -> Snowflake {
        self.channel_id(guild, self.channel_counts(guild).categories + number)
    }

    /// Returns all channels of a guild, hidden ones obfuscated.
    pub(super) fn channels(&self, guild: GuildIndex) -> Vec<Channel> {
        let counts = self.channel_counts(guild);
        (0..counts.total()).map(|number| self.channel(guild, counts, number)).collect()
    }

    /// Returns channel `number`, obfuscated if it is hidden.
    pub(super) fn channel(&self, guild: GuildIndex, counts: ChannelCounts, number: u64) -> Channel {
        let seen = self.unhidden_channel(guild, counts, number);
        if !self.is_hidden(guild, counts, number) {
            return seen;
        }
        Channel {
            name: permissions::HIDDEN_NAME.to_owned(),
            flags: permissions::CHANNEL_OBFUSCATED,
            permission_overwrites: vec![self.deny_everyone(guild, permissions::VIEW_CHANNEL)],
            body: seen.body.blanked(),
            ..seen
        }
    }

    fn unhidden_channel(&self, guild: GuildIndex, counts: ChannelCounts, number: u64) -> Channel {
        let mut draw = Draw::new(self.seed, &[10, u64::from(guild), number]);
        let id = self.channel_id(guild, number);
        let (kind, name, body) = if number < counts.categories {
            (CATEGORY, names::category(&mut draw).to_owned(), Body::Category {})
        } else if number < counts.categories + counts.text {
            let body = Body::Text {
                topic: draw.chance(30).then_some(TOPIC),
                nsfw: draw.chance(5),
                rate_limit_per_user: if draw.chance(10) { 5 } else { 0 },
                last_message_id: draw.chance(80).then(|| {
                    Snowflake::new(id.timestamp_ms() + draw.range(1_000, 10_000_000_000), draw.word())
                }),
            };
            (TEXT, names::text_channel(&mut draw), body)
        } else {
            let user_limit = if draw.chance(30) { draw.range(2, 25) } else { 0 };
            (VOICE, names::voice_channel(&mut draw).to_owned(), Body::voice(user_limit))
        };
        let unusual = if kind == TEXT { names::SLUGS } else { names::PLACES };
        let unusual = names::unusual(Draw::new(self.seed, &[43, u64::from(guild), number]), unusual);
        let parent_id =
            (kind != CATEGORY).then(|| self.channel_id(guild, draw.range(0, counts.categories - 1)));
        let muted = draw.chance(25).then(|| self.deny_everyone(guild, permissions::SEND_MESSAGES));
        Channel {
            id,
            kind,
            guild_id: None,
            name: unusual.map_or(name, str::to_owned),
            position: number,
            flags: 0,
            parent_id,
            permission_overwrites: muted.into_iter().collect(),
            body,
        }
    }

    /// Returns an overwrite that denies `@everyone` a permission.
    fn deny_everyone(&self, guild: GuildIndex, deny: &'static str) -> Overwrite {
        Overwrite { id: self.role_id(guild, 0), kind: 0, allow: "0", deny }
    }
}

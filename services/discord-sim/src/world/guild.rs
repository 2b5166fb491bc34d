//! The guild object: the part that GUILD_CREATE and REST share.

use super::{
    Draw, FIRST_GUILD_MS, GuildHead, GuildIndex, STRIDE_MS, STRIDES, Snowflake, World,
    expression::{Emoji, Sticker},
    names,
    role::Role,
};
use serde::Serialize;

/// Minimum of `max_members`.
const MOST_MEMBERS: u64 = 500_000;

/// A guild object. [Source](https://docs.discord.com/developers/resources/guild#guild-object).
#[derive(Debug, Serialize)]
pub(crate) struct Guild {
    id: Snowflake,
    name: String,
    icon: Option<String>,
    splash: Option<String>,
    discovery_splash: Option<String>,
    banner: Option<String>,
    description: Option<String>,
    owner_id: Snowflake,
    application_id: Option<Snowflake>,
    afk_channel_id: Option<Snowflake>,
    afk_timeout: u64,
    system_channel_id: Option<Snowflake>,
    system_channel_flags: u64,
    rules_channel_id: Option<Snowflake>,
    public_updates_channel_id: Option<Snowflake>,
    safety_alerts_channel_id: Option<Snowflake>,
    vanity_url_code: Option<String>,
    verification_level: u64,
    default_message_notifications: u64,
    explicit_content_filter: u64,
    mfa_level: u64,
    nsfw_level: u64,
    premium_tier: u64,
    premium_subscription_count: u64,
    premium_progress_bar_enabled: bool,
    preferred_locale: &'static str,
    max_members: u64,
    max_video_channel_users: u64,
    max_stage_video_channel_users: u64,
    features: Vec<&'static str>,
    roles: Vec<Role>,
    emojis: Vec<Emoji>,
    stickers: Vec<Sticker>,
}

/// Draws id and size of guild `index`.
pub(super) fn head(seed: u64, index: GuildIndex) -> GuildHead {
    let mut draw = Draw::new(seed, &[11, u64::from(index)]);
    let ms =
        FIRST_GUILD_MS.next_multiple_of(STRIDE_MS) + u64::from(index) + STRIDE_MS * draw.range(0, STRIDES);
    let members = match draw.range(0, 999) {
        0..650 => draw.skewed(5, 60),
        650..940 => draw.skewed(60, 500),
        940..992 => draw.skewed(500, 5_000),
        992..999 => draw.skewed(5_000, 20_000),
        _ => draw.skewed(20_000, 80_000),
    };
    GuildHead { id: Snowflake::new(ms, draw.word()), members }
}

impl World {
    /// Returns a guild's name.
    pub(crate) fn guild_name(&self, guild: GuildIndex) -> String {
        let path = u64::from(guild);
        names::unusual(Draw::new(self.seed, &[40, path]), names::PLACES)
            .map_or_else(|| names::guild(&mut Draw::new(self.seed, &[13, path])), str::to_owned)
    }

    /// Returns the guild object and the time when the bot joined, in milliseconds since Discord's epoch.
    pub(super) fn guild_and_joining(&self, guild: GuildIndex) -> (Guild, u64) {
        let head = self.head(guild);
        let mut draw = Draw::new(self.seed, &[16, u64::from(guild)]);
        let community = head.members > 1_000;
        let first_text = Some(self.text_channel_id(guild, 0));
        let object = Guild {
            id: head.id,
            name: self.guild_name(guild),
            icon: draw.chance(80).then(|| draw.hex()),
            splash: None,
            discovery_splash: None,
            banner: None,
            description: community.then(|| "A place for everyone 🌍".to_owned()),
            owner_id: self.user_id(self.user_index(guild, 1)),
            application_id: None,
            afk_channel_id: None,
            afk_timeout: 300,
            system_channel_id: first_text,
            system_channel_flags: 0,
            rules_channel_id: first_text.filter(|_| community),
            public_updates_channel_id: first_text.filter(|_| community),
            safety_alerts_channel_id: None,
            vanity_url_code: None,
            verification_level: draw.range(0, 3),
            default_message_notifications: draw.range(0, 1),
            explicit_content_filter: draw.range(0, 2),
            mfa_level: draw.range(0, 1),
            nsfw_level: 0,
            premium_tier: if community { draw.range(0, 3) } else { 0 },
            premium_subscription_count: if community { draw.range(0, 40) } else { 0 },
            premium_progress_bar_enabled: false,
            preferred_locale: draw.pick(&["en-US", "de", "ja", "pt-BR"]),
            max_members: head.members.next_multiple_of(MOST_MEMBERS),
            max_video_channel_users: 25,
            max_stage_video_channel_users: 50,
            features: if community { vec!["COMMUNITY", "NEWS"] } else { Vec::new() },
            roles: self.roles(guild),
            emojis: self.emojis(guild),
            stickers: self.stickers(guild),
        };
        (object, head.id.timestamp_ms() + draw.range(60_000, 1_000_000_000))
    }
}

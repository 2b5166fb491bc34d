//! Active public threads in visible text channels.

use super::{ChannelCounts, Draw, GuildIndex, Snowflake, World, names, time};
use serde::Serialize;

/// Creation of the first thread, 2026-01-01, in milliseconds since Discord's epoch.
pub(super) const FIRST_MS: u64 = 347_155_200_000;
/// Time between two threads of a guild, in milliseconds.
pub(super) const STEP_MS: u64 = 1_000;
/// Time between the first threads of two guilds; a guild uses at most 12 of these 16 steps.
pub(super) const GUILD_STEP_MS: u64 = 16 * STEP_MS;
/// Limit of threads per guild.
const MOST: u64 = 12;
/// Highest `member_count`.
/// [Source](https://docs.discord.com/developers/resources/channel#channel-object-channel-structure).
const MEMBERS_COUNTED: u64 = 50;

/// A thread: a channel of type 11.
/// [Source](https://docs.discord.com/developers/resources/channel#channel-object).
#[derive(Debug, Serialize)]
pub(crate) struct Thread {
    id: Snowflake,
    #[serde(rename = "type")]
    kind: u8,
    guild_id: Snowflake,
    parent_id: Snowflake,
    owner_id: Snowflake,
    name: String,
    last_message_id: Option<Snowflake>,
    rate_limit_per_user: u64,
    message_count: u64,
    member_count: u64,
    total_message_sent: u64,
    flags: u64,
    #[serde(rename = "thread_metadata")]
    metadata: Metadata,
    /// Present if the bot is in the thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<ThreadMember>,
}

/// [Source](https://docs.discord.com/developers/resources/channel#thread-metadata-object).
#[derive(Debug, Serialize)]
struct Metadata {
    archived: bool,
    archive_timestamp: String,
    auto_archive_duration: u64,
    locked: bool,
    create_timestamp: String,
}

/// The bot's membership, without user and thread id as in GUILD_CREATE.
/// [Source](https://docs.discord.com/developers/resources/channel#thread-member-object).
#[derive(Debug, Serialize)]
struct ThreadMember {
    join_timestamp: String,
    flags: u64,
}

impl World {
    /// Returns the number of a guild's active threads: 0 to 12, more in larger guilds.
    pub(crate) fn thread_count(&self, guild: GuildIndex) -> u64 {
        let most = match self.head(guild).members {
            0..60 => 2,
            60..500 => 5,
            _ => MOST,
        };
        Draw::new(self.seed, &[46, u64::from(guild)]).skewed(1, most + 1) - 1
    }

    /// Returns the id of thread `number` of a guild, counted from 0.
    pub(crate) fn thread_id(&self, guild: GuildIndex, number: u64) -> Snowflake {
        let low = Draw::new(self.seed, &[47, u64::from(guild), number]).word();
        Snowflake::new(FIRST_MS + u64::from(guild) * GUILD_STEP_MS + number * STEP_MS, low)
    }

    /// Returns all active threads of a guild.
    pub(crate) fn threads(&self, guild: GuildIndex) -> Vec<Thread> {
        (0..self.thread_count(guild)).map(|number| self.thread(guild, number)).collect()
    }

    /// Returns thread `number` of a guild.
    pub(crate) fn thread(&self, guild: GuildIndex, number: u64) -> Thread {
        let head = self.head(guild);
        let id = self.thread_id(guild, number);
        let made_ms = id.timestamp_ms();
        let path = [48, u64::from(guild), number];
        let mut draw = Draw::new(self.seed, &path);
        let ChannelCounts { text, .. } = self.channel_counts(guild);
        let parent_id = self.open_text_channel(guild, draw.range(0, text - 1));
        let owner_id = self.user_id(self.user_index(guild, draw.range(1, head.members - 1)));
        let ordinary = names::thread(&mut draw);
        let messages = draw.skewed(1, 3_000);
        Thread {
            id,
            kind: 11,
            guild_id: head.id,
            parent_id,
            owner_id,
            name: names::unusual(Draw::new(self.seed, &[49, path[1], number]), names::PLACES)
                .map_or(ordinary, str::to_owned),
            last_message_id: Some(Snowflake::new(made_ms + draw.range(1_000, 86_400_000), draw.word())),
            rate_limit_per_user: if draw.chance(10) { 5 } else { 0 },
            message_count: messages,
            member_count: draw.skewed(1, MEMBERS_COUNTED).min(head.members),
            total_message_sent: messages + draw.range(0, messages / 10),
            flags: 0,
            metadata: Metadata {
                archived: false,
                archive_timestamp: time::iso(made_ms),
                auto_archive_duration: draw.pick(&[1_440, 4_320, 10_080]),
                locked: draw.chance(3),
                create_timestamp: time::iso(made_ms),
            },
            member: draw.chance(33).then(|| ThreadMember {
                join_timestamp: time::iso(made_ms + draw.range(0, 3_600_000)),
                flags: 0,
            }),
        }
    }
}

//! The simulated world: guilds, channels, threads, roles, emojis and users, generated from one seed.
//!
//! Pure and immutable. Only a guild's id and member count are stored; bodies are generated when they are needed, so 50,000 guilds take
//! under 2 MB. The [hub](crate::hub) knows which guilds the bot is in and which have an outage.
//!
//! Users form a ring, and a guild's members are a window of it. Windows overlap, so a user is in several guilds, and the guilds of a
//! user are computed without a table. Unlike on Discord, a user may be in voice in two guilds at once.
//!
//! The timestamp in an id encodes its origin, so [`lookup`] finds users, channels and threads by id without an index.

mod channel;
mod draw;
mod expression;
mod guild;
mod guild_create;
mod hidden;
mod lookup;
mod message;
mod names;
mod permissions;
mod person;
mod presence;
mod role;
mod scheduled_event;
mod snowflake;
mod thread;
pub(crate) mod time;
mod voice;

use channel::ChannelCounts;
pub(crate) use draw::Draw;
pub(crate) use guild_create::Visibility;
pub(crate) use message::Message;
pub(crate) use person::User;
use role::ADMINISTRATOR;
pub use snowflake::Snowflake;
pub(crate) use voice::{VoiceChanges, VoiceState};

/// Guilds that the bot is not in at the start; tests can make it join them.
const SPARE_GUILDS: u32 = 256;
/// Limit of members of a spare guild, so that spare guilds do not enlarge the pool of users.
const SPARE_MEMBERS: u64 = 100;
/// Creation of the first guild, about 2016-02-02.
const FIRST_GUILD_MS: u64 = 34_300_000_000;
/// A multiple of all shard totals from 1 to 16 and of 32, 64, 128 and 256: guild `i` is on shard `i % total` for each.
const STRIDE_MS: u64 = 11_531_520;
/// Strides between the first and the last guild, about nine years.
const STRIDES: u64 = 24_000;
const FIRST_USER_MS: u64 = 13_000_000_000;
const USER_STEP_MS: u64 = 200_000;

/// Index of a guild in the world.
pub(crate) type GuildIndex = u32;

/// Stored data of a guild.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuildHead {
    pub(crate) id: Snowflake,
    /// Members, including the bot.
    pub(crate) members: u64,
}

/// The seeded world.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    guilds: u32,
    heads: Vec<GuildHead>,
    /// All guilds sorted by id, which is the order of creation.
    by_id: Vec<GuildIndex>,
    /// Number of users.
    pool: u64,
}

impl World {
    /// Generates a world in which the bot starts in `guilds` guilds.
    pub(crate) fn new(seed: u64, guilds: u32) -> Self {
        let mut heads: Vec<GuildHead> =
            (0..guilds.saturating_add(SPARE_GUILDS)).map(|index| guild::head(seed, index)).collect();
        for spare in &mut heads[guilds as usize..] {
            spare.members = spare.members.min(SPARE_MEMBERS);
        }
        let mut by_id: Vec<GuildIndex> = (0..heads.len() as GuildIndex).collect();
        by_id.sort_unstable_by_key(|guild| heads[*guild as usize].id);
        let pool = pool(&heads, guilds);
        Self { seed, guilds, heads, by_id, pool }
    }

    /// Sets the members of guild 0; `None` leaves them unchanged. This changes the pool of users and all memberships.
    pub(crate) fn with_largest_guild(mut self, members: Option<u64>) -> Self {
        if let Some(members) = members {
            self.heads[0].members = members;
            self.pool = pool(&self.heads, self.guilds);
        }
        self
    }

    /// Returns the number of guilds that the bot starts in; they have the lowest indices.
    pub(crate) const fn started_guilds(&self) -> u32 {
        self.guilds
    }

    /// Returns the number of all guilds, including those that the bot is not in.
    pub(crate) fn all_guilds(&self) -> u32 {
        self.heads.len() as u32
    }

    /// Returns the stored data of a guild.
    pub(crate) fn head(&self, guild: GuildIndex) -> GuildHead {
        self.heads[guild as usize]
    }

    /// Finds a guild by id.
    pub(crate) fn find(&self, id: Snowflake) -> Option<GuildIndex> {
        let at = self.by_id.binary_search_by_key(&id, |guild| self.head(*guild).id).ok()?;
        Some(self.by_id[at])
    }

    /// Returns the guilds created in a range of milliseconds since Discord's epoch, both ends included.
    fn made_between(&self, first_ms: u64, last_ms: u64) -> &[GuildIndex] {
        let made = |guild: &GuildIndex| self.head(*guild).id.timestamp_ms();
        let from = self.by_id.partition_point(|guild| made(guild) < first_ms);
        let later = &self.by_id[from..];
        &later[..later.partition_point(|guild| made(guild) <= last_ms)]
    }

    /// Returns the bot's user id, which is also its application id.
    pub(crate) fn bot_id(&self) -> Snowflake {
        Snowflake::new(FIRST_USER_MS - 1_000_000_000, self.seed)
    }

    fn user_id(&self, index: u64) -> Snowflake {
        let low = Draw::new(self.seed, &[1, index]).word();
        Snowflake::new(FIRST_USER_MS + index * USER_STEP_MS, low)
    }

    /// Returns the start of a guild's window of the ring.
    fn window(&self, guild: GuildIndex) -> u64 {
        Draw::new(self.seed, &[2, u64::from(guild)]).range(0, self.pool - 1)
    }

    /// Returns the pool index of member `position >= 1` of a guild.
    pub(crate) fn user_index(&self, guild: GuildIndex, position: u64) -> u64 {
        (self.window(guild) + position - 1) % self.pool
    }

    /// Returns the position of a user among a guild's members.
    pub(crate) fn position_of(&self, guild: GuildIndex, user: u64) -> Option<u64> {
        let position = (user + self.pool - self.window(guild)) % self.pool + 1;
        (position < self.head(guild).members).then_some(position)
    }
}

/// Returns the number of users: about three guilds per user, and more than the largest guild's members.
fn pool(heads: &[GuildHead], started: u32) -> u64 {
    let largest = heads.iter().map(|head| head.members).max().unwrap_or(0);
    let together: u64 = heads[..started as usize].iter().map(|head| head.members).sum();
    (together / 3).max(largest + largest / 4).max(100)
}

#[cfg(test)]
mod tests;

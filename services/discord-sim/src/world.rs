//! What exists in this Discord: guilds, channels, threads, roles, emojis and people, all from one seed.
//!
//! Pure and immutable. Only a guild's id and member count are kept; every body is made again when it is
//! needed, so 50,000 guilds take under 2 MB. Which guilds the bot is in right now, and which have an outage, is
//! the [hub](crate::hub)'s.
//!
//! People come from one pool of users laid out as a ring: a guild's members are a window of it. Windows overlap,
//! so one user is in several guilds, and "in which guilds is this user" needs no table. Unlike at Discord a user
//! may sit in voice in two guilds at once.
//!
//! Ids carry where they come from in their timestamp, so [`lookup`] finds users, channels and threads by id without
//! an index.

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

/// Guilds that exist but that the bot is not in at the start; a test can let it join them.
const SPARE_GUILDS: u32 = 256;
/// They are small, so that they don't stretch the pool of users, which the others share.
const SPARE_MEMBERS: u64 = 100;
/// First guild was made about 2016-02-02.
const FIRST_GUILD_MS: u64 = 34_300_000_000;
/// A multiple of all shard totals from 1 to 16 and of 32, 64, 128 and 256: guild `i` is on shard `i % total` for each.
const STRIDE_MS: u64 = 11_531_520;
/// Strides between the first and the last guild, about nine years.
const STRIDES: u64 = 24_000;
const FIRST_USER_MS: u64 = 13_000_000_000;
const USER_STEP_MS: u64 = 200_000;

/// A guild's place in the world.
pub(crate) type GuildIndex = u32;

/// What is kept of a guild.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuildHead {
    pub(crate) id: Snowflake,
    /// Members, the bot included.
    pub(crate) members: u64,
}

/// The seeded world.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    guilds: u32,
    heads: Vec<GuildHead>,
    /// All guilds in the order of their ids, which is that of their making.
    by_id: Vec<GuildIndex>,
    /// Users that exist.
    pool: u64,
}

impl World {
    /// The world with this seed in which the bot starts in `guilds` guilds.
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

    /// The same world with so many members in guild 0; `None` leaves it as it is. The pool of users follows, and with it
    /// who is in which guild.
    pub(crate) fn with_largest_guild(mut self, members: Option<u64>) -> Self {
        if let Some(members) = members {
            self.heads[0].members = members;
            self.pool = pool(&self.heads, self.guilds);
        }
        self
    }

    /// How many guilds the bot starts in; they have the lowest indices.
    pub(crate) const fn started_guilds(&self) -> u32 {
        self.guilds
    }

    /// How many guilds exist, those that the bot is not in included.
    pub(crate) fn all_guilds(&self) -> u32 {
        self.heads.len() as u32
    }

    /// What is kept of a guild.
    pub(crate) fn head(&self, guild: GuildIndex) -> GuildHead {
        self.heads[guild as usize]
    }

    /// The guild with this id.
    pub(crate) fn find(&self, id: Snowflake) -> Option<GuildIndex> {
        let at = self.by_id.binary_search_by_key(&id, |guild| self.head(*guild).id).ok()?;
        Some(self.by_id[at])
    }

    /// The guilds made in this span of milliseconds since Discord's epoch, both ends included.
    fn made_between(&self, first_ms: u64, last_ms: u64) -> &[GuildIndex] {
        let made = |guild: &GuildIndex| self.head(*guild).id.timestamp_ms();
        let from = self.by_id.partition_point(|guild| made(guild) < first_ms);
        let later = &self.by_id[from..];
        &later[..later.partition_point(|guild| made(guild) <= last_ms)]
    }

    /// The bot's user id, which is its application's too.
    pub(crate) fn bot_id(&self) -> Snowflake {
        Snowflake::new(FIRST_USER_MS - 1_000_000_000, self.seed)
    }

    fn user_id(&self, index: u64) -> Snowflake {
        let low = Draw::new(self.seed, &[1, index]).word();
        Snowflake::new(FIRST_USER_MS + index * USER_STEP_MS, low)
    }

    /// Where a guild's window of the ring begins.
    fn window(&self, guild: GuildIndex) -> u64 {
        Draw::new(self.seed, &[2, u64::from(guild)]).range(0, self.pool - 1)
    }

    /// The pool index of member `position >= 1` of a guild.
    pub(crate) fn user_index(&self, guild: GuildIndex, position: u64) -> u64 {
        (self.window(guild) + position - 1) % self.pool
    }

    /// The member position of a user in a guild.
    pub(crate) fn position_of(&self, guild: GuildIndex, user: u64) -> Option<u64> {
        let position = (user + self.pool - self.window(guild)) % self.pool + 1;
        (position < self.head(guild).members).then_some(position)
    }
}

/// How many users there are: about three guilds for each, and no guild's window is longer than the ring.
fn pool(heads: &[GuildHead], started: u32) -> u64 {
    let largest = heads.iter().map(|head| head.members).max().unwrap_or(0);
    let together: u64 = heads[..started as usize].iter().map(|head| head.members).sum();
    (together / 3).max(largest + largest / 4).max(100)
}

#[cfg(test)]
mod tests;

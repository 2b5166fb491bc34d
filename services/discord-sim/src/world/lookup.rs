//! Lookups by id and name, for REST and member requests.
//!
//! There is no index of users, channels or threads. The timestamp in an id gives its possible origin; the id generated there must be
//! equal. Bodies that differ from those in GUILD_CREATE are here too.

use super::{
    GuildIndex, Snowflake, World,
    channel::{self, Channel},
    guild::Guild,
    names::{self, Name},
    person::BOT_NAME,
    thread,
};

impl World {
    /// Returns the pool index of a user. The bot is not in the pool. O(1).
    pub(crate) fn find_user(&self, id: Snowflake) -> Option<u64> {
        let after = id.timestamp_ms().checked_sub(super::FIRST_USER_MS)?;
        let index = after / super::USER_STEP_MS;
        (index < self.pool && self.user_id(index) == id).then_some(index)
    }

    /// Returns the position of a user among a guild's members; the bot's is 0. O(1).
    pub(crate) fn member_position(&self, guild: GuildIndex, user: Snowflake) -> Option<u64> {
        if user == self.bot_id() {
            return Some(0);
        }
        self.position_of(guild, self.find_user(user)?)
    }

    /// Returns the first `limit` positions whose username, display name or nick begins with `prefix`, ignoring case. Checks members one by
    /// one, which takes about 0.1 µs each.
    pub(crate) fn members_named(&self, guild: GuildIndex, prefix: &str, limit: usize) -> Vec<u64> {
        let folded = names::fold(prefix);
        let positions = 0..self.head(guild).members;
        positions.filter(|position| self.is_named(guild, *position, &folded)).take(limit).collect()
    }

    fn is_named(&self, guild: GuildIndex, position: u64, folded: &str) -> bool {
        let (username, global_name) = if position == 0 {
            (Name::from(BOT_NAME), None)
        } else {
            let index = self.user_index(guild, position);
            self.user_names(&mut self.user_draw(index), index)
        };
        let nick = || self.nick(guild, position).map(Name::from);
        username.starts_with(folded)
            || global_name.is_some_and(|name| name.starts_with(folded))
            || nick().is_some_and(|name| name.starts_with(folded))
    }

    /// Returns the guild and number of a channel, which may be hidden. [`find_thread`](Self::find_thread) finds threads. O(log guilds).
    pub(crate) fn find_channel(&self, id: Snowflake) -> Option<(GuildIndex, u64)> {
        let last_ms = id.timestamp_ms().checked_sub(channel::FIRST_AFTER_MS)?;
        let first_ms = last_ms.saturating_sub((channel::MOST - 1) * channel::STEP_MS);
        self.made_between(first_ms, last_ms).iter().find_map(|guild| {
            let number = (last_ms - self.head(*guild).id.timestamp_ms()) / channel::STEP_MS;
            let exists = number < self.channel_counts(*guild).total();
            (exists && self.channel_id(*guild, number) == id).then_some((*guild, number))
        })
    }

    /// Returns a channel for REST; `None` also if it is hidden.
    pub(crate) fn channel_by_id(&self, id: Snowflake) -> Option<Channel> {
        let (guild, number) = self.find_channel(id)?;
        self.visible_channel(guild, number)
    }

    /// Returns the user limit of a visible voice channel of the guild, 0 for unlimited; `None` for other ids.
    pub(crate) fn voice_channel(&self, guild: GuildIndex, id: Snowflake) -> Option<u64> {
        let found = self.find_channel(id).filter(|(of, _)| *of == guild);
        self.visible_channel(guild, found?.1)?.user_limit()
    }

    /// Returns the visible channels of a guild for REST.
    pub(crate) fn visible_channels(&self, guild: GuildIndex) -> Vec<Channel> {
        let all = 0..self.channel_counts(guild).total();
        all.filter_map(|number| self.visible_channel(guild, number)).collect()
    }

    fn visible_channel(&self, guild: GuildIndex, number: u64) -> Option<Channel> {
        let counts = self.channel_counts(guild);
        let seen = !self.is_hidden(guild, counts, number);
        seen.then(|| self.channel(guild, counts, number).with_guild(self.head(guild).id))
    }

    /// Returns the guild and number of an active thread. O(1).
    pub(crate) fn find_thread(&self, id: Snowflake) -> Option<(GuildIndex, u64)> {
        let after = id.timestamp_ms().checked_sub(thread::FIRST_MS)?;
        let guild = GuildIndex::try_from(after / thread::GUILD_STEP_MS).ok()?;
        let number = after % thread::GUILD_STEP_MS / thread::STEP_MS;
        let exists = guild < self.all_guilds() && number < self.thread_count(guild);
        (exists && self.thread_id(guild, number) == id).then_some((guild, number))
    }

    /// Returns the guild object for REST, without the fields of GUILD_CREATE.
    pub(crate) fn rest_guild(&self, guild: GuildIndex) -> Guild {
        self.guild_and_joining(guild).0
    }
}

//! Channels hidden from the bot.
//!
//! Since 2026-11-16 the gateway sends them obfuscated to every bot, regardless of its `capabilities`, and REST omits them. `id`, `type`, `position` and `parent_id` stay; the name is `___hidden___`; one overwrite denies
//! `@everyone` VIEW_CHANNEL. [Source](https://docs.discord.com/developers/resources/channel#channel-object-obfuscated-channels).
//!
//! Discord documents only that the other fields are nulled or reduced. Our choice: nullable fields are null, flags are false, and
//! numbers have the values of a new channel. Also our choice: a bot with an ADMINISTRATOR role sees every channel; a guild's first
//! text channel, its first voice channel and its categories are never hidden; messages, threads and voice calls happen only in visible
//! channels.

use super::{ADMINISTRATOR, Draw, GuildIndex, Snowflake, World, channel::ChannelCounts};

/// Share of hidden text and voice channels in guilds where the bot is not an administrator, in percent. It is an administrator in
/// about two fifths of guilds, so about 4 % of all channels are hidden.
const HIDDEN_PERCENT: u64 = 7;

impl World {
    /// Returns whether channel `number` of a guild, counted over all kinds, is hidden.
    pub(super) fn is_hidden(&self, guild: GuildIndex, counts: ChannelCounts, number: u64) -> bool {
        let first_voice = counts.categories + counts.text;
        number > counts.categories
            && number != first_voice
            && Draw::new(self.seed, &[45, u64::from(guild), number]).chance(HIDDEN_PERCENT)
            && !self.bot_is_administrator(guild)
    }

    fn bot_is_administrator(&self, guild: GuildIndex) -> bool {
        let held = self.held_roles(guild, 0);
        held.into_iter().any(|number| self.role(guild, number).permissions == ADMINISTRATOR)
    }

    /// Returns whether the bot's roles in a guild, including `@everyone`, grant this permission bit.
    /// [Source](https://docs.discord.com/developers/topics/permissions#permission-hierarchy).
    pub(crate) fn bot_may(&self, guild: GuildIndex, permission: u64) -> bool {
        let mut roles = self.held_roles(guild, 0);
        roles.push(0);
        let granted = roles.into_iter().map(|number| self.role(guild, number).permissions);
        granted.fold(0, |all, bits| all | bits.parse::<u64>().unwrap_or(0)) & (permission | 1 << 3) != 0
    }

    /// Returns the id of text channel `drawn`, or of the next visible one.
    pub(super) fn open_text_channel(&self, guild: GuildIndex, drawn: u64) -> Snowflake {
        let counts = self.channel_counts(guild);
        self.open_channel(guild, counts, counts.categories, counts.text, drawn)
    }

    /// Returns the id of voice channel `drawn`, or of the next visible one.
    pub(super) fn open_voice_channel(&self, guild: GuildIndex, drawn: u64) -> Snowflake {
        let counts = self.channel_counts(guild);
        self.open_channel(guild, counts, counts.categories + counts.text, counts.voice, drawn)
    }

    fn open_channel(
        &self,
        guild: GuildIndex,
        counts: ChannelCounts,
        first: u64,
        of_kind: u64,
        drawn: u64,
    ) -> Snowflake {
        let mut around = (drawn..of_kind).chain(0..drawn).map(|number| first + number);
        // The first of each kind is never hidden.
        let number = around.find(|number| !self.is_hidden(guild, counts, *number)).unwrap_or(first);
        self.channel_id(guild, number)
    }
}

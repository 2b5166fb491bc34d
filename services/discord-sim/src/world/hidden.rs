//! Channels that the bot can't see.
//!
//! Since 2026-11-16 they come over the gateway obfuscated, for every bot and whatever its `capabilities`, and REST leaves
//! them out. `id`, `type`, `position` and `parent_id` stay; the name is `___hidden___`; one overwrite denies
//! `@everyone` VIEW_CHANNEL. [Source](https://docs.discord.com/developers/resources/channel#channel-object-obfuscated-channels).
//!
//! Discord says of the other fields only that they are nulled or reduced. Ours: what can be null is null, flags are false,
//! numbers are what a new channel has. Also ours: a bot with an ADMINISTRATOR role sees all; a guild's first text
//! channel, its first voice channel and its categories are never hidden; messages, threads and voice are only where
//! the bot can see them.

use super::{ADMINISTRATOR, Draw, GuildIndex, Snowflake, World, channel::ChannelCounts};

/// Hidden ones among the text and voice channels of a guild where the bot is no administrator, in percent. It is one in
/// about two fifths of guilds, so about 4 % of all are hidden.
const HIDDEN_PERCENT: u64 = 7;

impl World {
    /// Whether the bot can't see channel `number` of a guild, counted over all of them.
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

    /// Whether the bot's roles in a guild, including `@everyone`, grant this permission bit.
    /// [Source](https://docs.discord.com/developers/topics/permissions#permission-hierarchy).
    pub(crate) fn bot_may(&self, guild: GuildIndex, permission: u64) -> bool {
        let mut roles = self.held_roles(guild, 0);
        roles.push(0);
        let granted = roles.into_iter().map(|number| self.role(guild, number).permissions);
        granted.fold(0, |all, bits| all | bits.parse::<u64>().unwrap_or(0)) & (permission | 1 << 3) != 0
    }

    /// The id of text channel `drawn`, or of the next one that the bot sees.
    pub(super) fn open_text_channel(&self, guild: GuildIndex, drawn: u64) -> Snowflake {
        let counts = self.channel_counts(guild);
        self.open_channel(guild, counts, counts.categories, counts.text, drawn)
    }

    /// The id of voice channel `drawn`, or of the next one that the bot sees.
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

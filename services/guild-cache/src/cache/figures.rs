//! Sums over the guilds of a shard.

use crate::guild::GuildFigures;

/// The figures of a shard, kept up to date with each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Guilds, including guilds with an outage and pending guilds.
    pub guilds: u32,
    /// Members of all guilds.
    pub members: u64,
    /// Members that are cached.
    pub cached_members: u64,
    /// Channels without threads.
    pub channels: u32,
    /// Users connected to voice.
    pub voice_connections: u32,
    /// Guilds whose GUILD_CREATE has not come yet.
    pub pending: u32,
    /// Guilds of which only an id is known: pending, or in an outage since the session began.
    pub unknown: u32,
    /// Guilds whose figures are missing or may be wrong.
    pub uncertain: u32,
    /// Guilds with members that could not be read.
    pub lacking_members: u32,
}

impl Figures {
    pub(super) fn add(&mut self, guild: GuildFigures) {
        self.guilds += 1;
        self.members += guild.members;
        self.cached_members += guild.cached_members;
        self.channels += guild.channels;
        self.voice_connections += guild.voice;
        self.pending += u32::from(guild.is_pending);
        self.unknown += u32::from(guild.is_unknown);
        self.uncertain += u32::from(guild.is_uncertain);
        self.lacking_members += u32::from(guild.lacks_members);
    }

    pub(super) fn subtract(&mut self, guild: GuildFigures) {
        self.guilds -= 1;
        self.members -= guild.members;
        self.cached_members -= guild.cached_members;
        self.channels -= guild.channels;
        self.voice_connections -= guild.voice;
        self.pending -= u32::from(guild.is_pending);
        self.unknown -= u32::from(guild.is_unknown);
        self.uncertain -= u32::from(guild.is_uncertain);
        self.lacking_members -= u32::from(guild.lacks_members);
    }
}

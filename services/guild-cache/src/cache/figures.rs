//! What the guilds of a shard add up to.

use crate::guild::GuildFigures;

/// The figures of a shard, kept up to date with each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Guilds, those with an outage and those still to come included.
    pub guilds: u32,
    /// Members of those guilds.
    pub members: u64,
    /// Members that are cached.
    pub cached_members: u64,
    /// Channels without threads.
    pub channels: u32,
    /// Users connected to voice.
    pub voice_connections: u32,
    /// Guilds that READY named and that are still to come.
    pub pending: u32,
    /// Guilds that this session has said nothing of.
    pub unknown: u32,
    /// Guilds whose figures are missing or may be wrong.
    pub uncertain: u32,
    /// Guilds of which members could not be read.
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

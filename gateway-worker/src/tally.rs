//! Counts the guilds, members, channels and voice connections of a shard. Pure.
//!
//! Channels and voice connections are sets of ids, so a repeated event counts once. Discord does not send all members:
//! their number is the one in GUILD_CREATE, adjusted by [`Moves`].

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::reading::Doubt;

/// A larger member count is a mistake; up to here sums cannot overflow.
pub const MOST_MEMBERS: u64 = 1 << 32;

/// The most ids that are remembered as added or removed; about a quarter of a megabyte.
const MOST_MOVES: usize = 1 << 15;

/// What a shard's guilds add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Guilds, those with an outage included.
    pub guilds: u32,
    /// Members of those guilds.
    pub users: u64,
    /// Channels without threads.
    pub channels: u32,
    /// Users connected to voice.
    pub voice_connections: u32,
}

/// The count. Starts over with each READY.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    guilds: HashMap<u64, GuildTally>,
    /// Named by READY and not heard of since.
    pending: HashSet<u64>,
    figures: Figures,
}

#[derive(Clone, Debug, Default)]
struct GuildTally {
    members: Option<u64>,
    member_moves: Moves,
    channels: BTreeSet<u64>,
    /// Channels of a checkpoint that does not name them.
    unnamed_channels: u32,
    /// Which of them were removed.
    channel_moves: Moves,
    /// Voice channels by user; 0 where unknown.
    in_voice: HashMap<u64, u64>,
    unavailable: bool,
    doubt: Doubt,
}

/// What was added to a number of unnamed ids, or removed, so that a repeated event changes the number once.
///
/// Sorted; for each id its double, and 1 more if it was added. Checkpoints do not hold it.
#[derive(Clone, Debug, Default)]
struct Moves(Vec<u64>);

/// What an id's arrival or departure does to the number.
enum Move {
    /// The number changes.
    New,
    /// The id was last seen this way: the event was counted.
    Again,
    /// The number changes, and a repeated event will change it again: too many ids are remembered.
    Forgotten,
}

impl Moves {
    fn note(&mut self, id: u64, added: bool) -> Move {
        // Discord's ids are below 2^63.
        let (key, entry) = (id.wrapping_mul(2), id.wrapping_mul(2) + u64::from(added));
        let (at, is_full) = (self.0.partition_point(|known| *known < key), self.0.len() >= MOST_MOVES);
        match self.0.get_mut(at) {
            Some(known) if *known == entry => return Move::Again,
            Some(known) if *known == key || *known == key + 1 => *known = entry,
            _ if is_full => return Move::Forgotten,
            _ => self.0.insert(at, entry),
        }
        Move::New
    }
}

impl GuildTally {
    fn channels(&self) -> u32 {
        self.unnamed_channels.saturating_add(self.channels.len() as u32)
    }
}

/// What GUILD_CREATE says of a guild.
#[derive(Clone, Debug, Default)]
pub struct NewGuild {
    /// `member_count`, at most [`MOST_MEMBERS`].
    pub members: u64,
    /// Channels without threads.
    pub channels: BTreeSet<u64>,
    /// Channels known by number only.
    pub unnamed_channels: u32,
    /// Voice channels by user; 0 where unknown.
    pub in_voice: HashMap<u64, u64>,
    /// What could not be read of it.
    pub(crate) doubt: Doubt,
}

/// What is known of a guild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownGuild {
    /// `None` when it has been unavailable since READY.
    pub members: Option<u64>,
    /// Discord has an outage for it.
    pub unavailable: bool,
    /// What is in doubt about it.
    pub(crate) doubt: Doubt,
}

impl Tally {
    /// What READY says: these guilds will come.
    pub fn expecting(guild_ids: impl IntoIterator<Item = u64>) -> Self {
        let pending: HashSet<u64> = guild_ids.into_iter().collect();
        let unavailable = |id: &u64| (*id, GuildTally { unavailable: true, ..GuildTally::default() });
        let guilds: HashMap<u64, GuildTally> = pending.iter().map(unavailable).collect();
        let figures = Figures { guilds: guilds.len() as u32, ..Figures::default() };
        Self { guilds, pending, figures }
    }

    /// READY named this guild as well, if nothing has come of it.
    pub fn expect(&mut self, id: u64) {
        if !self.guilds.contains_key(&id) {
            self.guild_unavailable(id);
            self.pending.insert(id);
        }
    }

    /// The totals.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// Guilds that READY named and that are still to come.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// READY named it, and it is still to come.
    pub fn is_pending(&self, id: u64) -> bool {
        self.pending.contains(&id)
    }

    /// The ids of the guilds that are still to come.
    pub fn pending_guilds(&self) -> Vec<u64> {
        self.pending.iter().copied().collect()
    }

    /// The ids of the guilds that this session has said something of.
    pub fn known_guilds(&self) -> Vec<u64> {
        self.guilds.keys().filter(|id| !self.pending.contains(id)).copied().collect()
    }

    /// The ids of all guilds.
    pub fn all_guilds(&self) -> Vec<u64> {
        self.guilds.keys().copied().collect()
    }

    /// The channels of one guild, without threads.
    pub fn channels_of(&self, id: u64) -> u32 {
        self.guilds.get(&id).map_or(0, GuildTally::channels)
    }

    /// The users of one guild that are in voice.
    pub fn in_voice(&self, id: u64) -> Vec<u64> {
        self.guilds.get(&id).map(|guild| guild.in_voice.keys().copied().collect()).unwrap_or_default()
    }

    /// Guilds that this session has said nothing of.
    pub fn unknown_guilds(&self) -> usize {
        self.guilds.values().filter(|guild| guild.members.is_none()).count()
    }

    /// Guilds whose figures are missing or may be wrong.
    pub fn uncertain_guilds(&self) -> usize {
        let is_uncertain = |guild: &&GuildTally| guild.members.is_none() || guild.doubt.has(Doubt::COUNTS);
        self.guilds.values().filter(is_uncertain).count()
    }

    /// Whether members of some guild could not be read.
    pub fn doubts_members(&self) -> bool {
        self.guilds.values().any(|guild| guild.doubt.has(Doubt::MEMBERS))
    }

    /// Puts part of a guild in doubt until its next GUILD_CREATE.
    pub(crate) fn doubt(&mut self, id: u64, doubt: Doubt) {
        if let Some(guild) = self.guilds.get_mut(&id) {
            guild.doubt = guild.doubt.and(doubt);
        }
    }

    /// One guild.
    pub fn guild(&self, id: u64) -> Option<KnownGuild> {
        let guild = self.guilds.get(&id)?;
        Some(KnownGuild { members: guild.members, unavailable: guild.unavailable, doubt: guild.doubt })
    }

    /// A guild came: after READY, after an outage, or because the bot joined it.
    pub fn guild_came(&mut self, id: u64, new: NewGuild) {
        self.pending.remove(&id);
        self.subtract(id);
        let guild = GuildTally {
            members: Some(new.members),
            member_moves: Moves::default(),
            channels: new.channels,
            unnamed_channels: new.unnamed_channels,
            channel_moves: Moves::default(),
            in_voice: new.in_voice,
            unavailable: false,
            doubt: new.doubt,
        };
        self.figures.guilds += 1;
        self.figures.users += new.members;
        self.figures.channels += guild.channels();
        self.figures.voice_connections += guild.in_voice.len() as u32;
        self.guilds.insert(id, guild);
    }

    /// Discord has an outage for a guild: it stays counted, with what is known of it.
    pub fn guild_unavailable(&mut self, id: u64) {
        self.pending.remove(&id);
        if !self.guilds.contains_key(&id) {
            self.figures.guilds += 1;
        }
        self.guilds.entry(id).or_default().unavailable = true;
    }

    /// The bot is not in the guild any more.
    pub fn guild_left(&mut self, id: u64) {
        self.pending.remove(&id);
        self.subtract(id);
    }

    /// Adds or removes a member that is not cached.
    pub fn member(&mut self, guild: u64, user: u64, added: bool) {
        let Some(guild) = self.guilds.get_mut(&guild) else { return };
        let Some(members) = guild.members.as_mut() else { return };
        match guild.member_moves.note(user, added) {
            Move::Again => return,
            Move::New => {}
            Move::Forgotten => guild.doubt = guild.doubt.and(Doubt::COUNTS),
        }
        let after = if added { (*members + 1).min(MOST_MEMBERS) } else { members.saturating_sub(1) };
        self.figures.users = self.figures.users - *members + after;
        *members = after;
    }

    /// Sets the number of a guild's members, all of whom are cached.
    pub fn has_members(&mut self, guild: u64, count: u64) {
        if let Some(members) = self.guilds.get_mut(&guild).and_then(|guild| guild.members.as_mut()) {
            self.figures.users = self.figures.users - *members + count;
            *members = count;
        }
    }

    /// Adds a channel that a guild has.
    pub fn has_channel(&mut self, guild: u64, channel: u64) {
        let Some(guild) = self.guilds.get_mut(&guild) else { return };
        // It may be one of the unnamed channels, which are counted already.
        if guild.unnamed_channels == 0 && guild.channels.insert(channel) {
            self.figures.channels += 1;
        }
    }

    /// Adds a new channel.
    pub fn channel_came(&mut self, guild: u64, channel: u64) {
        if let Some(guild) = self.guilds.get_mut(&guild)
            && guild.channels.insert(channel)
        {
            self.figures.channels += 1;
        }
    }

    /// Removes a channel. Returns the users that were in it.
    pub fn channel_gone(&mut self, guild: u64, channel: u64) -> Vec<u64> {
        let Some(guild) = self.guilds.get_mut(&guild) else { return Vec::new() };
        let named = guild.channels.remove(&channel);
        let unnamed = !named
            && guild.unnamed_channels > 0
            && matches!(guild.channel_moves.note(channel, false), Move::New);
        guild.unnamed_channels -= u32::from(unnamed);
        self.figures.channels -= u32::from(named || unnamed);
        let users: Vec<u64> =
            guild.in_voice.iter().filter(|(_, of)| **of == channel).map(|(user, _)| *user).collect();
        for user in &users {
            guild.in_voice.remove(user);
        }
        self.figures.voice_connections -= users.len() as u32;
        users
    }

    /// Puts a user into a voice channel, or into none.
    pub fn voice(&mut self, guild: u64, user: u64, channel: Option<u64>) {
        let Some(guild) = self.guilds.get_mut(&guild) else { return };
        let (was, is) = match channel {
            Some(channel) => (guild.in_voice.insert(user, channel).is_some(), true),
            None => (guild.in_voice.remove(&user).is_some(), false),
        };
        if is && !was {
            self.figures.voice_connections += 1;
        } else if was && !is {
            self.figures.voice_connections -= 1;
        }
    }

    fn subtract(&mut self, id: u64) {
        if let Some(gone) = self.guilds.remove(&id) {
            self.figures.guilds -= 1;
            self.figures.users -= gone.members.unwrap_or(0);
            self.figures.channels -= gone.channels();
            self.figures.voice_connections -= gone.in_voice.len() as u32;
        }
    }
}

#[cfg(test)]
mod tests;

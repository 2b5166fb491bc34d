//! How many guilds, members, channels and voice connections a shard has: counted as events come, never by walking a cache.
//! Pure.

use std::collections::{HashMap, HashSet};

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

/// The count. Starts anew with each READY.
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
    channels: u32,
    in_voice: HashSet<u64>,
    unavailable: bool,
}

/// What a guild's creation tells.
#[derive(Clone, Debug, Default)]
pub struct NewGuild {
    /// `member_count`.
    pub members: u64,
    /// Channels without threads.
    pub channels: u32,
    /// The users in voice.
    pub in_voice: HashSet<u64>,
}

/// What is known of a guild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownGuild {
    /// `None` when it has been unavailable since READY.
    pub members: Option<u64>,
    /// Discord has an outage for it.
    pub unavailable: bool,
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

    /// The ids of the guilds of which something was told in this session.
    pub fn known_guilds(&self) -> Vec<u64> {
        self.guilds.keys().filter(|id| !self.pending.contains(id)).copied().collect()
    }

    /// The ids of all guilds.
    pub fn all_guilds(&self) -> Vec<u64> {
        self.guilds.keys().copied().collect()
    }

    /// The channels of one guild, without threads.
    pub fn channels_of(&self, id: u64) -> u32 {
        self.guilds.get(&id).map_or(0, |guild| guild.channels)
    }

    /// Who of one guild is in voice.
    pub fn in_voice(&self, id: u64) -> Vec<u64> {
        self.guilds.get(&id).map(|guild| guild.in_voice.iter().copied().collect()).unwrap_or_default()
    }

    /// Guilds of which nothing was ever told in this session.
    pub fn unknown_guilds(&self) -> usize {
        self.guilds.values().filter(|guild| guild.members.is_none()).count()
    }

    /// One guild.
    pub fn guild(&self, id: u64) -> Option<KnownGuild> {
        let guild = self.guilds.get(&id)?;
        Some(KnownGuild { members: guild.members, unavailable: guild.unavailable })
    }

    /// A guild came: after READY, after an outage, or because the bot joined it.
    pub fn guild_came(&mut self, id: u64, new: NewGuild) {
        self.pending.remove(&id);
        self.subtract(id);
        let guild = GuildTally {
            members: Some(new.members),
            channels: new.channels,
            in_voice: new.in_voice,
            unavailable: false,
        };
        self.figures.guilds += 1;
        self.figures.users += new.members;
        self.figures.channels += guild.channels;
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

    /// A member came (`1`) or went (`-1`).
    pub fn member(&mut self, guild: u64, change: i64) {
        if let Some(members) = self.guilds.get_mut(&guild).and_then(|guild| guild.members.as_mut()) {
            let after = members.saturating_add_signed(change);
            self.figures.users = self.figures.users - *members + after;
            *members = after;
        }
    }

    /// A channel came (`1`) or went (`-1`).
    pub fn channel(&mut self, guild: u64, change: i32) {
        if let Some(guild) = self.guilds.get_mut(&guild) {
            let after = guild.channels.saturating_add_signed(change);
            self.figures.channels = self.figures.channels - guild.channels + after;
            guild.channels = after;
        }
    }

    /// A user is in voice, or is not.
    pub fn voice(&mut self, guild: u64, user: u64, connected: bool) {
        let Some(guild) = self.guilds.get_mut(&guild) else { return };
        if connected && guild.in_voice.insert(user) {
            self.figures.voice_connections += 1;
        } else if !connected && guild.in_voice.remove(&user) {
            self.figures.voice_connections -= 1;
        }
    }

    fn subtract(&mut self, id: u64) {
        if let Some(gone) = self.guilds.remove(&id) {
            self.figures.guilds -= 1;
            self.figures.users -= gone.members.unwrap_or(0);
            self.figures.channels -= gone.channels;
            self.figures.voice_connections -= gone.in_voice.len() as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_outage_is_no_removal() {
        let mut tally = Tally::expecting([1, 2]);
        assert_eq!((tally.figures().guilds, tally.pending()), (2, 2));
        tally.guild_came(1, NewGuild { members: 10, channels: 3, in_voice: HashSet::from([7]) });
        tally.guild_unavailable(2);
        assert_eq!(tally.pending(), 0);
        tally.guild_unavailable(1);
        assert_eq!(tally.figures(), Figures { guilds: 2, users: 10, channels: 3, voice_connections: 1 });
        assert_eq!(tally.guild(1), Some(KnownGuild { members: Some(10), unavailable: true }));
        tally.guild_left(1);
        assert_eq!(tally.figures(), Figures { guilds: 1, ..Figures::default() });
    }

    #[derive(Clone, Debug)]
    enum Change {
        Came(u64, u64, u32),
        Unavailable(u64),
        Left(u64),
        Member(u64, bool),
        Channel(u64, bool),
        Voice(u64, u64, bool),
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let guild = 0u64..4;
        let change = prop_oneof![
            (guild.clone(), 0u64..9, 0u32..9).prop_map(|(g, m, c)| Change::Came(g, m, c)),
            guild.clone().prop_map(Change::Unavailable),
            guild.clone().prop_map(Change::Left),
            (guild.clone(), any::<bool>()).prop_map(|(g, up)| Change::Member(g, up)),
            (guild.clone(), any::<bool>()).prop_map(|(g, up)| Change::Channel(g, up)),
            (guild, 0u64..4, any::<bool>()).prop_map(|(g, u, on)| Change::Voice(g, u, on)),
        ];
        prop::collection::vec(change, 0..80)
    }

    proptest! {
        /// The running totals are what counting everything again would give, whatever comes in whatever order.
        #[test]
        fn totals_are_sums(changes in changes()) {
            let mut tally = Tally::expecting([0, 1]);
            for change in changes {
                match change {
                    Change::Came(guild, members, channels) => {
                        tally.guild_came(guild, NewGuild { members, channels, in_voice: HashSet::from([9]) });
                    }
                    Change::Unavailable(guild) => tally.guild_unavailable(guild),
                    Change::Left(guild) => tally.guild_left(guild),
                    Change::Member(guild, up) => tally.member(guild, if up { 1 } else { -1 }),
                    Change::Channel(guild, up) => tally.channel(guild, if up { 1 } else { -1 }),
                    Change::Voice(guild, user, on) => tally.voice(guild, user, on),
                }
                let counted = Figures {
                    guilds: tally.guilds.len() as u32,
                    users: tally.guilds.values().filter_map(|guild| guild.members).sum(),
                    channels: tally.guilds.values().map(|guild| guild.channels).sum(),
                    voice_connections: tally.guilds.values().map(|guild| guild.in_voice.len() as u32).sum(),
                };
                prop_assert_eq!(tally.figures(), counted);
            }
        }
    }
}

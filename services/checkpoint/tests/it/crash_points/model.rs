//! Guilds that remember the sequence of each event that changed them, so that a lost or repeated event shows.

use std::collections::BTreeMap;

/// What Discord sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A guild appears, or appears again.
    Create(u64),
    /// Something about a guild changes.
    Change(u64),
    /// Something about a guild's channels changes.
    Channel(u64),
    /// A member of a block changes, and with it the guild's count.
    Member(u64, u32),
    /// A guild goes.
    Delete(u64),
    /// Nothing that is kept changes.
    Message,
}

impl Event {
    /// The guild that it changes.
    pub(crate) fn guild(self) -> Option<u64> {
        match self {
            Self::Create(guild)
            | Self::Change(guild)
            | Self::Channel(guild)
            | Self::Member(guild, _)
            | Self::Delete(guild) => Some(guild),
            Self::Message => None,
        }
    }

    /// The block of members that it changes.
    pub(crate) fn block(self) -> Option<u32> {
        if let Self::Member(_, block) = self { Some(block) } else { None }
    }
}

/// All events there were, and which of them bot code finished.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The first has sequence 1.
    pub(crate) events: Vec<Event>,
    pub(crate) finished: Vec<u64>,
}

impl Log {
    /// The events above a sequence, as Discord sends them again.
    pub(crate) fn after(&self, read: u64) -> impl Iterator<Item = (u64, Event)> {
        (1u64..).zip(self.events.iter().copied()).skip(read as usize)
    }

    /// How the guilds truly were at a sequence.
    pub(crate) fn guilds_at(&self, sequence: u64) -> Guilds {
        let mut guilds = Guilds::default();
        for (at, event) in self.after(0).take(sequence as usize) {
            guilds.apply(at, event);
        }
        guilds
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guilds(pub(crate) BTreeMap<u64, Guild>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guild {
    /// The last event that was applied.
    pub(crate) stamp: u64,
    /// Those that changed the guild itself.
    pub(crate) core: Vec<u64>,
    /// Those that changed its channels.
    pub(crate) channels: Vec<u64>,
    pub(crate) blocks: BTreeMap<u32, Block>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) stamp: u64,
    pub(crate) changes: Vec<u64>,
}

impl Guilds {
    /// Applies an event to what it is above the stamp of.
    pub(crate) fn apply(&mut self, at: u64, event: Event) {
        match event {
            Event::Create(guild) => {
                if self.0.get(&guild).is_none_or(|guild| guild.stamp < at) {
                    let new = Guild { stamp: at, core: vec![at], channels: vec![at], ..Guild::default() };
                    self.0.insert(guild, new);
                }
            }
            Event::Change(guild) => {
                if let Some(guild) = self.below(guild, at) {
                    guild.stamp = at;
                    guild.core.push(at);
                }
            }
            Event::Channel(guild) => {
                if let Some(guild) = self.below(guild, at) {
                    guild.stamp = at;
                    guild.channels.push(at);
                }
            }
            Event::Member(guild, block) => {
                // The core was written after all blocks up to its stamp, so it speaks for blocks that there are not, too.
                if let Some(guild) = self.below(guild, at) {
                    guild.stamp = at;
                    guild.core.push(at);
                    let block = guild.blocks.entry(block).or_default();
                    if block.stamp < at {
                        block.stamp = at;
                        block.changes.push(at);
                    }
                }
            }
            Event::Delete(guild) => {
                if self.below(guild, at).is_some() {
                    self.0.remove(&guild);
                }
            }
            Event::Message => {}
        }
    }

    /// A guild that does not hold this event yet.
    fn below(&mut self, guild: u64, at: u64) -> Option<&mut Guild> {
        self.0.get_mut(&guild).filter(|guild| guild.stamp < at)
    }
}

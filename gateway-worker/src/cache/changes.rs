//! What has changed since it was last written down, guild by guild, and how far each guild has come. Pure.
//!
//! What a message tells of a member is no change: it would be one with nearly every event, and the next message tells it
//! again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use twilight_model::gateway::event::Event;
use twilight_model::gateway::payload::incoming::GuildCreate;

/// Members that one block is to hold, about.
const MEMBERS_PER_BLOCK: u64 = 256;
/// The most blocks of one guild.
const MOST_BLOCKS: u32 = 4096;

/// What an event changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) guild: u64,
    pub(super) what: What,
}

/// Which parts of a guild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It came, with so many members.
    Came {
        members: u64,
    },
    /// It is gone.
    Gone,
    Parts(Parts),
    /// One member, and the counts when `counted`.
    Member {
        user: u64,
        counted: bool,
    },
    Members(Vec<u64>),
}

/// The parts of a guild that are records of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) core: bool,
    pub(crate) channels: bool,
    pub(crate) roles: bool,
    pub(crate) extras: bool,
}

impl Parts {
    const NONE: Self = Self { core: false, channels: false, roles: false, extras: false };
    const ALL: Self = Self { core: true, channels: true, roles: true, extras: true };
    const CORE: Self = Self { core: true, ..Self::NONE };

    fn add(&mut self, other: Self) {
        self.core |= other.core;
        self.channels |= other.channels;
        self.roles |= other.roles;
        self.extras |= other.extras;
    }
}

/// What is to be written of one guild.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GuildChanges {
    pub(crate) parts: Parts,
    pub(crate) member_blocks: BTreeSet<u32>,
    /// Everything that was written of it goes first.
    pub(crate) gone: bool,
}

impl GuildChanges {
    /// Everything of a guild whose members are spread over so many blocks.
    pub(super) fn everything(blocks: u32) -> Self {
        Self { parts: Parts::ALL, member_blocks: (0..blocks).collect(), gone: false }
    }

    fn merge(&mut self, other: Self) {
        self.parts.add(other.parts);
        self.member_blocks.extend(other.member_blocks);
        self.gone |= other.gone;
    }
}

/// What is to be written of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) guilds: BTreeMap<u64, GuildChanges>,
    pub(crate) own_user: bool,
}

impl Changed {
    fn note(&mut self, guild: u64, what: &What, blocks: u32) {
        let changes = self.guilds.entry(guild).or_default();
        match what {
            What::Came { .. } => {
                changes.parts = Parts::ALL;
                changes.member_blocks = (0..blocks).collect();
            }
            What::Gone => {
                // The stamp stays: what is replayed of its life before must not bring it back.
                *changes = GuildChanges { gone: true, ..GuildChanges::default() };
            }
            What::Parts(parts) => changes.parts.add(*parts),
            What::Member { user, counted } => {
                changes.parts.core |= counted;
                changes.member_blocks.insert(block_of(*user, blocks));
            }
            What::Members(users) => {
                changes.member_blocks.extend(users.iter().map(|user| block_of(*user, blocks)));
            }
        }
    }

    /// What could not be written is to be written with what has changed since.
    fn merge(&mut self, other: Self) {
        self.own_user |= other.own_user;
        for (guild, changes) in other.guilds {
            self.guilds.entry(guild).or_default().merge(changes);
        }
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    changed: Changed,
    /// What has changed since another worker began to copy the shard.
    since_copy: Option<Changed>,
    guilds: HashMap<u64, Known>,
}

/// How a guild stands.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Sequence of the last event that changed it.
    stamp: u64,
    /// Over how many blocks its members are spread: fixed from when it first came. 0 before.
    blocks: u32,
}

impl Changes {
    /// The guild's records hold this event.
    pub(super) fn holds(&self, guild: u64, sequence: u64) -> bool {
        self.guilds.get(&guild).is_some_and(|known| sequence <= known.stamp)
    }

    /// Sequence of the last event that changed a guild; 0 for one that nothing is known of.
    pub(super) fn stamp(&self, guild: u64) -> u64 {
        self.guilds.get(&guild).map_or(0, |known| known.stamp)
    }

    /// Over how many blocks a guild's members are spread.
    pub(super) fn blocks(&self, guild: u64) -> u32 {
        self.guilds.get(&guild).map_or(1, |known| known.blocks.max(1))
    }

    /// A guild as it was written down.
    pub(super) fn restored(&mut self, guild: u64, stamp: u64, blocks: u32) {
        self.guilds.insert(guild, Known { stamp, blocks: blocks.min(MOST_BLOCKS) });
    }

    pub(super) fn note_own_user(&mut self) {
        self.changed.own_user = true;
    }

    /// Has a guild's core written again, without an event.
    pub(super) fn note_core(&mut self, guild: u64) {
        let blocks = self.blocks(guild);
        for changed in std::iter::once(&mut self.changed).chain(&mut self.since_copy) {
            changed.note(guild, &What::Parts(Parts::CORE), blocks);
        }
    }

    /// An event has changed something.
    pub(super) fn note(&mut self, touched: Touched, sequence: u64) {
        let Touched { guild, what } = touched;
        let known = self.guilds.entry(guild).or_insert(Known { stamp: 0, blocks: 0 });
        if let What::Came { members } = what
            && known.blocks == 0
        {
            known.blocks = blocks_for(members);
        }
        known.stamp = sequence;
        let blocks = known.blocks.max(1);
        for changed in std::iter::once(&mut self.changed).chain(&mut self.since_copy) {
            changed.note(guild, &what, blocks);
        }
    }

    /// Another worker begins to copy the shard.
    pub(super) fn begin_copy(&mut self) {
        self.since_copy = Some(Changed::default());
    }

    /// What has changed since then, when the copy ends; `None` when none was begun.
    pub(super) fn end_copy(&mut self) -> Option<Changed> {
        self.since_copy.take()
    }

    /// Everything of these guilds is to be written.
    pub(super) fn note_everything(&mut self, guilds: impl IntoIterator<Item = u64>) {
        self.changed.own_user = true;
        for guild in guilds {
            let blocks = self.blocks(guild);
            let changes = self.changed.guilds.entry(guild).or_default();
            changes.parts = Parts::ALL;
            changes.member_blocks = (0..blocks).collect();
        }
    }

    /// Takes what is to be written.
    pub(super) fn take(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    /// Adds what has changed of a guild since the others were taken: its records are of now, and so is their stamp.
    pub(super) fn take_more(&mut self, guild: u64, changes: &mut GuildChanges) {
        if let Some(more) = self.changed.guilds.remove(&guild) {
            changes.merge(more);
        }
    }

    /// Gives back what could not be written.
    pub(super) fn give_back(&mut self, changed: Changed) {
        self.changed.merge(changed);
    }
}

/// The block of a member.
pub(super) fn block_of(user: u64, blocks: u32) -> u32 {
    // The low bits of an id count within a millisecond; the rest is a time, and spreads well enough.
    ((user >> 22) % u64::from(blocks.max(1))) as u32
}

fn blocks_for(members: u64) -> u32 {
    let wanted = members.div_ceil(MEMBERS_PER_BLOCK).max(1);
    u32::try_from(wanted).unwrap_or(MOST_BLOCKS).next_power_of_two().min(MOST_BLOCKS)
}

/// What an event changes of a guild; `None` when nothing that is written down.
pub(super) fn touched(event: &Event) -> Option<Touched> {
    let channels = Parts { channels: true, ..Parts::NONE };
    let counted_channels = Parts { channels: true, core: true, ..Parts::NONE };
    let roles = Parts { roles: true, ..Parts::NONE };
    let extras = Parts { extras: true, ..Parts::NONE };
    let of = |guild: u64, parts| Some(Touched { guild, what: What::Parts(parts) });
    match event {
        Event::GuildCreate(created) => Some(match &**created {
            GuildCreate::Available(guild) => Touched {
                guild: guild.id.get(),
                what: What::Came { members: guild.member_count.unwrap_or(0) },
            },
            GuildCreate::Unavailable(guild) => {
                Touched { guild: guild.id.get(), what: What::Parts(Parts::CORE) }
            }
        }),
        Event::GuildDelete(deleted) => Some(Touched {
            guild: deleted.id.get(),
            what: if deleted.unavailable == Some(true) { What::Parts(Parts::CORE) } else { What::Gone },
        }),
        Event::GuildUpdate(updated) => of(updated.id.get(), Parts::CORE),
        Event::ChannelCreate(channel) => of(channel.guild_id?.get(), counted_channels),
        Event::ChannelDelete(channel) => of(channel.guild_id?.get(), counted_channels),
        Event::ChannelUpdate(channel) => of(channel.guild_id?.get(), channels),
        Event::ChannelPinsUpdate(pins) => of(pins.guild_id?.get(), channels),
        Event::ThreadCreate(thread) => of(thread.guild_id?.get(), channels),
        Event::ThreadUpdate(thread) => of(thread.guild_id?.get(), channels),
        Event::ThreadDelete(thread) => of(thread.guild_id.get(), channels),
        Event::ThreadListSync(sync) => of(sync.guild_id.get(), channels),
        Event::RoleCreate(role) => of(role.guild_id.get(), roles),
        Event::RoleUpdate(role) => of(role.guild_id.get(), roles),
        Event::RoleDelete(role) => of(role.guild_id.get(), roles),
        Event::MemberAdd(added) => Some(Touched {
            guild: added.guild_id.get(),
            what: What::Member { user: added.user.id.get(), counted: true },
        }),
        Event::MemberRemove(removed) => Some(Touched {
            guild: removed.guild_id.get(),
            what: What::Member { user: removed.user.id.get(), counted: true },
        }),
        Event::MemberUpdate(updated) => Some(Touched {
            guild: updated.guild_id.get(),
            what: What::Member { user: updated.user.id.get(), counted: false },
        }),
        Event::MemberChunk(chunk) => Some(Touched {
            guild: chunk.guild_id.get(),
            what: What::Members(chunk.members.iter().map(|member| member.user.id.get()).collect()),
        }),
        Event::VoiceStateUpdate(update) => of(update.guild_id?.get(), Parts::CORE),
        Event::GuildEmojisUpdate(update) => of(update.guild_id.get(), extras),
        Event::GuildStickersUpdate(update) => of(update.guild_id.get(), extras),
        Event::StageInstanceCreate(stage) => of(stage.guild_id.get(), extras),
        Event::StageInstanceUpdate(stage) => of(stage.guild_id.get(), extras),
        Event::StageInstanceDelete(stage) => of(stage.guild_id.get(), extras),
        Event::GuildScheduledEventCreate(planned) => of(planned.guild_id.get(), extras),
        Event::GuildScheduledEventUpdate(planned) => of(planned.guild_id.get(), extras),
        Event::GuildScheduledEventDelete(planned) => of(planned.guild_id.get(), extras),
        Event::GuildScheduledEventUserAdd(planned) => of(planned.guild_id.get(), extras),
        Event::GuildScheduledEventUserRemove(planned) => of(planned.guild_id.get(), extras),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(guild: u64, members: u64) -> Touched {
        Touched { guild, what: What::Came { members } }
    }

    fn member(guild: u64, user: u64) -> Touched {
        Touched { guild, what: What::Member { user, counted: true } }
    }

    #[test]
    fn new_guild_is_written_whole_and_later_only_its_changes() {
        let mut changes = Changes::default();
        changes.note(came(1, 1_000), 5);
        let all = changes.take().guilds.remove(&1).unwrap();
        assert_eq!((all.parts, all.member_blocks.len()), (Parts::ALL, 4));
        assert_eq!(changes.take(), Changed::default());
        changes.note(member(1, 7 << 22), 6);
        let one = changes.take().guilds.remove(&1).unwrap();
        assert_eq!((one.parts, one.member_blocks), (Parts::CORE, BTreeSet::from([3])));
    }

    #[test]
    fn an_event_that_the_records_hold_is_known() {
        let mut changes = Changes::default();
        changes.restored(1, 10, 2);
        assert!(changes.holds(1, 10) && !changes.holds(1, 11) && !changes.holds(2, 1));
        assert_eq!(changes.blocks(1), 2);
    }

    #[test]
    fn removed_guild_stays_removed() {
        let mut changes = Changes::default();
        changes.note(came(1, 10), 5);
        changes.note(Touched { guild: 1, what: What::Gone }, 8);
        let gone = changes.take().guilds.remove(&1).unwrap();
        assert_eq!(gone, GuildChanges { gone: true, ..GuildChanges::default() });
        assert!(changes.holds(1, 7), "what is replayed of its life before must not bring it back");
        // It comes back: what was written of it goes, and it is written anew.
        changes.note(Touched { guild: 1, what: What::Gone }, 9);
        changes.note(came(1, 10), 10);
        let back = changes.take().guilds.remove(&1).unwrap();
        assert!(back.gone && back.parts == Parts::ALL);
    }

    #[test]
    fn changes_during_a_copy_are_reported_even_when_written() {
        let mut changes = Changes::default();
        changes.note(came(1, 10), 5);
        assert_eq!(changes.end_copy(), None);
        changes.begin_copy();
        changes.note(member(2, 1), 6);
        assert_eq!(changes.take().guilds.len(), 2);
        changes.note(Touched { guild: 3, what: What::Gone }, 7);
        let since = changes.end_copy().unwrap();
        assert_eq!(since.guilds.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert!(since.guilds[&3].gone);
    }

    #[test]
    fn failed_writes_are_repeated() {
        let mut changes = Changes::default();
        changes.note(came(1, 10), 5);
        let first = changes.take();
        changes.note(member(2, 1), 6);
        changes.give_back(first);
        assert_eq!(changes.take().guilds.keys().copied().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn blocks_grow_with_the_guild_and_are_bounded() {
        assert_eq!([0, 256, 257, 100_000].map(blocks_for), [1, 1, 2, 512]);
        assert_eq!(blocks_for(u64::MAX), MOST_BLOCKS);
    }
}

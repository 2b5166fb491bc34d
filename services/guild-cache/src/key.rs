//! The names of records, and which of them have changed.

use std::collections::BTreeSet;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The guild's own fields.
    Core = 1,
    /// Emojis, stickers, stage instances, scheduled events and soundboard sounds.
    Extras = 2,
    /// Channels.
    Channels = 3,
    /// Threads.
    Threads = 4,
    /// Roles.
    Roles = 5,
    /// Members, each with its user.
    Members = 6,
    /// Voice states of connected users.
    Voice = 7,
    /// Presences, of which there are no records.
    Presences = 8,
}

impl Kind {
    /// The kinds that are lists of objects, in the order of [`Kind::place`].
    pub(crate) const LISTS: [Self; 6] =
        [Self::Channels, Self::Threads, Self::Roles, Self::Members, Self::Voice, Self::Presences];

    /// The kind with this number; `None` for numbers of newer versions.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Core,
            2 => Self::Extras,
            3 => Self::Channels,
            4 => Self::Threads,
            5 => Self::Roles,
            6 => Self::Members,
            7 => Self::Voice,
            _ => return None,
        })
    }

    /// The index in a guild's lists.
    pub(crate) const fn place(self) -> usize {
        (self as usize).saturating_sub(Self::Channels as usize)
    }

    /// The list's name in GUILD_CREATE.
    pub(crate) const fn list_name(self) -> &'static str {
        match self {
            Self::Core | Self::Extras => "",
            Self::Channels => "channels",
            Self::Threads => "threads",
            Self::Roles => "roles",
            Self::Members => "members",
            Self::Voice => "voice_states",
            Self::Presences => "presences",
        }
    }

    /// Objects in a full block. Blocks are large where objects are read together, and small where single objects are read.
    pub(crate) const fn per_block(self) -> usize {
        match self {
            Self::Core | Self::Extras => 1,
            Self::Channels | Self::Threads => 12,
            Self::Roles => 32,
            Self::Members | Self::Voice | Self::Presences => 16,
        }
    }
}

/// The name of a record, unique within a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The guild.
    pub guild: u64,
    /// What the record holds.
    pub kind: Kind,
    /// The first id that the record may hold; 0 for a guild's first record of this kind.
    pub low: u64,
}

/// Names of the records that have changed or gone since they were last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The names. A record that [`ShardCache::records`](crate::ShardCache::records) no longer returns must be removed.
    pub records: BTreeSet<RecordKey>,
    /// Whether the bot's own user has changed.
    pub own_user: bool,
}

impl Changed {
    /// The guilds of the records.
    pub fn guilds(&self) -> Vec<u64> {
        let mut guilds: Vec<u64> = self.records.iter().map(|key| key.guild).collect();
        guilds.dedup();
        guilds
    }

    /// The names of the records of one guild.
    pub fn of_guild(&self, guild: u64) -> BTreeSet<RecordKey> {
        let first = RecordKey { guild, kind: Kind::Core, low: 0 };
        let last = RecordKey { guild, kind: Kind::Presences, low: u64::MAX };
        self.records.range(first..=last).copied().collect()
    }

    /// Removes the records of one guild and returns their names.
    pub fn take_guild(&mut self, guild: u64) -> BTreeSet<RecordKey> {
        let taken = self.of_guild(guild);
        for key in &taken {
            self.records.remove(key);
        }
        taken
    }

    /// Adds the names in `other`.
    pub fn merge(&mut self, mut other: Self) {
        self.records.append(&mut other.records);
        self.own_user |= other.own_user;
    }
}

/// Notes changed records: once for checkpoints, and separately for a copy.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) is_off: bool,
    pub(crate) changed: Changed,
    pub(crate) since_copy: Option<Changed>,
}

impl Changes {
    pub(crate) fn note(&mut self, key: RecordKey) {
        if self.is_off || key.kind == Kind::Presences {
            return;
        }
        self.changed.records.insert(key);
        if let Some(copy) = &mut self.since_copy {
            copy.records.insert(key);
        }
    }

    pub(crate) fn note_own_user(&mut self) {
        self.changed.own_user |= !self.is_off;
        if let Some(copy) = &mut self.since_copy {
            copy.own_user = true;
        }
    }
}

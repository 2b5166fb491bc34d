//! The resources that a cache keeps, and its bounds.

use std::str::FromStr;

use crate::key::Kind;

/// The resources that the `CACHE` setting names.
const RESOURCES: [(&str, Resources); 14] = [
    ("guilds", Resources::GUILDS),
    ("channels", Resources::CHANNELS),
    ("roles", Resources::ROLES),
    ("members", Resources::MEMBERS),
    ("users", Resources::USERS),
    ("own_user", Resources::OWN_USER),
    ("voice_states", Resources::VOICE_STATES),
    ("presences", Resources::PRESENCES),
    ("messages", Resources::MESSAGES),
    ("reactions", Resources::REACTIONS),
    ("emojis", Resources::EMOJIS),
    ("stickers", Resources::STICKERS),
    ("stage_instances", Resources::STAGE_INSTANCES),
    ("scheduled_events", Resources::SCHEDULED_EVENTS),
];

/// A set of resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources(u16);

impl Resources {
    /// Guild objects without their lists. Guilds are counted in any case.
    pub const GUILDS: Self = Self(1);
    /// Channels and threads. Channels are counted in any case.
    pub const CHANNELS: Self = Self(1 << 1);
    /// Roles.
    pub const ROLES: Self = Self(1 << 2);
    /// Members, each with its user.
    pub const MEMBERS: Self = Self(1 << 3);
    /// Lookups of users and their guilds; needs members.
    pub const USERS: Self = Self(1 << 4);
    /// The bot's own user.
    pub const OWN_USER: Self = Self(1 << 5);
    /// Voice states. Voice connections are counted in any case.
    pub const VOICE_STATES: Self = Self(1 << 6);
    /// Presences.
    pub const PRESENCES: Self = Self(1 << 7);
    /// Messages: the newest of each channel.
    pub const MESSAGES: Self = Self(1 << 8);
    /// Reactions to kept messages.
    pub const REACTIONS: Self = Self(1 << 9);
    /// Emojis.
    pub const EMOJIS: Self = Self(1 << 10);
    /// Stickers.
    pub const STICKERS: Self = Self(1 << 11);
    /// Stage instances.
    pub const STAGE_INSTANCES: Self = Self(1 << 12);
    /// Scheduled events.
    pub const SCHEDULED_EVENTS: Self = Self(1 << 13);

    /// No resource.
    pub const NONE: Self = Self(0);
    /// All resources.
    pub const ALL: Self = Self((1 << 14) - 1);

    /// Whether all of `other` are in the set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set without `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The names of the resources.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        RESOURCES.iter().filter(move |(_, resource)| self.has(*resource)).map(|(name, _)| *name)
    }
}

/// A word that names no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no resource of the cache; write `all`, `none`, or any of guilds, channels, roles, members, users, own_user, \
         voice_states, presences, messages, reactions, emojis, stickers, stage_instances, scheduled_events"
)]
pub struct UnknownResource(String);

impl FromStr for Resources {
    type Err = UnknownResource;

    fn from_str(text: &str) -> Result<Self, UnknownResource> {
        let mut set = Self::NONE;
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let named = RESOURCES.iter().find(|(name, _)| *name == word);
            set = set.and(match (word, named) {
                ("all", _) => Self::ALL,
                ("none", _) => Self::NONE,
                (_, Some((_, resource))) => *resource,
                (_, None) => return Err(UnknownResource(word.chars().take(64).collect())),
            });
        }
        Ok(set)
    }
}

/// What one shard's cache keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Which resources are kept.
    pub resources: Resources,
    /// The most messages kept for each channel.
    pub messages_per_channel: usize,
    /// Messages older than this are removed by [`ShardCache::seal`](crate::ShardCache::seal); `None` keeps them.
    pub message_lifetime_ms: Option<u64>,
    /// Time between two sweeps of old messages.
    pub sweep_interval_ms: u64,
    /// Whether changed records are noted, for a caller that writes checkpoints.
    pub notes_changes: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            resources: Resources::ALL.without(Resources::MESSAGES).without(Resources::PRESENCES),
            messages_per_channel: 50,
            message_lifetime_ms: Some(60 * 60 * 1000),
            sweep_interval_ms: 60 * 1000,
            notes_changes: true,
        }
    }
}

impl Rules {
    /// Whether objects of a kind are kept with their text.
    pub(crate) fn keeps(&self, kind: Kind) -> bool {
        self.resources.has(match kind {
            Kind::Core => Resources::GUILDS,
            Kind::Extras => return true,
            Kind::Channels | Kind::Threads => Resources::CHANNELS,
            Kind::Roles => Resources::ROLES,
            Kind::Members => Resources::MEMBERS,
            Kind::Voice => Resources::VOICE_STATES,
            Kind::Presences => Resources::PRESENCES,
        })
    }
}

/// The largest valid member count. Sums of such counts cannot overflow.
pub const MOST_MEMBERS: u64 = 1 << 32;

/// The most guilds that a shard waits for; Discord allows 2,500 a shard. Events of further guilds put the whole shard in doubt.
pub(crate) const MOST_PENDING: usize = 10_000;
/// Late events of a guild that the bot has left are ignored for this many events of the shard. A generation of [`Moves`](crate::moves::Moves)
/// also lasts this long.
pub(crate) const LATE_EVENTS: u64 = 10_000;
/// The most bytes of one object. Discord's largest are channels with a thousand overwrites, about 80 KB.
pub(crate) const LARGEST_OBJECT: usize = 512 * 1024;
/// The most bytes of one list of the extras in an event. A guild's own fields, and its extras, may have twice as many in an event, and four
/// times as many after updates and in records.
pub(crate) const LARGEST_GUILD: usize = 1024 * 1024;
/// The most channels whose messages are kept.
pub(crate) const MOST_MESSAGE_CHANNELS: usize = 100_000;

/// The most objects of a kind in one guild.
pub(crate) const fn most(kind: Kind) -> usize {
    match kind {
        Kind::Core | Kind::Extras => 1,
        Kind::Channels | Kind::Threads | Kind::Roles => 10_000,
        Kind::Voice => 200_000,
        Kind::Members | Kind::Presences => 4_000_000,
    }
}

/// The most bytes of all texts of one list in records.
pub(crate) const fn largest_list(kind: Kind) -> usize {
    match kind {
        Kind::Core | Kind::Extras => LARGEST_GUILD * 4,
        Kind::Roles => 64 << 20,
        Kind::Channels | Kind::Threads | Kind::Voice => 256 << 20,
        Kind::Members | Kind::Presences => 1 << 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named() {
        let some: Resources = "guilds, channels".parse().unwrap();
        assert_eq!(some, Resources::GUILDS.and(Resources::CHANNELS));
        assert_eq!(some.names().collect::<Vec<_>>(), ["guilds", "channels"]);
        assert_eq!("all".parse(), Ok(Resources::ALL));
        assert_eq!(Resources::ALL.names().count(), RESOURCES.len());
        assert!("guild".parse::<Resources>().unwrap_err().to_string().contains("guilds"));
    }
}

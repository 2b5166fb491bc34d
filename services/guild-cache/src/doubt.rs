//! Parts of events that could not be read, and the parts of the cache that are in doubt because of them.

/// A kind of part of an event. Its name is a label value of the metric for unreadable parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The whole event.
    Event,
    /// A guild.
    Guild,
    /// A channel.
    Channel,
    /// A thread.
    Thread,
    /// A role.
    Role,
    /// A member.
    Member,
    /// A user.
    User,
    /// A voice state.
    VoiceState,
    /// A presence.
    Presence,
    /// A message.
    Message,
    /// Any other field or element.
    Field,
}

impl Part {
    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Guild => "guild",
            Self::Channel => "channel",
            Self::Thread => "thread",
            Self::Role => "role",
            Self::Member => "member",
            Self::User => "user",
            Self::VoiceState => "voice_state",
            Self::Presence => "presence",
            Self::Message => "message",
            Self::Field => "field",
        }
    }

    /// The parts of a guild that are in doubt when a part of this kind was left out.
    const fn doubt(self) -> Doubt {
        match self {
            Self::Channel => Doubt::CHANNELS.and(Doubt::COUNTS),
            Self::Thread => Doubt::CHANNELS,
            Self::Role => Doubt::ROLES,
            Self::Member => Doubt::MEMBERS,
            Self::VoiceState => Doubt::COUNTS,
            Self::Guild | Self::Event => Doubt::GUILD,
            Self::User | Self::Presence | Self::Message | Self::Field => Doubt::NONE,
        }
    }
}

/// The parts of an event that were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(Vec<(Part, usize)>);

impl Losses {
    pub(crate) fn add(&mut self, part: Part, count: usize) {
        match self.0.iter_mut().find(|(known, _)| *known == part) {
            Some((_, known)) => *known += count,
            None if count > 0 => self.0.push((part, count)),
            None => {}
        }
    }

    /// The parts by kind.
    pub fn parts(&self) -> impl Iterator<Item = (Part, usize)> + '_ {
        self.0.iter().copied()
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts of the event's guild that are in doubt.
    pub(crate) fn doubt(&self) -> Doubt {
        self.0.iter().fold(Doubt::NONE, |doubt, (part, _)| doubt.and(part.doubt()))
    }
}

/// The parts of a guild that are in doubt: objects that are missing from the cache may exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubt(u32);

impl Doubt {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The figures may be wrong.
    pub const COUNTS: Self = Self(1);
    /// Channels or threads may be missing.
    pub const CHANNELS: Self = Self(2);
    /// Members may be missing.
    pub const MEMBERS: Self = Self(4);
    /// Roles may be missing.
    pub const ROLES: Self = Self(8);
    /// One of the guild's events could not be read.
    pub const GUILD: Self = Self(1 | 2 | 4 | 8);

    /// Both together.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `other` is in doubt.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The form in checkpoints.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Reads a checkpoint's form. Unknown bits mean doubt about everything.
    pub const fn of_bits(bits: u32) -> Self {
        if bits <= Self::GUILD.0 { Self(bits) } else { Self::GUILD }
    }
}

/// Why an object that is missing from a shard's cache may exist. Lasts until the next session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardDoubt {
    /// READY named guilds that could not be read.
    Guilds = 1,
    /// An event that names no guild of the shard could not be read.
    Event = 2,
    /// Events of the session are missing.
    Events = 3,
}

impl ShardDoubt {
    /// The reason in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guilds => "READY named guilds that could not be read",
            Self::Event => "an event could not be read",
            Self::Events => "events of this session are missing",
        }
    }

    /// Reads a checkpoint's form. Unknown numbers mean missing events.
    pub const fn of_code(code: u32) -> Option<Self> {
        match code {
            0 => None,
            1 => Some(Self::Guilds),
            2 => Some(Self::Event),
            _ => Some(Self::Events),
        }
    }
}

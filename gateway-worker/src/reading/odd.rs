//! Counts unreadable parts by kind, and says what they leave in doubt.

/// A kind of part; a label value of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    Event,
    Session,
    Guild,
    Channel,
    Thread,
    Role,
    Member,
    User,
    VoiceState,
    Emoji,
    Sticker,
    Presence,
    StageInstance,
    ScheduledEvent,
    /// Any other field or element.
    Field,
}

impl Part {
    pub(crate) const ALL: [Self; 15] = [
        Self::Event,
        Self::Session,
        Self::Guild,
        Self::Channel,
        Self::Thread,
        Self::Role,
        Self::Member,
        Self::User,
        Self::VoiceState,
        Self::Emoji,
        Self::Sticker,
        Self::Presence,
        Self::StageInstance,
        Self::ScheduledEvent,
        Self::Field,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Session => "session",
            Self::Guild => "guild",
            Self::Channel => "channel",
            Self::Thread => "thread",
            Self::Role => "role",
            Self::Member => "member",
            Self::User => "user",
            Self::VoiceState => "voice_state",
            Self::Emoji => "emoji",
            Self::Sticker => "sticker",
            Self::Presence => "presence",
            Self::StageInstance => "stage_instance",
            Self::ScheduledEvent => "scheduled_event",
            Self::Field => "field",
        }
    }

    /// The kind of the elements of a list, or of an object, by its name.
    pub(super) fn of_list(name: &str) -> Option<Self> {
        Some(match name {
            "channels" => Self::Channel,
            "threads" => Self::Thread,
            "roles" | "role" => Self::Role,
            "members" => Self::Member,
            "user" => Self::User,
            "voice_states" => Self::VoiceState,
            "emojis" => Self::Emoji,
            "stickers" => Self::Sticker,
            "presences" => Self::Presence,
            "stage_instances" => Self::StageInstance,
            "guild_scheduled_events" => Self::ScheduledEvent,
            _ => return None,
        })
    }

    /// The kind of an event's subject.
    pub(super) fn of_event(name: &str) -> Self {
        match name {
            "GUILD_CREATE" | "GUILD_UPDATE" | "GUILD_DELETE" => Self::Guild,
            "VOICE_STATE_UPDATE" => Self::VoiceState,
            "USER_UPDATE" => Self::User,
            name if name.starts_with("CHANNEL_") => Self::Channel,
            name if name.starts_with("THREAD_") => Self::Thread,
            name if name.starts_with("GUILD_ROLE_") => Self::Role,
            name if name.starts_with("GUILD_MEMBER") => Self::Member,
            _ => Self::Event,
        }
    }

    /// What is in doubt about a guild that lost such a part.
    fn doubt(self) -> Doubt {
        match self {
            Self::Channel => Doubt::CHANNELS.and(Doubt::COUNTS),
            Self::Thread => Doubt::CHANNELS,
            Self::Role => Doubt::ROLES,
            Self::Member => Doubt::MEMBERS,
            Self::VoiceState => Doubt::COUNTS,
            Self::Guild => Doubt::GUILD,
            _ => Doubt::NONE,
        }
    }
}

/// The unreadable parts of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Odd {
    /// Left out.
    lost: Vec<(Part, usize)>,
    /// Kept, with a default or the earlier value where it was unreadable.
    mended: Vec<(Part, usize)>,
}

impl Odd {
    pub(super) fn lost(&mut self, part: Part, count: usize) {
        add(&mut self.lost, part, count);
    }

    pub(super) fn mended(&mut self, part: Part, count: usize) {
        add(&mut self.mended, part, count);
    }

    /// All losses by kind, left out or mended.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Part, usize)> + '_ {
        self.lost.iter().chain(&self.mended).copied()
    }

    /// What the parts that were left out leave in doubt about the event's guild.
    pub(crate) fn doubt(&self) -> Doubt {
        self.lost.iter().fold(Doubt::NONE, |doubt, (part, _)| doubt.and(part.doubt()))
    }
}

fn add(counts: &mut Vec<(Part, usize)>, part: Part, count: usize) {
    match counts.iter_mut().find(|(known, _)| *known == part) {
        Some((_, known)) => *known += count,
        None if count > 0 => counts.push((part, count)),
        None => {}
    }
}

/// What is in doubt about a guild: what is missing from the cache may still exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubt(u32);

impl Doubt {
    pub(crate) const NONE: Self = Self(0);
    /// The figures may be wrong.
    pub(crate) const COUNTS: Self = Self(1);
    pub(crate) const CHANNELS: Self = Self(2);
    pub(crate) const MEMBERS: Self = Self(4);
    pub(crate) const ROLES: Self = Self(8);
    /// One of the guild's events could not be read.
    pub(crate) const GUILD: Self = Self(1 | 2 | 4 | 8);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The form in checkpoints.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Reads a checkpoint's form. Unknown bits mean doubt about everything.
    pub(crate) const fn of_bits(bits: u32) -> Self {
        if bits <= Self::GUILD.0 { Self(bits) } else { Self::GUILD }
    }
}

/// Why something missing from a shard's cache may exist, until the next session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardDoubt {
    /// READY named guilds that could not be read.
    Guilds = 1,
    /// An event that names no guild of the shard could not be read.
    Event = 2,
    /// Events of the session are missing.
    Events = 3,
}

impl ShardDoubt {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Guilds => "READY named guilds that could not be read",
            Self::Event => "an event could not be read",
            Self::Events => "events of this session are missing",
        }
    }

    /// Reads a checkpoint's form. Unknown numbers mean missing events.
    pub(crate) const fn of_code(code: u32) -> Option<Self> {
        match code {
            0 => None,
            1 => Some(Self::Guilds),
            2 => Some(Self::Event),
            _ => Some(Self::Events),
        }
    }
}

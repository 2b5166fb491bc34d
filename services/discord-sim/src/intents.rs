//! Gateway intents. [Source](https://docs.discord.com/developers/events/gateway#list-of-intents).

/// A set of intents by their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intents(pub u64);

impl Intents {
    /// GUILD_CREATE, GUILD_DELETE and other events about guilds.
    pub const GUILDS: Self = Self(1);
    /// Member events; privileged.
    pub const GUILD_MEMBERS: Self = Self(1 << 1);
    /// Who is in voice.
    pub const GUILD_VOICE_STATES: Self = Self(1 << 7);
    /// Presences; privileged.
    pub const GUILD_PRESENCES: Self = Self(1 << 8);
    /// MESSAGE_CREATE in guilds.
    pub const GUILD_MESSAGES: Self = Self(1 << 9);
    /// The text of messages; privileged. Gates fields, not events.
    pub const MESSAGE_CONTENT: Self = Self(1 << 15);
    /// The three privileged ones.
    pub const PRIVILEGED: Self =
        Self(Self::GUILD_MEMBERS.0 | Self::GUILD_PRESENCES.0 | Self::MESSAGE_CONTENT.0);
    /// All 21 that exist; another bit is close code 4013.
    pub const ALL: Self = Self(53_608_447);

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is in this set but not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Intents;

    #[test]
    fn all_is_21_bits() {
        assert_eq!(Intents::ALL.0.count_ones(), 21);
        assert!(Intents::ALL.contains(Intents::PRIVILEGED));
        assert_eq!(Intents::ALL.without(Intents::ALL), Intents(0));
    }
}

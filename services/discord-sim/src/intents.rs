//! Gateway intents. [Source](https://docs.discord.com/developers/events/gateway#list-of-intents).

/// A set of intents by their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intents(pub u64);

impl Intents {
    /// GUILD_CREATE, GUILD_DELETE and other guild events.
    pub const GUILDS: Self = Self(1);
    /// Member events; privileged.
    pub const GUILD_MEMBERS: Self = Self(1 << 1);
    /// Voice states.
    pub const GUILD_VOICE_STATES: Self = Self(1 << 7);
    /// Presences; privileged.
    pub const GUILD_PRESENCES: Self = Self(1 << 8);
    /// MESSAGE_CREATE in guilds.
    pub const GUILD_MESSAGES: Self = Self(1 << 9);
    /// Message content; privileged. Gates fields, not events.
    pub const MESSAGE_CONTENT: Self = Self(1 << 15);
    /// The three privileged intents.
    pub const PRIVILEGED: Self =
        Self(Self::GUILD_MEMBERS.0 | Self::GUILD_PRESENCES.0 | Self::MESSAGE_CONTENT.0);
    /// All 21 intents; another bit is close code 4013.
    pub const ALL: Self = Self(53_608_447);

    /// Returns whether this set contains all of `other`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns this set without `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The intents that a session needs to get an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// None: every session gets it.
    Open,
    /// At least one of these intents.
    AnyOf(Intents),
}

impl Gate {
    /// Returns whether a session with these intents gets the event.
    pub(crate) const fn allows(self, intents: Intents) -> bool {
        match self {
            Self::Open => true,
            Self::AnyOf(needed) => intents.0 & needed.0 != 0,
        }
    }

    /// Returns the gate of an event by its name, which may differ between guilds and direct messages. Events without an intent go to
    /// every session.
    pub(crate) fn of(name: &str, in_guild: bool) -> Self {
        let bits: &[u8] = match (name, in_guild) {
            (
                "GUILD_CREATE"
                | "GUILD_UPDATE"
                | "GUILD_DELETE"
                | "GUILD_ROLE_CREATE"
                | "GUILD_ROLE_UPDATE"
                | "GUILD_ROLE_DELETE"
                | "CHANNEL_CREATE"
                | "CHANNEL_UPDATE"
                | "CHANNEL_DELETE"
                | "THREAD_CREATE"
                | "THREAD_UPDATE"
                | "THREAD_DELETE"
                | "THREAD_LIST_SYNC"
                | "THREAD_MEMBER_UPDATE"
                | "STAGE_INSTANCE_CREATE"
                | "STAGE_INSTANCE_UPDATE"
                | "STAGE_INSTANCE_DELETE"
                | "VOICE_CHANNEL_STATUS_UPDATE"
                | "VOICE_CHANNEL_START_TIME_UPDATE",
                _,
            )
            | ("CHANNEL_PINS_UPDATE", true) => &[0],
            // Without GUILD_MEMBERS Discord sends it only if it is about the bot itself.
            ("THREAD_MEMBERS_UPDATE", _) => &[0, 1],
            ("GUILD_MEMBER_ADD" | "GUILD_MEMBER_UPDATE" | "GUILD_MEMBER_REMOVE", _) => &[1],
            ("GUILD_AUDIT_LOG_ENTRY_CREATE" | "GUILD_BAN_ADD" | "GUILD_BAN_REMOVE", _) => &[2],
            (
                "GUILD_EMOJIS_UPDATE"
                | "GUILD_STICKERS_UPDATE"
                | "GUILD_SOUNDBOARD_SOUND_CREATE"
                | "GUILD_SOUNDBOARD_SOUND_UPDATE"
                | "GUILD_SOUNDBOARD_SOUND_DELETE"
                | "GUILD_SOUNDBOARD_SOUNDS_UPDATE",
                _,
            ) => &[3],
            (
                "GUILD_INTEGRATIONS_UPDATE"
                | "INTEGRATION_CREATE"
                | "INTEGRATION_UPDATE"
                | "INTEGRATION_DELETE",
                _,
            ) => &[4],
            ("WEBHOOKS_UPDATE", _) => &[5],
            ("INVITE_CREATE" | "INVITE_DELETE", _) => &[6],
            ("VOICE_STATE_UPDATE" | "VOICE_CHANNEL_EFFECT_SEND", _) => &[7],
            ("PRESENCE_UPDATE", _) => &[8],
            ("MESSAGE_CREATE" | "MESSAGE_UPDATE" | "MESSAGE_DELETE" | "MESSAGE_DELETE_BULK", true) => &[9],
            (
                "MESSAGE_REACTION_ADD"
                | "MESSAGE_REACTION_REMOVE"
                | "MESSAGE_REACTION_REMOVE_ALL"
                | "MESSAGE_REACTION_REMOVE_EMOJI",
                true,
            ) => &[10],
            ("TYPING_START", true) => &[11],
            ("MESSAGE_CREATE" | "MESSAGE_UPDATE" | "MESSAGE_DELETE" | "CHANNEL_PINS_UPDATE", false) => &[12],
            (
                "MESSAGE_REACTION_ADD"
                | "MESSAGE_REACTION_REMOVE"
                | "MESSAGE_REACTION_REMOVE_ALL"
                | "MESSAGE_REACTION_REMOVE_EMOJI",
                false,
            ) => &[13],
            ("TYPING_START", false) => &[14],
            (
                "GUILD_SCHEDULED_EVENT_CREATE"
                | "GUILD_SCHEDULED_EVENT_UPDATE"
                | "GUILD_SCHEDULED_EVENT_DELETE"
                | "GUILD_SCHEDULED_EVENT_USER_ADD"
                | "GUILD_SCHEDULED_EVENT_USER_REMOVE",
                _,
            ) => &[16],
            (
                "AUTO_MODERATION_RULE_CREATE" | "AUTO_MODERATION_RULE_UPDATE" | "AUTO_MODERATION_RULE_DELETE",
                _,
            ) => &[20],
            ("AUTO_MODERATION_ACTION_EXECUTION", _) => &[21],
            ("MESSAGE_POLL_VOTE_ADD" | "MESSAGE_POLL_VOTE_REMOVE", true) => &[24],
            ("MESSAGE_POLL_VOTE_ADD" | "MESSAGE_POLL_VOTE_REMOVE", false) => &[25],
            _ => return Self::Open,
        };
        Self::AnyOf(Intents(bits.iter().fold(0, |set, bit| set | 1 << bit)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Gate, Intents};

    #[test]
    fn gate_depends_on_event_name_and_place() {
        let gate = Gate::of("MESSAGE_CREATE", true);
        assert!(gate.allows(Intents::GUILD_MESSAGES) && !gate.allows(Intents(1 << 12)));
        assert!(Gate::of("MESSAGE_CREATE", false).allows(Intents(1 << 12)));
        assert!(Gate::of("THREAD_MEMBERS_UPDATE", true).allows(Intents::GUILD_MEMBERS));
        for always in ["READY", "RESUMED", "INTERACTION_CREATE", "VOICE_SERVER_UPDATE", "ENTITLEMENT_CREATE"]
        {
            assert_eq!(Gate::of(always, true), Gate::Open);
        }
    }

    #[test]
    fn all_has_21_bits() {
        assert_eq!(Intents::ALL.0.count_ones(), 21);
        assert!(Intents::ALL.contains(Intents::PRIVILEGED));
        assert_eq!(Intents::ALL.without(Intents::ALL), Intents(0));
    }
}

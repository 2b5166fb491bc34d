//! Which events are relayed.

use std::{collections::BTreeSet, str::FromStr};

/// The stream of events without a stream of their own: their names came when there were [`MOST_NAMES`] streams, or the
/// key of that name belongs to another program. Their payloads name them (`t`).
pub const UNKNOWN: &str = "ALTERGOLDEN_UNKNOWN";

/// Streams above which a name that is not one of [`KNOWN`] gets none of its own.
pub(crate) const MOST_NAMES: usize = 256;

/// The names that always have a stream of their own: Discord's (https://discord.com/developers/docs/events/gateway-events),
/// and the relay's.
const KNOWN: &[&str] = &[
    crate::GAP,
    UNKNOWN,
    "APPLICATION_COMMAND_PERMISSIONS_UPDATE",
    "AUTO_MODERATION_ACTION_EXECUTION",
    "AUTO_MODERATION_RULE_CREATE",
    "AUTO_MODERATION_RULE_DELETE",
    "AUTO_MODERATION_RULE_UPDATE",
    "CHANNEL_CREATE",
    "CHANNEL_DELETE",
    "CHANNEL_INFO",
    "CHANNEL_PINS_UPDATE",
    "CHANNEL_UPDATE",
    "ENTITLEMENT_CREATE",
    "ENTITLEMENT_DELETE",
    "ENTITLEMENT_UPDATE",
    "GUILD_AUDIT_LOG_ENTRY_CREATE",
    "GUILD_BAN_ADD",
    "GUILD_BAN_REMOVE",
    "GUILD_CREATE",
    "GUILD_DELETE",
    "GUILD_EMOJIS_UPDATE",
    "GUILD_INTEGRATIONS_UPDATE",
    "GUILD_MEMBERS_CHUNK",
    "GUILD_MEMBER_ADD",
    "GUILD_MEMBER_REMOVE",
    "GUILD_MEMBER_UPDATE",
    "GUILD_ROLE_CREATE",
    "GUILD_ROLE_DELETE",
    "GUILD_ROLE_UPDATE",
    "GUILD_SCHEDULED_EVENT_CREATE",
    "GUILD_SCHEDULED_EVENT_DELETE",
    "GUILD_SCHEDULED_EVENT_UPDATE",
    "GUILD_SCHEDULED_EVENT_USER_ADD",
    "GUILD_SCHEDULED_EVENT_USER_REMOVE",
    "GUILD_SOUNDBOARD_SOUNDS_UPDATE",
    "GUILD_SOUNDBOARD_SOUND_CREATE",
    "GUILD_SOUNDBOARD_SOUND_DELETE",
    "GUILD_SOUNDBOARD_SOUND_UPDATE",
    "GUILD_STICKERS_UPDATE",
    "GUILD_UPDATE",
    "INTEGRATION_CREATE",
    "INTEGRATION_DELETE",
    "INTEGRATION_UPDATE",
    "INTERACTION_CREATE",
    "INVITE_CREATE",
    "INVITE_DELETE",
    "MESSAGE_CREATE",
    "MESSAGE_DELETE",
    "MESSAGE_DELETE_BULK",
    "MESSAGE_POLL_VOTE_ADD",
    "MESSAGE_POLL_VOTE_REMOVE",
    "MESSAGE_REACTION_ADD",
    "MESSAGE_REACTION_REMOVE",
    "MESSAGE_REACTION_REMOVE_ALL",
    "MESSAGE_REACTION_REMOVE_EMOJI",
    "MESSAGE_UPDATE",
    "PRESENCE_UPDATE",
    "RATE_LIMITED",
    "READY",
    "RESUMED",
    "SOUNDBOARD_SOUNDS",
    "STAGE_INSTANCE_CREATE",
    "STAGE_INSTANCE_DELETE",
    "STAGE_INSTANCE_UPDATE",
    "SUBSCRIPTION_CREATE",
    "SUBSCRIPTION_DELETE",
    "SUBSCRIPTION_UPDATE",
    "THREAD_CREATE",
    "THREAD_DELETE",
    "THREAD_LIST_SYNC",
    "THREAD_MEMBERS_UPDATE",
    "THREAD_MEMBER_UPDATE",
    "THREAD_UPDATE",
    "TYPING_START",
    "USER_UPDATE",
    "VOICE_CHANNEL_EFFECT_SEND",
    "VOICE_CHANNEL_START_TIME_UPDATE",
    "VOICE_CHANNEL_STATUS_UPDATE",
    "VOICE_SERVER_UPDATE",
    "VOICE_STATE_UPDATE",
    "WEBHOOKS_UPDATE",
];

/// Whether the name always has a stream of its own.
pub(crate) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Which events, by Discord's names for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EventNames {
    /// Every event.
    #[default]
    All,
    /// These.
    Only(BTreeSet<String>),
}

/// A text that names no events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no event's name; it takes `all`, or names as MESSAGE_CREATE,INTERACTION_CREATE")]
pub struct InvalidNames(String);

impl EventNames {
    /// An event of this name is among them.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// Discord's event names: 1 to 64 of `A-Z`, `0-9` and `_`.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    (1..=64).contains(&text.len()) && text.chars().all(allowed)
}

impl FromStr for EventNames {
    type Err = InvalidNames;

    fn from_str(text: &str) -> Result<Self, InvalidNames> {
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        let mut names = BTreeSet::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if !is_name(name) {
                return Err(InvalidNames(name.chars().take(64).collect()));
            }
            names.insert(name.to_owned());
        }
        if names.is_empty() {
            return Err(InvalidNames(text.chars().take(64).collect()));
        }
        Ok(Self::Only(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_discords() {
        assert_eq!("all".parse(), Ok(EventNames::All));
        let some: EventNames = " MESSAGE_CREATE, INTERACTION_CREATE ,".parse().unwrap();
        assert!(some.has("MESSAGE_CREATE") && !some.has("TYPING_START"));
        for wrong in ["", ",", "message_create", "A B", "ALL;"] {
            wrong.parse::<EventNames>().unwrap_err();
        }
    }
}

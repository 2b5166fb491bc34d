//! The words of the `CACHE` setting, and what each keeps.

use std::str::FromStr;

use guild_cache::Resources;
use twilight_model::gateway::Intents;

/// A resource of earlier versions. The word is accepted and has no effect.
const UNUSED: &str = "integrations";

/// Which resources are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedResources(pub(super) Resources);

impl CachedResources {
    /// Users are kept, with the guilds that they are in.
    pub fn users(self) -> bool {
        self.0.has(Resources::USERS.and(Resources::MEMBERS))
    }

    /// These, and what a GUILD_CREATE for the bot's own programs has: its guilds must have the bot's own member, and members in voice.
    #[must_use]
    pub fn for_clients(self, intents: Intents) -> Self {
        const GUILD_CREATE: [Resources; 9] = [
            Resources::GUILDS,
            Resources::CHANNELS,
            Resources::ROLES,
            Resources::MEMBERS,
            Resources::VOICE_STATES,
            Resources::EMOJIS,
            Resources::STICKERS,
            Resources::STAGE_INSTANCES,
            Resources::SCHEDULED_EVENTS,
        ];
        let kept = GUILD_CREATE.into_iter().fold(self.0, Resources::and);
        Self(if intents.contains(Intents::GUILD_PRESENCES) { kept.and(Resources::PRESENCES) } else { kept })
    }

    /// The names of the resources of `self` that `other` lacks.
    pub(crate) fn beyond(self, other: Self) -> Vec<&'static str> {
        self.0.without(other.0).names().collect()
    }

    /// The names of the resources that a checkpoint holds. Messages, reactions and presences are not among them: they are too many or too
    /// short-lived, and begin empty on another worker.
    pub fn checkpointed(self) -> Vec<String> {
        let passing = Resources::MESSAGES.and(Resources::REACTIONS).and(Resources::PRESENCES);
        self.0.without(passing).names().map(str::to_owned).collect()
    }
}

impl FromStr for CachedResources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split(',').map(str::trim).filter(|word| *word != UNUSED);
        let known = words.collect::<Vec<_>>().join(",");
        known.parse().map(Self).map_err(|unknown: guild_cache::UnknownResource| unknown.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named() {
        let kept: CachedResources = "guilds, integrations, channels".parse().unwrap();
        assert_eq!(kept.0, Resources::GUILDS.and(Resources::CHANNELS));
        assert_eq!("all".parse::<CachedResources>().unwrap().0, Resources::ALL);
        assert!("guild".parse::<CachedResources>().unwrap_err().contains("guilds"));
        assert_eq!(kept.checkpointed(), ["guilds", "channels"]);
        let more = kept.for_clients(Intents::GUILDS);
        assert!(more.beyond(kept).contains(&"members") && !more.0.has(Resources::PRESENCES));
        assert_eq!(kept.for_clients(Intents::GUILD_PRESENCES).beyond(more), ["presences"]);
        assert_eq!(more.for_clients(Intents::GUILDS), more);
    }
}

//! The words of the `CACHE` setting, and what each keeps.

use std::str::FromStr;

use twilight_cache_inmemory::ResourceType;

/// What each word of the `CACHE` setting keeps.
const RESOURCES: [(&str, ResourceType); 15] = [
    ("guilds", ResourceType::GUILD),
    ("channels", ResourceType::CHANNEL),
    ("roles", ResourceType::ROLE),
    ("members", ResourceType::MEMBER),
    ("users", ResourceType::USER),
    ("own_user", ResourceType::USER_CURRENT),
    ("voice_states", ResourceType::VOICE_STATE),
    ("presences", ResourceType::PRESENCE),
    ("messages", ResourceType::MESSAGE),
    ("reactions", ResourceType::REACTION),
    ("emojis", ResourceType::EMOJI),
    ("stickers", ResourceType::STICKER),
    ("stage_instances", ResourceType::STAGE_INSTANCE),
    ("integrations", ResourceType::INTEGRATION),
    ("scheduled_events", ResourceType::GUILD_SCHEDULED_EVENT),
];

/// Which resources are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedResources(pub(super) ResourceType);

impl CachedResources {
    /// Users are kept, with the guilds that they are in.
    pub fn users(self) -> bool {
        self.0.contains(ResourceType::USER | ResourceType::MEMBER)
    }

    /// The names of those that a checkpoint holds. Messages, reactions, presences and integrations are not among them: they
    /// are too many or too short-lived, and begin empty on another worker.
    pub fn checkpointed(self) -> Vec<String> {
        let passing = ResourceType::MESSAGE
            | ResourceType::REACTION
            | ResourceType::PRESENCE
            | ResourceType::INTEGRATION;
        let held = self.0.difference(passing);
        let names = RESOURCES.iter().filter(|(_, resource)| held.contains(*resource));
        names.map(|(name, _)| (*name).to_owned()).collect()
    }
}

impl FromStr for CachedResources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut kept = ResourceType::empty();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            kept |= match word {
                "all" => ResourceType::all(),
                "none" => ResourceType::empty(),
                word => RESOURCES
                    .iter()
                    .find(|(name, _)| *name == word)
                    .map(|(_, resource)| *resource)
                    .ok_or_else(|| {
                        let names: Vec<&str> = RESOURCES.iter().map(|(name, _)| *name).collect();
                        format!(
                            "{word:?} is not kept; it takes `all`, `none`, or any of {}",
                            names.join(", ")
                        )
                    })?,
            };
        }
        Ok(Self(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_named() {
        let kept: CachedResources = "guilds, channels".parse().unwrap();
        assert_eq!(kept.0, ResourceType::GUILD | ResourceType::CHANNEL);
        assert_eq!("all".parse::<CachedResources>().unwrap().0, ResourceType::all());
        assert!("guild".parse::<CachedResources>().unwrap_err().contains("guilds"));
    }
}

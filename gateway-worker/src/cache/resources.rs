//! The words of the `CACHE` setting, and what each keeps.

use std::str::FromStr;

use guild_cache::Resources;

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
    }
}

//! Which events are relayed.

use std::{collections::BTreeSet, str::FromStr};

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

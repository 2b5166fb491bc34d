//! The prefix of keys and channels, so that several bots can share a Redis.

use std::{fmt, str::FromStr};

/// Longest prefix, in characters.
const MAX_PREFIX: usize = 64;

/// A prefix of keys and channels: 1 to 64 characters out of `a-z A-Z 0-9 . _ : -`.
///
/// None of these means anything in a hash tag or a channel pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPrefix(String);

/// A text that can't be a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no key prefix: it takes 1 to {MAX_PREFIX} characters out of a-z A-Z 0-9 . _ : -")]
pub struct InvalidPrefix {
    given: String,
}

impl KeyPrefix {
    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        if (1..=MAX_PREFIX).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPrefix { given: text.chars().take(MAX_PREFIX).collect() })
        }
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_can_not_break_out_of_a_hash_tag_or_a_pattern() {
        assert!("bot-1.example:eu_west".parse::<KeyPrefix>().is_ok());
        for wrong in ["", "a{b", "a}b", "a*b", "a b", "ü", &"x".repeat(65)] {
            assert!(wrong.parse::<KeyPrefix>().is_err(), "{wrong:?} passed");
        }
    }
}

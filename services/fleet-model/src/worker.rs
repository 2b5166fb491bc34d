//! Workers and their incarnations.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest name a worker may have, in characters.
const MAX_NAME: usize = 64;

/// A worker's name, unique in its fleet: 1 to 64 characters out of `a-z A-Z 0-9 . _ -`. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerId(Arc<str>);

/// One registration of a worker: a process that restarts, or that lost its lease, comes back under a new one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Incarnation(Arc<str>);

/// A deployment of workers; shards are placed on the active one. 1 to 64 characters out of
/// `a-z A-Z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Generation(Arc<str>);

impl Default for Generation {
    /// The generation of workers that report none.
    fn default() -> Self {
        Self("default".into())
    }
}

/// An invalid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name {given:?}: a name has 1 to {MAX_NAME} characters out of a-z A-Z 0-9 . _ -")]
pub struct InvalidName {
    given: String,
}

fn checked(name: String) -> Result<String, InvalidName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(allowed) {
        Ok(name)
    } else {
        Err(InvalidName { given: name.chars().take(MAX_NAME).collect() })
    }
}

/// All kinds of names check and show themselves alike.
macro_rules! checked_name {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                checked(name).map(|name| Self(name.into()))
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                checked(name.to_owned()).map(|name| Self(name.into()))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

checked_name!(WorkerId);
checked_name!(Incarnation);
checked_name!(Generation);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!("host-1.example_2".parse::<WorkerId>().is_ok());
        for wrong in ["", "a b", "a/b", "ü", &"x".repeat(65)] {
            assert!(wrong.parse::<WorkerId>().is_err(), "{wrong:?} passed");
        }
    }
}

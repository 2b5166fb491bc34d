//! Where an event stands in its shard, and whether it may have been handled before.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

/// An event's place in its shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The ordinal of the session, which grows with each READY of the shard.
    pub session: u64,
    /// The sequence number in the session, which starts over with each one.
    pub sequence: u64,
}

impl Position {
    /// A place in a shard.
    pub const fn new(session: u64, sequence: u64) -> Self {
        Self { session, sequence }
    }

    /// Returns the position right before this one in its session.
    pub fn before(self) -> Self {
        match self.sequence.checked_sub(1) {
            Some(sequence) => Self { sequence, ..self },
            None => Self { session: self.session.saturating_sub(1), sequence: u64::from(u32::MAX) },
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.session, self.sequence)
    }
}

impl FromStr for Position {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (session, sequence) = text.split_once('-').unwrap_or((text, ""));
        Ok(Self { session: session.parse()?, sequence: sequence.parse()? })
    }
}

/// Whether an event may have been handled before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// It was not handled before.
    Fresh,
    /// It may have been handled before: it came after a RESUME or out of a checkpoint.
    Replayed,
    /// A replayed interaction that is over the 3 s in which Discord takes a first answer, by its id
    /// ([Interaction Callback](https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-callback)).
    Expired,
}

impl Mark {
    /// Whether it may have been handled before.
    pub fn is_late(self) -> bool {
        self != Self::Fresh
    }
}

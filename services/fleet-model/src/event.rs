//! An event of a shard, its position, and whether it may have been handled before.

use std::{fmt, num::ParseIntError, str::FromStr, sync::Arc};

use bytestring::ByteString;
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

/// An event, or a gap among events, from a shard's connection to handlers, the relay's streams and checkpoints. They share it
/// behind an `Arc`; a clone of the text shares its buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardEvent {
    /// Discord's name for it: `MESSAGE_CREATE`.
    pub name: Arc<str>,
    /// Its place in its shard.
    pub position: Position,
    /// The guild in which it happened.
    pub guild: Option<u64>,
    /// Whether it may have been handled before.
    pub mark: Mark,
    /// When a worker first received it, in milliseconds since the Unix epoch.
    pub received_at_unix_ms: u64,
    /// W3C `traceparent` of its trace; `None` when it is not sampled.
    pub traceparent: Option<Arc<str>>,
    /// The payload as Discord sent it.
    pub text: ByteString,
}

impl fmt::Debug for ShardEvent {
    /// Leaves out what users wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardEvent")
            .field("name", &self.name)
            .field("position", &self.position)
            .field("guild", &self.guild)
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

//! How a shard came to be connected, and what it may have missed.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// How a shard came to be connected: by which greeting, how long it took, what may have been lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StartOutcome {
    /// By which greeting.
    pub kind: StartKind,
    /// From the beginning of the first attempt to READY with all guilds, or to RESUMED.
    pub took: Duration,
    /// Events that may have been handled before and were given to handlers again, marked.
    pub replayed: u64,
    /// When it was over, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// What was or may have been lost.
    pub gap: Option<Gap>,
}

/// By which greeting a shard came to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StartKind {
    /// IDENTIFY, where there was no session before.
    Identified,
    /// RESUME: no IDENTIFY was spent.
    Resumed,
    /// IDENTIFY, in place of a session that could not be resumed: there is a gap.
    Reidentified,
}

/// Events that were or may have been lost: everything after `last_sequence` of the session before, until `until_unix_ms`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gap {
    /// When the last event before the gap came, in milliseconds since the Unix epoch; 0 when unknown.
    pub since_unix_ms: u64,
    /// When events arrived again.
    pub until_unix_ms: u64,
    /// The last sequence number before the gap; 0 when unknown.
    pub last_sequence: u64,
    /// Why, for people.
    pub reason: String,
}

impl StartKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Identified, Self::Resumed, Self::Reidentified];

    /// Its name for people, JSON and metrics, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identified => "identified",
            Self::Resumed => "resumed",
            Self::Reidentified => "reidentified",
        }
    }
}

impl fmt::Display for StartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

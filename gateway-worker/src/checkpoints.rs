//! Checkpoints: what another worker needs to take a shard over without an IDENTIFY, written down each second and read when a
//! shard starts.
//!
//! [`restore`] claims and reads, once for each start of a shard. [`writer`] writes, a task of its own beside the shard's: it
//! takes what the [cache](crate::cache) says has changed and what the [queue](crate::bot) has not handled, and writes `read`
//! last. The records, their formats and the store's rules are the crate `checkpoint`'s.

use std::{str::FromStr, sync::Arc, time::Duration};

use checkpoint::CheckpointStore;
use fleet_model::{Epoch, Gap};

mod format;
pub(crate) mod metrics;
pub(crate) mod pace;
pub(crate) mod restore;
pub(crate) mod writer;

pub(crate) use format::WrittenFormat;
pub(crate) use metrics::CheckpointMetrics;
pub(crate) use pace::Pace;

/// What is kept for another worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Nothing: another worker identifies.
    Off,
    /// The session and the events that are not handled yet: another worker resumes, with an empty cache.
    Session,
    /// The guilds too.
    #[default]
    Full,
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "session" => Ok(Self::Session),
            "full" => Ok(Self::Full),
            _ => Err("it takes off, session or full".to_owned()),
        }
    }
}

/// What every shard of a worker keeps its checkpoints with.
#[derive(Clone)]
pub(crate) struct Checkpoints {
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) keep: Keep,
    /// What they are written in.
    pub(crate) format: WrittenFormat,
    /// Between two writes.
    pub(crate) every: Duration,
    pub(crate) pace: Arc<Pace>,
    pub(crate) metrics: CheckpointMetrics,
}

/// What is known of a session that is lost: the beginning of a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LostSession {
    pub(crate) since_unix_ms: u64,
    pub(crate) last_sequence: u64,
    pub(crate) reason: String,
}

impl LostSession {
    /// A gap of which nothing is known but why.
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }

    /// The gap, now that events come again.
    pub(crate) fn until(self, until_unix_ms: u64) -> Gap {
        let Self { since_unix_ms, last_sequence, reason } = self;
        Gap { since_unix_ms, until_unix_ms, last_sequence, reason }
    }
}

/// Another worker has the shard under a higher epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outranked(pub(crate) Epoch);

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as u64
}

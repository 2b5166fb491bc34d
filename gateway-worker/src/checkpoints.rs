//! Checkpoints: what another worker needs to take a shard over without an IDENTIFY, written each second and read when a shard
//! starts.
//!
//! [`restore`] claims and reads, once for each start of a shard. [`writer`] writes in a task beside the shard's: it takes the
//! changes of the [cache](crate::cache) and the unhandled events of the [queue](crate::bot), and writes the watermark `read`
//! last. The crate `checkpoint` defines the records, their formats and the rules of the store.

use std::{str::FromStr, sync::Arc};

use checkpoint::{CheckpointStore, Head, Session};
use fleet_model::{Epoch, Gap, Position};

mod beat;
mod format;
pub(crate) mod metrics;
pub(crate) mod pace;
pub(crate) mod restore;
mod signed_heads;
pub(crate) mod writer;

pub(crate) use beat::Beat;
pub(crate) use format::WrittenFormat;
pub(crate) use metrics::CheckpointMetrics;
pub(crate) use pace::Pace;
pub(crate) use signed_heads::SignedHeads;

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
    /// How their heads are signed.
    pub(crate) heads: SignedHeads,
    /// When they are written.
    pub(crate) beat: Beat,
    pub(crate) pace: Arc<Pace>,
    pub(crate) metrics: CheckpointMetrics,
}

/// The oldest received event that can no longer be read: its session's ordinal and its sequence; zeros when unknown.
pub(crate) type Unread = Position;

/// The older of the two.
#[expect(clippy::unnecessary_wraps, reason = "it is kept as an option")]
pub(crate) fn older(known: Option<Unread>, other: Unread) -> Option<Unread> {
    Some(known.map_or(other, |known| known.min(other)))
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

    /// What is lost when the session of a head cannot be used.
    pub(crate) fn of(head: &Head, reason: impl Into<String>) -> Self {
        Self { since_unix_ms: head.read_at_unix_ms, last_sequence: head.read, reason: reason.into() }
    }

    /// Moves the beginning of the gap before the oldest unreadable event, if that is of this session or an earlier one.
    pub(crate) fn or_before(self, unread: Option<Unread>, session: &Session) -> Self {
        match unread {
            None => self,
            Some(Position { session: of, sequence }) if of == session.ordinal => Self {
                since_unix_ms: self.since_unix_ms.min(session.opened_at_unix_ms),
                last_sequence: self.last_sequence.min(sequence.saturating_sub(1)),
                reason: self.reason,
            },
            Some(_) => Self::because(self.reason),
        }
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

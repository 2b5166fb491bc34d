//! What happened in the fleet, one entry each, as operators read it later.
//!
//! An entry is about one kind of event at one time, for all the shards that it happened to. Times are the wall clock of the
//! coordinator that wrote it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Gap, Incarnation, ShardSlot, SlotRanges, Term, WorkerId};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $text:literal,)*) => {
        /// The kind of a history entry. Programs match on its [name](HistoryKind::as_str), which never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum HistoryKind {
            $($(#[$doc])* $name,)*
        }

        impl HistoryKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in records, JSON, gRPC and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The kind of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
            }
        }
    };
}

kinds! {
    /// A coordinator took the term.
    TermBegan "term_began",
    /// A coordinator stopped, or lost the term.
    TermEnded "term_ended",
    /// A worker registered.
    WorkerJoined "worker_joined",
    /// A worker began to hand off its shards.
    WorkerDraining "worker_draining",
    /// A worker handed off its shards and left.
    WorkerLeft "worker_left",
    /// A worker's lease was revoked: its process is gone, or was silent.
    WorkerLost "worker_lost",
    /// A worker whose token Discord refused may get shards again.
    WorkerReadmitted "worker_readmitted",
    /// A supervisor reported that a worker's process ended.
    ExitReported "exit_reported",
    /// Shards got an owner.
    ShardsAssigned "shards_assigned",
    /// Shards were handed over by one worker to another.
    ShardsMoved "shards_moved",
    /// Shards connected by IDENTIFY, without a session before.
    ShardsIdentified "shards_identified",
    /// Shards resumed their sessions.
    ShardsResumed "shards_resumed",
    /// Shards connected, and events were or may have been lost.
    Gap "gap",
    /// The shard total was settled.
    TotalSettled "total_settled",
    /// Another generation became active, as the active one had no workers left.
    GenerationAdopted "generation_adopted",
    /// A plan began, or changed its state.
    PlanChanged "plan_changed",
    /// An operator called the coordinator to change something.
    OperatorCall "operator_call",
    /// A problem began.
    ProblemRaised "problem_raised",
    /// A problem ended.
    ProblemCleared "problem_cleared",
    /// Entries of the history were dropped.
    EntriesLost "entries_lost",
}

impl fmt::Display for HistoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One entry of the history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When it happened, in milliseconds since the Unix epoch; the first time when it happened repeatedly.
    #[serde(rename = "at")]
    pub at_unix_ms: u64,
    /// When it last happened, in milliseconds since the Unix epoch.
    #[serde(rename = "until")]
    pub until_unix_ms: u64,
    /// Term of the coordinator that wrote it.
    pub term: Term,
    /// The kind of event.
    pub kind: HistoryKind,
    /// The worker that it is about; of a move, the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// That worker's incarnation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// Of a move, the previous owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<WorkerId>,
    /// The shards that it is about.
    #[serde(default, skip_serializing_if = "SlotRanges::is_empty")]
    pub shards: SlotRanges,
    /// The lowest and the highest epoch of these shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<(Epoch, Epoch)>,
    /// The plan that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<u64>,
    /// The code of the problem that it is about; text, as a later version may know more codes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// The address of the caller, if a call caused it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// What was or may have been lost; of several gaps, from the first to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// How many equal events it stands for.
    pub count: u64,
    /// What happened and why, for people; the fields above are not repeated in it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The longest [`HistoryEntry::detail`], in characters.
const LONGEST_DETAIL: usize = 300;

impl HistoryEntry {
    /// An entry about one moment.
    pub fn new(kind: HistoryKind, term: Term, at_unix_ms: u64) -> Self {
        Self {
            at_unix_ms,
            until_unix_ms: at_unix_ms,
            term,
            kind,
            worker: None,
            incarnation: None,
            from: None,
            shards: SlotRanges::default(),
            epochs: None,
            plan: None,
            code: String::new(),
            peer: String::new(),
            gap: None,
            count: 1,
            detail: String::new(),
        }
    }

    /// Sets the worker that it is about.
    #[must_use]
    pub fn worker(mut self, worker: &WorkerId) -> Self {
        self.worker = Some(worker.clone());
        self
    }

    /// Sets the worker that it is about, and its incarnation.
    #[must_use]
    pub fn incarnation(mut self, worker: &WorkerId, incarnation: &Incarnation) -> Self {
        self.incarnation = Some(incarnation.clone());
        self.worker(worker)
    }

    /// Adds a shard and its epoch.
    #[must_use]
    pub fn shard(mut self, shard: impl Into<ShardSlot>, epoch: Epoch) -> Self {
        self.shards.insert(shard);
        let (low, high) = self.epochs.unwrap_or((epoch, epoch));
        self.epochs = Some((low.min(epoch), high.max(epoch)));
        self
    }

    /// Sets the text for people, cut to 300 characters.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        if let Some((end, _)) = self.detail.char_indices().nth(LONGEST_DETAIL) {
            self.detail.truncate(end);
        }
        self
    }

    /// Sets the address of the caller.
    #[must_use]
    pub fn peer(mut self, peer: Option<impl fmt::Display>) -> Self {
        self.peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        self
    }

    /// Returns the entry without its times and shards: entries that are equal in this can be one.
    #[must_use]
    pub fn subject(&self) -> Self {
        let mut subject = Self {
            at_unix_ms: 0,
            until_unix_ms: 0,
            shards: SlotRanges::default(),
            epochs: None,
            count: 0,
            ..self.clone()
        };
        if let Some(gap) = &mut subject.gap {
            (gap.since_unix_ms, gap.until_unix_ms, gap.last_sequence) = (0, 0, 0);
        }
        subject
    }

    /// Adds what another entry with the same [subject](Self::subject) says.
    pub fn merge(&mut self, other: &Self) {
        self.at_unix_ms = self.at_unix_ms.min(other.at_unix_ms);
        self.until_unix_ms = self.until_unix_ms.max(other.until_unix_ms);
        self.shards.extend(&other.shards);
        self.epochs = match (self.epochs, other.epochs) {
            (Some((low, high)), Some((other_low, other_high))) => {
                Some((low.min(other_low), high.max(other_high)))
            }
            (ours, theirs) => ours.or(theirs),
        };
        self.count = self.count.saturating_add(other.count);
        if let (Some(gap), Some(other)) = (&mut self.gap, &other.gap) {
            // 0 means unknown, so an unknown beginning is the earliest.
            gap.since_unix_ms = gap.since_unix_ms.min(other.since_unix_ms);
            gap.until_unix_ms = gap.until_unix_ms.max(other.until_unix_ms);
            // A sequence belongs to one shard's session.
            gap.last_sequence = 0;
        }
    }

    fn named_shards(&self) -> String {
        match self.shards.len() {
            0 => String::new(),
            1 => format!("shard {}", self.shards),
            _ => format!("shards {}", self.shards),
        }
    }
}

/// One line for people, without the time: `shards 0-3 moved from a to b`.
impl fmt::Display for HistoryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worker = self.worker.as_ref().map_or("?", WorkerId::as_str);
        let shards = self.named_shards();
        match self.kind {
            HistoryKind::TermBegan => write!(f, "coordinator acts in term {}", self.term)?,
            HistoryKind::TermEnded => write!(f, "coordinator of term {} ended", self.term)?,
            HistoryKind::WorkerJoined => write!(f, "worker {worker} joined")?,
            HistoryKind::WorkerDraining => write!(f, "worker {worker} drains")?,
            HistoryKind::WorkerLeft => write!(f, "worker {worker} left")?,
            HistoryKind::WorkerLost if shards.is_empty() => write!(f, "worker {worker} lost")?,
            HistoryKind::WorkerLost => write!(f, "worker {worker} lost, with {shards}")?,
            HistoryKind::WorkerReadmitted => write!(f, "worker {worker} may get shards again")?,
            HistoryKind::ExitReported => write!(f, "exit of worker {worker} reported")?,
            HistoryKind::ShardsAssigned => write!(f, "{shards} assigned to {worker}")?,
            HistoryKind::ShardsMoved => {
                let from = self.from.as_ref().map_or("?", WorkerId::as_str);
                write!(f, "{shards} moved from {from} to {worker}")?;
            }
            HistoryKind::ShardsIdentified => write!(f, "{shards} identified on {worker}")?,
            HistoryKind::ShardsResumed => write!(f, "{shards} resumed on {worker}")?,
            HistoryKind::Gap => write!(f, "gap: {shards} on {worker} may have lost events")?,
            HistoryKind::TotalSettled => f.write_str("shard total settled")?,
            HistoryKind::GenerationAdopted => f.write_str("another generation is active")?,
            HistoryKind::PlanChanged => write!(f, "plan {}", self.plan.unwrap_or_default())?,
            HistoryKind::OperatorCall => f.write_str("operator")?,
            HistoryKind::ProblemRaised => write!(f, "problem {} began", self.code)?,
            HistoryKind::ProblemCleared => write!(f, "problem {} ended", self.code)?,
            HistoryKind::EntriesLost => f.write_str("entries of this history were lost")?,
        }
        if matches!(self.kind, HistoryKind::ProblemRaised | HistoryKind::ProblemCleared) && !shards.is_empty()
        {
            write!(f, ", {shards}")?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        let times = self.shards.is_empty() && self.count > 1 && self.kind != HistoryKind::EntriesLost;
        if times {
            write!(f, " ({} times)", self.count)?;
        }
        Ok(())
    }
}

/// Which entries of the history are wanted; the default wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Only what happened at this time or later, in milliseconds since the Unix epoch.
    pub since_unix_ms: Option<u64>,
    /// Only what happened at this time or earlier, in milliseconds since the Unix epoch.
    pub until_unix_ms: Option<u64>,
    /// Only entries about this shard.
    pub shard: Option<ShardSlot>,
    /// Only entries about this worker.
    pub worker: Option<WorkerId>,
    /// Only entries with one of these kinds or problem codes; all when empty.
    pub kinds: Vec<String>,
}

impl HistoryFilter {
    /// Returns whether an entry is wanted. One that says that entries were lost is always wanted at its time: any of them may
    /// have been.
    pub fn matches(&self, entry: &HistoryEntry) -> bool {
        let in_time = self.since_unix_ms.is_none_or(|since| entry.until_unix_ms >= since)
            && self.until_unix_ms.is_none_or(|until| entry.at_unix_ms <= until);
        let of_shard = self.shard.is_none_or(|shard| entry.shards.contains(shard));
        let of_worker = self.worker.is_none()
            || entry.worker == self.worker
            || entry.from.is_some() && entry.from == self.worker;
        let of_kind = self.kinds.is_empty()
            || self.kinds.iter().any(|kind| *kind == entry.kind.as_str() || *kind == entry.code);
        in_time && (entry.kind == HistoryKind::EntriesLost || of_shard && of_worker && of_kind)
    }
}

#[cfg(test)]
mod tests;

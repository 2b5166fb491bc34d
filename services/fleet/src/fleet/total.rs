//! How many shards the bot has. A fleet that runs keeps its number; only one that runs nothing takes another.
//!
//! An explicit number is taken once nothing runs. A recommendation waits: while the sessions of a fleet that has stopped can
//! still be resumed, they are worth more than a better number, and another number would void them all.

use super::{Effect, Fleet, Note, Now, Slot};

/// How long sessions may be resumed after their fleet stopped. Discord says "a few minutes"
/// ([Initiating a Disconnect](https://discord.com/developers/docs/events/gateway#initiating-a-disconnect)); this is on the
/// safe side.
const RESUMABLE_MS: u64 = 10 * 60 * 1000;

/// How often it is written down that shards run.
const WRITE_MS: u64 = 30 * 1000;

/// How many shards the settings ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WantedTotal {
    /// So many.
    pub total: u32,
    /// The settings name this number. Else it is made of Discord's recommendation, and a fleet that can be resumed keeps
    /// its own.
    pub explicit: bool,
}

impl WantedTotal {
    /// A number out of the settings.
    pub const fn explicit(total: u32) -> Self {
        Self { total, explicit: true }
    }
}

/// How many shards the bot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShardTotal {
    /// Not known yet whether something runs.
    Open {
        /// What the settings or Discord say.
        wanted: WantedTotal,
    },
    /// Settled.
    Settled {
        /// What is.
        total: u32,
        /// What the settings or Discord say.
        wanted: WantedTotal,
    },
}

impl ShardTotal {
    /// The number, once settled.
    pub fn settled(self) -> Option<u32> {
        match self {
            Self::Open { .. } => None,
            Self::Settled { total, .. } => Some(total),
        }
    }

    /// What the settings or Discord want, when it is another number than what is.
    pub fn unmet_total(self) -> Option<WantedTotal> {
        match self {
            Self::Settled { total, wanted } if total != wanted.total => Some(wanted),
            _ => None,
        }
    }

    pub(super) fn wanted(self) -> WantedTotal {
        match self {
            Self::Open { wanted } | Self::Settled { wanted, .. } => wanted,
        }
    }
}

/// When shards last ran, on the wall clock: it outlives coordinators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct LastRan {
    /// In milliseconds since the Unix epoch; `None` when nobody knows of any.
    pub(super) at_unix_ms: Option<u64>,
    /// What the store was told.
    pub(super) written: Option<u64>,
    /// They run now.
    pub(super) running: bool,
}

impl Fleet {
    /// The total that is settled, or wanted.
    pub fn total(&self) -> ShardTotal {
        self.total
    }

    /// Applies Discord's new advice: the shard total, and how many may IDENTIFY at once.
    pub fn follow_advice(&mut self, advised: WantedTotal, identifies_at_once: usize) {
        self.rules.identifies_at_once = identifies_at_once.max(1);
        let (ShardTotal::Open { wanted } | ShardTotal::Settled { wanted, .. }) = &mut self.total;
        *wanted = advised;
    }

    /// What was settled for a fleet that does not run, at another number than what does, is void.
    pub(super) fn unsettle_total(&mut self, running: u32) {
        if self.total.settled().is_some_and(|total| total != running) {
            self.total = ShardTotal::Open { wanted: self.total.wanted() };
            self.slots.clear();
        }
    }

    /// The total that is to be taken as soon as nothing runs, if it is another than what is.
    pub(super) fn next_total(&self, now: Now) -> Option<WantedTotal> {
        self.total.unmet_total().filter(|wanted| wanted.explicit || !self.can_be_resumed(now))
    }

    /// Shards ran so lately that their sessions can be resumed.
    pub(super) fn can_be_resumed(&self, now: Now) -> bool {
        self.last_ran.at_unix_ms.is_some_and(|at| now.unix_ms.abs_diff(at) < RESUMABLE_MS)
    }

    /// A fleet that has come to run nothing may take another total.
    pub(super) fn reopen_total(&mut self, now: Now) {
        if let Some(wanted) = self.next_total(now)
            && self.runs_nothing()
        {
            self.total = ShardTotal::Open { wanted };
            self.slots.clear();
            self.settle_until = self.settle_until.max(now.mono + self.rules.settle);
        }
    }

    /// Settles the total at what runs, or, when nothing does for as long as we wait for workers, at what is wanted.
    pub(super) fn settle_total(&mut self, now: Now) {
        if let ShardTotal::Open { wanted } = self.total
            && now.mono >= self.settle_until.max(self.unregistered_until)
            && self.workers.values().any(|worker| worker.connected)
        {
            self.settle_total_at(wanted.total);
        }
    }

    pub(super) fn settle_total_at(&mut self, total: u32) {
        let ShardTotal::Open { wanted } = self.total else { return };
        self.total = ShardTotal::Settled { total, wanted };
        self.written_total = Some(total);
        // A fleet that ran has lost events, under any total.
        let ran = self.ran || self.last_ran.at_unix_ms.is_some();
        self.slots.resize_with(total as usize, || Slot { ran, ..Slot::default() });
        self.effects.push(Effect::WriteTotal(total));
        self.note(Note::TotalSettled(total));
    }

    /// Writes down now and then that shards run, and when the last of them stopped.
    pub(super) fn note_running(&mut self, now: Now) {
        let running = self.has_connected_owner();
        let stopped = self.last_ran.running && !running;
        self.last_ran.running = running;
        if running {
            self.last_ran.at_unix_ms = Some(now.unix_ms);
        }
        let Some(at) = self.last_ran.at_unix_ms else { return };
        let due = self.last_ran.written.is_none_or(|written| at.saturating_sub(written) >= WRITE_MS);
        if running && due || stopped {
            self.last_ran.written = Some(at);
            self.effects.push(Effect::WriteLastRan(at));
        }
    }

    /// A worker that can be talked to has shards.
    pub(super) fn has_connected_owner(&self) -> bool {
        self.slots
            .iter()
            .filter_map(|slot| slot.owner.as_ref())
            .any(|owner| self.workers.get(&owner.worker).is_some_and(|worker| worker.connected))
    }
}

//! How many shards the bot has. A fleet that runs keeps its total; only a fleet that runs nothing takes another one.
//!
//! An explicit total is taken once nothing runs. A recommended one waits while the sessions of a stopped fleet can still be
//! resumed: another total would make all of them useless.

use super::{Effect, Fleet, Note, Now, Slot, claims::are_near};

/// How long sessions may be resumed after their fleet stopped. Discord says "a few minutes"
/// ([Initiating a Disconnect](https://discord.com/developers/docs/events/gateway#initiating-a-disconnect)); this is on the
/// safe side.
const RESUMABLE_MS: u64 = 10 * 60 * 1000;

/// How often the time at which shards ran is written to the store.
const WRITE_MS: u64 = 30 * 1000;

/// The shard total that the settings or Discord ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WantedTotal {
    /// The number of shards.
    pub total: u32,
    /// The settings name this total. Otherwise it follows Discord's recommendation, and a fleet whose sessions can be
    /// resumed keeps its own.
    pub explicit: bool,
}

impl WantedTotal {
    /// A total from the settings.
    pub const fn explicit(total: u32) -> Self {
        Self { total, explicit: true }
    }
}

/// The shard total: settled, or still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShardTotal {
    /// It is not known yet whether shards run.
    Open {
        /// What the settings or Discord ask for.
        wanted: WantedTotal,
    },
    /// Settled.
    Settled {
        /// The total.
        total: u32,
        /// What the settings or Discord ask for.
        wanted: WantedTotal,
    },
}

impl ShardTotal {
    /// Returns the total, once settled.
    pub fn settled(self) -> Option<u32> {
        match self {
            Self::Open { .. } => None,
            Self::Settled { total, .. } => Some(total),
        }
    }

    /// Returns what the settings or Discord ask for, if it differs from the settled total.
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
    /// In milliseconds since the Unix epoch; `None` when unknown.
    pub(super) at_unix_ms: Option<u64>,
    /// The moment that the store has.
    pub(super) written: Option<u64>,
    /// They run now.
    pub(super) running: bool,
}

/// The shard total and what is known of earlier ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct TotalState {
    pub(super) current: ShardTotal,
    /// The total that the store has, or is being sent.
    pub(super) written: Option<u32>,
    pub(super) last_ran: LastRan,
    /// Shards ran before this coordinator started, under any total.
    pub(super) ran: bool,
}

impl TotalState {
    pub(super) fn settled(&self) -> Option<u32> {
        self.current.settled()
    }

    /// Returns whether a fleet may run with this total: it is near the wanted one or the store's.
    pub(super) fn is_likely(&self, total: u32) -> bool {
        self.is_near_wanted(total) || self.written.is_some_and(|written| are_near(total, written))
    }

    /// Returns whether a total is near what the settings or Discord ask for.
    pub(super) fn is_near_wanted(&self, total: u32) -> bool {
        are_near(total, self.current.wanted().total)
    }

    /// Returns the total to take as soon as nothing runs, if it differs from the settled one.
    pub(super) fn next_total(&self, now: Now) -> Option<WantedTotal> {
        self.current.unmet_total().filter(|wanted| wanted.explicit || !self.can_be_resumed(now))
    }

    /// Returns whether shards ran so recently that their sessions can be resumed.
    pub(super) fn can_be_resumed(&self, now: Now) -> bool {
        self.last_ran.at_unix_ms.is_some_and(|at| now.unix_ms.abs_diff(at) < RESUMABLE_MS)
    }

    /// Notes whether shards run now. Returns the moment to write to the store: now and then, and when the last one stopped.
    fn note_running(&mut self, running: bool, now: Now) -> Option<u64> {
        let last_ran = &mut self.last_ran;
        let stopped = last_ran.running && !running;
        last_ran.running = running;
        if running {
            last_ran.at_unix_ms = Some(now.unix_ms);
        }
        let at = last_ran.at_unix_ms?;
        let due = last_ran.written.is_none_or(|written| at.saturating_sub(written) >= WRITE_MS);
        if running && due || stopped {
            last_ran.written = Some(at);
            return Some(at);
        }
        None
    }
}

impl Fleet {
    /// Returns the shard total, settled or wanted.
    pub fn total(&self) -> ShardTotal {
        self.total.current
    }

    /// Applies Discord's new advice: the shard total, and how many shards may IDENTIFY at once.
    pub fn follow_advice(&mut self, advised: WantedTotal, identifies_at_once: usize) {
        self.rules.identifies_at_once = identifies_at_once.max(1);
        let (ShardTotal::Open { wanted } | ShardTotal::Settled { wanted, .. }) = &mut self.total.current;
        *wanted = advised;
    }

    /// Opens the total again that was settled for a fleet that does not run, as another one turns out to run.
    pub(super) fn unsettle_total(&mut self, running: u32) {
        if self.total.settled().is_some_and(|total| total != running) {
            self.total.current = ShardTotal::Open { wanted: self.total.current.wanted() };
            self.slots.clear();
        }
    }

    /// Opens the total of a fleet that runs nothing any more, if another one is wanted.
    pub(super) fn reopen_total(&mut self, now: Now) {
        if let Some(wanted) = self.total.next_total(now)
            && self.runs_nothing()
        {
            self.total.current = ShardTotal::Open { wanted };
            self.slots.clear();
            self.term.settle_until = self.term.settle_until.max(now.mono + self.rules.settle);
        }
    }

    /// Settles the total at the wanted one, once a worker is connected and all have had time to register.
    pub(super) fn settle_total(&mut self, now: Now) {
        if let ShardTotal::Open { wanted } = self.total.current
            && self.term.has_waited(now)
            && self.workers.values().any(|worker| worker.liveness.connected)
        {
            self.settle_total_at(wanted.total);
        }
    }

    pub(super) fn settle_total_at(&mut self, total: u32) {
        let ShardTotal::Open { wanted } = self.total.current else { return };
        self.total.current = ShardTotal::Settled { total, wanted };
        self.total.written = Some(total);
        // A fleet that ran has lost events, under any total.
        let ran = self.total.ran || self.total.last_ran.at_unix_ms.is_some();
        self.slots = Slot::all(total, ran);
        self.effects.push(Effect::WriteTotal(total));
        self.note(Note::TotalSettled(total));
    }

    /// Writes to the store when shards ran, if that is due.
    pub(super) fn note_running(&mut self, now: Now) {
        let running = self.has_connected_owner();
        self.effects.extend(self.total.note_running(running, now).map(Effect::WriteLastRan));
    }

    /// Returns whether a connected worker owns a shard.
    pub(super) fn has_connected_owner(&self) -> bool {
        self.slots
            .iter()
            .filter_map(|slot| slot.owner.as_ref())
            .any(|owner| self.workers.get(&owner.worker).is_some_and(|worker| worker.liveness.connected))
    }
}

//! A worker of the model: the rules of `gateway-worker`'s lease and link, in beats.

use super::{Fence, Fences, SHARDS};

/// A worker uses its lease less 20 %.
pub(super) const WINDOW_BEATS: u8 = 4;

/// Beats after which a worker that was told to drain exits, even if it still runs shards.
pub(super) const DRAIN_BEATS: u8 = 8;

/// The reports without an answer after which a stream counts as broken.
pub(super) const PATIENCE: u8 = 5;

/// What waits in the socket of a worker that can't read now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Parcel {
    Assignment {
        revision: u64,
        set: Set,
    },
    /// Give everything away and exit.
    Drain,
    Refused,
}

/// What an assignment says of each shard: epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Set {
    pub(super) shards: [Option<u64>; SHARDS],
    pub(super) arriving: [Option<u64>; SHARDS],
    pub(super) handed_over: [Option<u64>; SHARDS],
}

/// The content of a report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Said {
    pub(super) revision: u64,
    pub(super) running: [Option<u64>; SHARDS],
    pub(super) arriving: [Option<u64>; SHARDS],
    pub(super) drains: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SimWorker {
    pub(super) alive: bool,
    /// Beats until its process is started.
    pub(super) starts_in: u8,
    pub(super) life: u8,
    /// Beats for which its own window stays open.
    pub(super) window: u8,
    /// Its store renewals run: it has registered once in this life.
    pub(super) renews: bool,
    pub(super) running: [Option<u64>; SHARDS],
    /// What it copies, by the owner's epoch: it has it at once.
    pub(super) arriving: [Option<u64>; SHARDS],
    /// Beats after which it exits even if it still runs shards; set when it drains.
    pub(super) drains: Option<u8>,
    pub(super) revision: u64,
    /// The highest term that it obeyed.
    pub(super) term: u8,
    /// The term of the coordinator that it has a stream to.
    pub(super) stream: Option<u8>,
    pub(super) unanswered: u8,
    /// Beats for which it is cut off from the coordinators, from the store, or stopped.
    pub(super) cut_from_coordinators: u8,
    pub(super) cut_from_store: u8,
    pub(super) stopped: u8,
    /// Beats for which acknowledgements to it are held up, and how long ago the reports went out to which they belong.
    pub(super) late: u8,
    pub(super) held_up: Vec<u8>,
    /// Beats for which its reports are delivered late, and the waiting ones, oldest first.
    pub(super) late_reports: u8,
    pub(super) reports: Vec<Said>,
    pub(super) inbox: Option<Parcel>,
    /// The word that it is to go waits in its socket as well.
    pub(super) drain_waits: bool,
    /// The next probe at its address says that it is gone, although it lives.
    pub(super) lied_about: bool,
}

impl SimWorker {
    pub(super) fn age(&mut self, fences: Fences) {
        let clock_runs = self.stopped == 0 || fences.has(Fence::ClockRunsWhileStopped);
        if clock_runs {
            self.window = self.window.saturating_sub(1);
        }
        for beats in [
            &mut self.cut_from_coordinators,
            &mut self.cut_from_store,
            &mut self.stopped,
            &mut self.late,
            &mut self.late_reports,
            &mut self.starts_in,
        ] {
            *beats = beats.saturating_sub(1);
        }
        if let Some(beats) = &mut self.drains {
            *beats = beats.saturating_sub(1);
        }
        for age in &mut self.held_up {
            *age = (*age + 1).min(WINDOW_BEATS);
        }
        if !self.alive && self.starts_in == 0 {
            *self = Self { alive: true, life: self.life + 1, ..self.next_life() };
        }
    }

    /// What stays when a life ends: the network, and what is believed of it.
    fn next_life(&self) -> Self {
        Self {
            cut_from_coordinators: self.cut_from_coordinators,
            cut_from_store: self.cut_from_store,
            late: self.late,
            late_reports: self.late_reports,
            life: self.life,
            term: self.term,
            ..Self::default()
        }
    }

    pub(super) fn crash(&mut self, starts_in: u8) {
        *self = Self { starts_in, term: 0, ..self.next_life() };
    }

    /// Its lease was refused: it closes its connections and starts a new incarnation.
    pub(super) fn restart(&mut self) {
        *self = Self { alive: true, life: self.life + 1, ..self.next_life() };
    }

    pub(super) fn acts(&self) -> bool {
        self.alive && self.stopped == 0
    }

    pub(super) fn window_is_open(&self, fences: Fences) -> bool {
        self.window > 0 || self.renews && !fences.has(Fence::ShardsStopWithTheWindow)
    }

    /// Applies a granted renewal and its age in beats.
    pub(super) fn renewed(&mut self, fences: Fences, sent_ago: u8) {
        let sent_ago = if fences.has(Fence::RenewalsCountFromSending) { sent_ago } else { 0 };
        self.window = self.window.max(WINDOW_BEATS.saturating_sub(sent_ago));
    }

    /// It handles events of this shard.
    pub(super) fn handles(&self, fences: Fences, shard: usize) -> bool {
        self.acts() && self.window_is_open(fences) && self.running[shard].is_some()
    }

    /// Nothing goes wrong with it.
    pub(super) fn is_well(&self) -> bool {
        self.alive
            && self.drains.is_none()
            && [self.cut_from_coordinators, self.cut_from_store, self.stopped, self.late, self.late_reports]
                == [0; 5]
            && self.held_up.is_empty()
            && self.reports.is_empty()
    }

    pub(super) fn says(&self) -> Said {
        Said {
            revision: self.revision,
            running: self.running,
            arriving: self.arriving,
            drains: self.drains.is_some(),
        }
    }
}

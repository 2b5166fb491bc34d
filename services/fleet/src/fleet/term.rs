//! What this coordinator knows of its own term: when it began, and what it still waits for.

use std::{collections::BTreeSet, time::Duration};

use fleet_model::{Term, WorkerId};

use super::{FleetRules, Now, Recovered};

/// Added to the lease's time to live wherever a coordinator that was away waits for its workers.
const GRACE: Duration = Duration::from_secs(1);

/// The term of this coordinator and its waits. All moments are on the monotonic clock.
#[derive(Clone, Debug)]
pub(super) struct TermState {
    pub(super) number: Term,
    /// A coordinator acted before this one, or a fleet without records was found running.
    pub(super) had_predecessor: bool,
    /// A fleet that runs nothing gets no assignment before this moment.
    pub(super) settle_until: Duration,
    /// No worker counts as silent before this moment: the coordinator itself may have been away.
    pub(super) grace_until: Duration,
    /// No shard without an owner is assigned before this moment: a worker without a record may run it.
    pub(super) unregistered_until: Duration,
    pub(super) last_tick: Duration,
    /// Since when workers of other generations wait, as the active or the named one has none.
    pub(super) active_gone_since: Option<Duration>,
    /// This coordinator stops: no more shards start to move.
    pub(super) stopping: bool,
    /// Recovered workers that have provably ended and are to come back under their names. When all are back, the fleet does not wait for
    /// more.
    pub(super) awaited: BTreeSet<WorkerId>,
}

impl TermState {
    pub(super) fn new(number: Term, recovered: &Recovered, rules: &FleetRules, now: Now) -> Self {
        let Recovered { had_predecessor, is_whole, .. } = *recovered;
        let grace_until = if had_predecessor { now.mono + grace(rules) } else { now.mono };
        Self {
            number,
            had_predecessor,
            settle_until: now.mono + rules.settle,
            grace_until,
            // Whole records name every worker that may run a shard.
            unregistered_until: if is_whole { now.mono } else { grace_until },
            last_tick: now.mono,
            active_gone_since: None,
            stopping: false,
            awaited: BTreeSet::new(),
        }
    }

    /// Notes that a worker has ended. A fleet that begins waits for it to come back.
    pub(super) fn note_ended(&mut self, worker: &WorkerId, now: Now) {
        if now.mono < self.grace_until {
            self.awaited.insert(worker.clone());
        }
    }

    /// Notes that a worker has registered, and stops waiting if it was the last that was to come back.
    pub(super) fn note_joined(&mut self, worker: &WorkerId, now: Now) {
        if self.awaited.remove(worker) && self.awaited.is_empty() {
            self.settle_until = now.mono;
        }
    }

    /// Notes a tick. After a stall of this process the workers' silence may have been its own.
    pub(super) fn note_tick(&mut self, rules: &FleetRules, now: Now) {
        if now.mono.saturating_sub(self.last_tick) >= rules.lease_ttl / 2 {
            self.grace_until = self.grace_until.max(now.mono + grace(rules));
        }
        self.last_tick = now.mono;
    }

    /// Notes that a fleet without records was found running: other workers may run the rest of it.
    pub(super) fn note_running_fleet(&mut self, rules: &FleetRules, now: Now) {
        self.had_predecessor = true;
        self.grace_until = self.grace_until.max(now.mono + grace(rules));
        self.unregistered_until = self.unregistered_until.max(self.grace_until);
    }

    /// Returns whether workers have had time to register.
    pub(super) fn has_waited(&self, now: Now) -> bool {
        now.mono >= self.settle_until.max(self.unregistered_until)
    }

    /// Returns whether a coordinator that has just begun may still not have heard from every worker.
    pub(super) fn is_starting(&self, now: Now) -> bool {
        now.mono < self.grace_until.max(self.unregistered_until)
    }
}

/// How long a coordinator that was away waits for reports.
pub(super) fn grace(rules: &FleetRules) -> Duration {
    rules.lease_ttl + GRACE
}

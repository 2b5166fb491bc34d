//! Workers that fall silent, the store's verdict on their leases, and what is lost with them.

use std::time::Duration;

use fleet_model::{Incarnation, WorkerId};

use super::{
    ASK_AGAIN, Effect, Fleet, Intent, KnownWorker, Note, Now, Ownership, RevocationCause, Slot,
    store_state::StoreTrust,
};

/// The store's verdict on a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseVerdict {
    /// The lease is over and can't be renewed any more.
    Revoked,
    /// The lease lasts this much longer.
    Live(Duration),
    /// The store can't say.
    Unknown,
}

/// How long to wait for the store's verdict.
pub(super) const VERDICT_DUE: Duration = Duration::from_secs(5);

impl Fleet {
    /// Notes that the store answers. `same`: it has not restarted since it last answered, and is no other store. A store
    /// that may have lost writes is sent the current state again.
    pub fn mark_store_up(&mut self, same: bool, now: Now) {
        if same && self.store.is_up() {
            return;
        }
        self.store.trust = StoreTrust::Since(now.mono);
        // Owners that are being written as well: that write may have been done, and lost.
        let owner = |slot: &Slot| Some(slot.owner.as_ref()?.ownership(slot.key));
        let running: Vec<Ownership> = self.slots.iter().filter_map(owner).collect();
        self.effects.extend(self.shard_total().map(Effect::WriteTotal));
        self.write_head_signing();
        if self.intent != Intent::default() {
            self.write_intent();
        }
        if !running.is_empty() {
            self.effects.push(Effect::Write(running));
        }
        self.effects.extend(self.store.repeat_revocations());
    }

    /// Notes that the store does not answer.
    pub fn mark_store_away(&mut self) {
        self.store.trust = StoreTrust::Away;
    }

    /// Returns whether the store answers.
    pub fn store_is_up(&self) -> bool {
        self.store.is_up()
    }

    /// Returns whether the store can be believed when it says that a lease has lapsed.
    pub fn store_is_trusted(&self, now: Now) -> bool {
        self.store.is_trusted(self.rules.lease_ttl, now)
    }

    /// Returns whether a worker was silent for so long that its own window has closed. Checked before its report counts.
    ///
    /// While the store cannot be believed, it is unknown whether the lease is still the worker's own: another coordinator may
    /// act by now, and expect it to lapse. Windows that never closed stay open then, as events must flow while the store is
    /// away; but none that has closed is opened again.
    pub(super) fn has_lapsed(&self, worker: &KnownWorker, now: Now) -> bool {
        let window = self.rules.lease_ttl * 4 / 5;
        let silent = now.mono.saturating_sub(worker.liveness.last_heard) >= window;
        (silent || worker.liveness.lapsed) && !self.store_is_trusted(now)
    }

    /// Asks the store about each worker that was silent for the lease's time to live.
    pub(super) fn check_silent_workers(&mut self, now: Now) {
        if now.mono < self.term.grace_until || !self.store_is_trusted(now) {
            return;
        }
        let ttl = self.rules.lease_ttl;
        for (name, worker) in &mut self.workers {
            let silent = now.mono.saturating_sub(worker.liveness.last_heard) >= ttl;
            let due = worker.liveness.lease_check.is_none_or(|at| now.mono >= at);
            if silent && due {
                worker.liveness.lease_check = Some(now.mono + VERDICT_DUE);
                let (worker, incarnation) = (name.clone(), worker.incarnation.clone());
                self.effects.push(Effect::Revoke { worker, incarnation, cause: RevocationCause::Silence });
            }
        }
    }

    /// Applies the store's verdict on a lease. A revoked worker's shards have no owner from here on.
    pub fn on_lease_verdict(
        &mut self,
        name: &WorkerId,
        incarnation: &Incarnation,
        cause: RevocationCause,
        verdict: LeaseVerdict,
        now: Now,
    ) {
        let Some(worker) = self.workers.get_mut(name).filter(|known| known.incarnation == *incarnation)
        else {
            return;
        };
        match verdict {
            LeaseVerdict::Live(remaining) => {
                worker.liveness.lease_check = Some(now.mono + remaining);
                worker.liveness.lease_unknown = false;
            }
            LeaseVerdict::Unknown => {
                worker.liveness.lease_unknown = true;
                worker.liveness.lease_check = Some(now.mono + ASK_AGAIN);
                if let Some(broken) =
                    worker.liveness.broken.as_mut().filter(|_| cause == RevocationCause::Evidence)
                {
                    broken.next = Some(now.mono + ASK_AGAIN);
                }
            }
            LeaseVerdict::Revoked => {
                self.lose(name, cause, now);
                self.advance(now);
            }
        }
    }

    /// Gives up a worker: its shards have no owner now.
    fn lose(&mut self, name: &WorkerId, cause: RevocationCause, now: Now) {
        let Some(lost) = self.workers.remove(name) else { return };
        // A connected worker whose exit was not confirmed seems alive, so no death is counted.
        let died = !(lost.liveness.exit_unconfirmed && lost.liveness.connected);
        if died {
            self.deaths.breaker.worker_died(name, now.mono);
        }
        if cause == RevocationCause::Evidence {
            self.store.note_revocation(name, lost.incarnation.clone(), now);
            self.term.note_ended(name, now);
        }
        self.cancel_handoffs_to(name);
        self.lost_in_plan(name, lost.profile.generation.as_ref(), now);
        let mut had = Vec::new();
        for slot in &mut self.slots {
            let Some(owner) = slot.owner.as_ref().filter(|owner| owner.worker == *name) else { continue };
            had.push((slot.key, owner.epoch));
            // A worker reports as soon as it is told of a shard. Without such a report it was dead already, and the shard is not to blame: when
            // many die at once, some get shards of others after their own end.
            if died && slot.report.is_some() {
                self.deaths.breaker.owner_died(slot.key, now.mono.saturating_sub(owner.since), now.mono);
            }
            slot.lose_owner();
        }
        let since_broken = lost.liveness.broken.map(|broken| now.mono.saturating_sub(broken.at));
        let (worker, incarnation) = (name.clone(), lost.incarnation.clone());
        self.note(Note::Lost { worker, incarnation, shards: had.clone(), cause, since_broken });
        self.deaths.note_loss(name, &lost.incarnation, had, now.mono);
    }
}

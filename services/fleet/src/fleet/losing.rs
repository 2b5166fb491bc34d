//! Workers that fall silent, the store's word on their leases, and what is lost with them.

use std::time::Duration;

use fleet_model::{Incarnation, ShardNumber, WorkerId};

use super::{Effect, Fleet, Intent, KnownWorker, Note, Now, Ownership, Phase, RevocationCause, StoreTrust};

/// What the store says of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseVerdict {
    /// It is over and can't be renewed any more.
    Revoked,
    /// It lives for so much longer.
    Live(Duration),
    /// The store can't say.
    Unknown,
}

/// How long to wait before the store is asked again after it could not say.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long to wait for the store's word.
pub(super) const VERDICT_DUE: Duration = Duration::from_secs(5);

impl Fleet {
    /// The store answers. `same`: it is the store that answered before, and has not restarted since; one that may have
    /// lost writes is told again what runs.
    pub fn mark_store_up(&mut self, same: bool, now: Now) {
        if same && matches!(self.store, StoreTrust::Since(_)) {
            return;
        }
        self.store = StoreTrust::Since(now.mono);
        // What is on its way as well: it may have been written before, and lost.
        let running = (0..).map(ShardNumber).zip(&self.slots).filter_map(|(shard, slot)| {
            let owner = slot.owner.as_ref()?;
            let (worker, incarnation) = (owner.worker.clone(), owner.incarnation.clone());
            Some(Ownership { shard, worker, incarnation, epoch: owner.epoch })
        });
        let running: Vec<Ownership> = running.collect();
        self.effects.extend(self.shard_total().map(Effect::WriteTotal));
        if self.intent != Intent::default() {
            self.write_intent();
        }
        if !running.is_empty() {
            self.effects.push(Effect::Write(running));
        }
        let again = self.revoked_lately.iter().map(|(worker, incarnation, _)| Effect::Revoke {
            worker: worker.clone(),
            incarnation: incarnation.clone(),
            cause: RevocationCause::Evidence,
        });
        self.effects.extend(again);
    }

    /// A lease that lived when it was revoked has lapsed after the TTL even in a store that forgot the revocation.
    pub(super) fn forget_revocations(&mut self, now: Now) {
        let kept = self.grace();
        self.revoked_lately.retain(|(_, _, at)| now.mono.saturating_sub(*at) < kept);
    }

    /// The store does not answer.
    pub fn mark_store_away(&mut self) {
        self.store = StoreTrust::Away;
    }

    /// The store can be believed when it says that a lease has lapsed.
    pub(super) fn store_is_trusted(&self, now: Now) -> bool {
        match self.store {
            StoreTrust::Away => false,
            StoreTrust::Since(since) => now.mono.saturating_sub(since) >= self.rules.lease_ttl,
        }
    }

    /// A worker was silent for so long that its own window has closed. To be asked before it counts as heard.
    ///
    /// Without a store that can be believed nobody can tell whether its lease is still its own: another coordinator may act by
    /// now, and count on it to have lapsed. Windows that never closed are kept open then, as events shall flow while the
    /// store is away; but none that has closed is opened again.
    pub(super) fn has_lapsed(&self, worker: &KnownWorker, now: Now) -> bool {
        let window = self.rules.lease_ttl * 4 / 5;
        let silent = now.mono.saturating_sub(worker.last_heard) >= window;
        (silent || worker.lapsed) && !self.store_is_trusted(now)
    }

    /// Asks the store about each worker that was silent for the TTL.
    pub(super) fn check_silent_workers(&mut self, now: Now) {
        if now.mono < self.grace_until || !self.store_is_trusted(now) {
            return;
        }
        let ttl = self.rules.lease_ttl;
        for (name, worker) in &mut self.workers {
            let silent = now.mono.saturating_sub(worker.last_heard) >= ttl;
            let due = worker.lease_check.is_none_or(|at| now.mono >= at);
            if silent && due {
                worker.lease_check = Some(now.mono + VERDICT_DUE);
                let (worker, incarnation) = (name.clone(), worker.incarnation.clone());
                self.effects.push(Effect::Revoke { worker, incarnation, cause: RevocationCause::Silence });
            }
        }
    }

    /// The store's word on a lease. A revoked worker's shards have no owner from here.
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
            LeaseVerdict::Live(remaining) => worker.lease_check = Some(now.mono + remaining),
            LeaseVerdict::Unknown => {
                worker.lease_check = Some(now.mono + ASK_AGAIN);
                if let Some(broken) = worker.broken.as_mut().filter(|_| cause == RevocationCause::Evidence) {
                    broken.next = Some(now.mono + ASK_AGAIN);
                }
            }
            LeaseVerdict::Revoked => {
                self.lose(name, cause, now);
                self.advance(now);
            }
        }
    }

    /// A worker is over: its shards are free.
    fn lose(&mut self, name: &WorkerId, cause: RevocationCause, now: Now) {
        let Some(lost) = self.workers.remove(name) else { return };
        // Everything else shows that the worker lives, so no death is counted.
        let died = !(lost.exit_unconfirmed && lost.connected);
        if died {
            self.breaker.worker_died(name, now.mono);
        }
        if cause == RevocationCause::Evidence {
            self.revoked_lately.push((name.clone(), lost.incarnation.clone(), now.mono));
        }
        self.cancel_handoffs_to(name);
        self.lost_in_plan(name, lost.generation.as_ref(), now);
        let mut had = Vec::new();
        for (shard, slot) in (0..).map(ShardNumber).zip(&mut self.slots) {
            let Some(owner) = slot.owner.as_ref().filter(|owner| owner.worker == *name) else { continue };
            had.push((shard, owner.epoch));
            // One that was never told of a shard did not die of it.
            if died && owner.phase != Phase::Writing {
                self.breaker.owner_died(shard, now.mono.saturating_sub(owner.since), now.mono);
            }
            slot.lose_owner();
        }
        let shards = had.len();
        for shard in self.kills.record_loss(name, &lost.incarnation, had, now.mono) {
            self.breaker.forgive(shard, now.mono);
        }
        let since_broken = lost.broken.map(|broken| now.mono.saturating_sub(broken.at));
        self.note(Note::Lost { worker: name.clone(), shards, cause, since_broken });
    }
}

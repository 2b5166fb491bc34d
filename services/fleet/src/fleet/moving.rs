//! Assigns shards to workers.

use fleet_model::{Epoch, WorkerId};

use super::{
    ASK_AGAIN, Effect, Fleet, Intent, KnownWorker, Note, Now, Ownership, Phase, Slot,
    slot::{PreviousOwner, ShardOwner, StartConditions},
};
use crate::placement::{self, Placement, PlacementProblem};

impl Fleet {
    /// Applies the outcome of [`Effect::Write`]. A shard whose owner was not written has no owner again; its next epoch is
    /// above the store's, if that is higher.
    pub fn on_written<'a>(
        &mut self,
        outcomes: impl IntoIterator<Item = (&'a Ownership, Result<(), Option<Epoch>>)>,
        now: Now,
    ) {
        for (ownership, outcome) in outcomes {
            self.written_one(ownership, outcome, now);
        }
        self.advance(now);
    }

    fn written_one(&mut self, ownership: &Ownership, outcome: Result<(), Option<Epoch>>, now: Now) {
        let Some(slot) = self.slots.get_mut(ownership.shard.slot().0 as usize) else { return };
        let Some(owner) = slot.owner.as_mut() else { return };
        if owner.worker != ownership.worker || owner.epoch != ownership.epoch {
            return;
        }
        if outcome.is_ok() {
            slot.refused = 0;
        }
        match outcome {
            Ok(()) if owner.phase == Phase::Writing => {
                owner.phase = Phase::Running;
                owner.since = now.mono;
                slot.confirmed = true;
                slot.ran = true;
                slot.handoff = None;
                let released = |previous: &&PreviousOwner| owner.start.handed_over == Some(previous.epoch);
                let from = slot.previous_owner.as_ref().filter(released);
                let from = from.map(|previous| previous.worker.clone());
                self.note(Note::Assigned { owner: ownership.clone(), from });
            }
            Ok(()) => {}
            Err(outranked_by) => {
                match outranked_by {
                    Some(epoch) => slot.highest = slot.highest.max(epoch),
                    // An immediate retry would fail in the same way.
                    None => slot.assign_at = now.mono + ASK_AGAIN,
                }
                // A shard that its worker runs already stays with it while the store is away.
                if owner.phase == Phase::Writing || outranked_by.is_some() {
                    slot.lose_owner();
                }
                // A worker that this coordinator has not heard from had the shard.
                if let Some(by) = outranked_by {
                    slot.ran = true;
                    slot.previous_owner = None;
                    slot.write_was_refused(now);
                    if slot.refused == 1 {
                        self.note(Note::Outranked { shard: ownership.shard, by });
                    }
                }
            }
        }
    }

    /// Assigns shards without an owner, and moves shards that should run elsewhere. `none_unregistered`: the store has just
    /// shown that no other worker can have a shard that is not confirmed.
    pub(super) fn assign_and_move(&mut self, now: Now, none_unregistered: bool) {
        if self.total.settled().is_none() || self.is_settling(now) || self.may_have_stopped(now) {
            return;
        }
        let target = placement::solve(&self.placement_problem(&self.intent, None, now));
        self.assign_free(&target, now, none_unregistered);
        self.find_unregistered(&target, now);
        if now.mono >= self.term.grace_until {
            self.advance_handoffs(&target, now);
        }
    }

    /// Returns whether a fleet still waits for its workers: one that runs nothing, so that they share the shards from the
    /// start; one with an earlier coordinator, as unregistered workers may run shards without a known owner.
    pub(super) fn is_settling(&self, now: Now) -> bool {
        self.runs_nothing() && now.mono < self.term.settle_until
            || self.slots.iter().any(|slot| slot.owner.is_none()) && now.mono < self.term.unregistered_until
    }

    /// Returns whether another total is wanted and no connected worker runs shards. Then no shard is assigned under the old
    /// total: once the last lease has lapsed, the fleet has stopped and takes the new one.
    fn may_have_stopped(&self, now: Now) -> bool {
        self.total.next_total(now).is_some() && !self.has_connected_owner()
    }

    /// Returns the placement problem under an intent, optionally without a worker that leaves: shards without an owner and
    /// shards of connected workers. Shards of a silent worker are left out, as they may run, and so are shards that the breaker
    /// holds back. A worker that is held back keeps its shards and gets no more.
    pub(super) fn placement_problem(
        &self,
        intent: &Intent,
        leaving: Option<&WorkerId>,
        now: Now,
    ) -> PlacementProblem {
        let takes = |name: &WorkerId, worker: &KnownWorker| {
            leaving != Some(name) && worker.is_available() && intent.is_active(worker)
        };
        // A worker that cannot reach the store writes no checkpoints: prefer another one.
        let others = self.workers.iter().any(|(name, worker)| takes(name, worker) && !worker.store_away);
        let mut problem = PlacementProblem::default();
        for (name, worker) in self.workers.iter().filter(|(name, worker)| takes(name, worker)) {
            let poor = worker.store_away && others;
            let held = poor || self.deaths.breaker.worker(name, now.mono).is_some();
            let capacity = if held { Some(self.count_shards(name)) } else { worker.profile.capacity };
            problem.workers.insert(name.clone(), capacity);
        }
        for slot in &self.slots {
            let shard = slot.key;
            let holder = match &slot.owner {
                None if self.deaths.breaker.shard(shard, now.mono).is_some() => continue,
                None => None,
                Some(owner) => match owner.phase {
                    Phase::Releasing { .. } => None,
                    Phase::Writing | Phase::Running => {
                        match self.workers.get(&owner.worker) {
                            Some(worker) if worker.liveness.connected => {}
                            _ => continue,
                        }
                        Some(&owner.worker)
                    }
                },
            };
            let pin = intent.pins.get(&shard.slot()).filter(|worker| problem.workers.contains_key(*worker));
            if pin.is_some() {
                problem.pinned.insert(shard);
            }
            // A shard that is moving counts as the target's.
            let arriving = self.handoff_target(slot).filter(|worker| problem.workers.contains_key(*worker));
            problem.shards.insert(shard, pin.or(arriving).or(holder).cloned());
        }
        problem
    }

    /// Returns whether shards may be placed on a worker.
    pub(super) fn takes_shards(&self, worker: &KnownWorker) -> bool {
        worker.is_available() && self.intent.is_active(worker)
    }

    /// Returns how many shards a worker owns.
    pub(super) fn count_shards(&self, worker: &WorkerId) -> u32 {
        let owners = self.slots.iter().filter_map(|slot| slot.owner.as_ref());
        owners.filter(|owner| owner.worker == *worker).count() as u32
    }

    fn assign_free(&mut self, target: &Placement, now: Now, none_unregistered: bool) {
        if !self.store.is_up() {
            return;
        }
        let mut unwritten = Vec::new();
        for slot in &mut self.slots {
            let shard = slot.key;
            if slot.owner.is_some() || !slot.confirmed && !none_unregistered || !slot.may_be_written(now) {
                continue;
            }
            let Some(worker) = target.get(&shard) else { continue };
            let Some(known) = self.workers.get_mut(worker) else { continue };
            let Some(epoch) = next_epoch(slot, now) else { continue };
            known.owned.insert(shard.slot());
            slot.highest = epoch;
            slot.report = None;
            slot.handoff.take_if(|handoff| handoff.to != *worker);
            slot.owner = Some(ShardOwner {
                worker: worker.clone(),
                incarnation: known.incarnation.clone(),
                epoch,
                phase: Phase::Writing,
                since: now.mono,
                found: false,
                must_identify: slot.handoff.as_ref().is_some_and(|handoff| handoff.must_identify),
                start_ended: false,
                start: StartConditions {
                    handed_over: slot.previous_owner.as_ref().map(|previous_owner| previous_owner.epoch),
                    careful: self.deaths.breaker.needs_care(shard),
                    suspected: self.deaths.breaker.suspects(shard, now.mono),
                    killed: self.deaths.kills.killed_epochs(shard),
                    ran_before: slot.ran,
                },
            });
            let incarnation = known.incarnation.clone();
            unwritten.push(Ownership { shard, worker: worker.clone(), incarnation, epoch });
        }
        if !unwritten.is_empty() {
            self.effects.push(Effect::Write(unwritten));
        }
    }
}

/// Returns the next epoch of a shard: above every known one, and above any that the store may have lost. `None` when the
/// highest possible epoch is used.
fn next_epoch(slot: &Slot, now: Now) -> Option<Epoch> {
    Some(Epoch(now.unix_ms.max(slot.highest.0.checked_add(1)?)))
}

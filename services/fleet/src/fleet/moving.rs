//! Shards that are assigned, and shards that move.

use std::collections::BTreeMap;

use fleet_model::{Epoch, ShardNumber, WorkerId};

use super::{
    Effect, Fleet, Intent, KnownWorker, Note, Now, Ownership, Phase, ShardOwner, Slot, losing::ASK_AGAIN,
};
use crate::placement::{self, PlacementProblem};

impl Fleet {
    /// The outcome of [`Effect::Write`]. What was not written is free again, and its next epoch is above the one that the
    /// store knows, if it knows a higher one.
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
        let Some(slot) = self.slots.get_mut(ownership.shard.0 as usize) else { return };
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
                self.note(Note::Assigned(ownership.clone()));
            }
            Ok(()) => {}
            Err(outranked_by) => {
                match outranked_by {
                    Some(epoch) => slot.highest = slot.highest.max(epoch),
                    // An immediate retry would fail the same way.
                    None => slot.assign_at = now.mono + ASK_AGAIN,
                }
                // What a worker runs already stays its own while the store is away.
                if owner.phase == Phase::Writing || outranked_by.is_some() {
                    slot.lose_owner();
                }
                // A worker had the shard that this coordinator has not heard from.
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

    /// Gives the shards that nobody owns to workers, and asks shards back that should run elsewhere. `none_unregistered`: the
    /// store has just shown that nobody else can have what is not confirmed.
    pub(super) fn assign_and_move(&mut self, now: Now, none_unregistered: bool) {
        if self.total.settled().is_none() || self.is_settling(now) || self.may_have_stopped(now) {
            return;
        }
        let target = placement::solve(&self.placement_problem(&self.intent, None, now));
        self.assign_free(&target, now, none_unregistered);
        self.find_unregistered(&target, now);
        if now.mono >= self.grace_until {
            self.advance_handoffs(&target, now);
        }
    }

    /// A fleet that runs nothing waits for its workers, so that they share the shards from the start. One that had a
    /// coordinator before waits for workers that run shards nobody wrote down.
    pub(super) fn is_settling(&self, now: Now) -> bool {
        self.runs_nothing() && now.mono < self.settle_until
            || self.slots.iter().any(|slot| slot.owner.is_none()) && now.mono < self.unregistered_until
    }

    /// Another total is to be taken and nobody who can be talked to runs anything: when the last lease turns out to have
    /// lapsed, the fleet has stopped and takes it. Until then no shard is handed out under the old one.
    fn may_have_stopped(&self, now: Now) -> bool {
        self.next_total(now).is_some() && !self.has_connected_owner()
    }

    /// Shards without an owner, and those of workers that can be talked to, under what is wanted, and as if a worker were
    /// leaving. The shards of a silent worker are not touched: they may run. What the breaker holds back is left out; a worker
    /// that it holds back keeps what it runs.
    pub(super) fn placement_problem(
        &self,
        intent: &Intent,
        leaving: Option<&WorkerId>,
        now: Now,
    ) -> PlacementProblem {
        let takes = |name: &WorkerId, worker: &KnownWorker| {
            leaving != Some(name)
                && worker.connected
                && !worker.draining
                && !worker.token.excluded
                && intent.is_active(worker)
        };
        // A worker that cannot reach the store writes no checkpoints: prefer another one.
        let others = self.workers.iter().any(|(name, worker)| takes(name, worker) && !worker.store_away);
        let mut problem = PlacementProblem::default();
        for (name, worker) in self.workers.iter().filter(|(name, worker)| takes(name, worker)) {
            let poor = worker.store_away && others;
            let held = poor || self.breaker.worker(name, now.mono).is_some();
            let capacity = if held { Some(self.count_shards(name)) } else { worker.capacity };
            problem.workers.insert(name.clone(), capacity);
        }
        for (shard, slot) in (0..).map(ShardNumber).zip(&self.slots) {
            let holder = match &slot.owner {
                None if self.breaker.shard(shard, now.mono).is_some() => continue,
                None => None,
                Some(owner) => match owner.phase {
                    Phase::Releasing { .. } => None,
                    Phase::Writing | Phase::Running => {
                        match self.workers.get(&owner.worker) {
                            Some(worker) if worker.connected => {}
                            _ => continue,
                        }
                        Some(&owner.worker)
                    }
                },
            };
            let pin = intent.pins.get(&shard).filter(|worker| problem.workers.contains_key(*worker));
            if pin.is_some() {
                problem.pinned.insert(shard);
            }
            // One that is on its way counts as there already.
            let arriving = self.handoff_target(slot).filter(|worker| problem.workers.contains_key(*worker));
            problem.shards.insert(shard, pin.or(arriving).or(holder).cloned());
        }
        problem
    }

    /// Shards may be placed on it.
    pub(super) fn takes_shards(&self, worker: &KnownWorker) -> bool {
        worker.connected && !worker.draining && !worker.token.excluded && self.intent.is_active(worker)
    }

    /// How many shards a worker has.
    pub(super) fn count_shards(&self, worker: &WorkerId) -> u32 {
        let owners = self.slots.iter().filter_map(|slot| slot.owner.as_ref());
        owners.filter(|owner| owner.worker == *worker).count() as u32
    }

    fn assign_free(&mut self, target: &BTreeMap<ShardNumber, WorkerId>, now: Now, none_unregistered: bool) {
        if !self.store_is_up() {
            return;
        }
        let mut unwritten = Vec::new();
        for (shard, slot) in (0..).map(ShardNumber).zip(&mut self.slots) {
            if slot.owner.is_some() || !slot.confirmed && !none_unregistered || !slot.may_be_written(now) {
                continue;
            }
            let Some(worker) = target.get(&shard) else { continue };
            let Some(known) = self.workers.get(worker) else { continue };
            let Some(epoch) = next_epoch(slot, now) else { continue };
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
                handed_over: slot.previous_owner.as_ref().map(|previous_owner| previous_owner.epoch),
                identifies: slot.handoff.as_ref().is_some_and(|handoff| handoff.identifies),
                start_ended: false,
                careful: self.breaker.needs_care(shard),
                suspected: self.breaker.suspects(shard, now.mono),
                killed: self.kills.killed_epochs(shard),
                ran_before: slot.ran,
            });
            let incarnation = known.incarnation.clone();
            unwritten.push(Ownership { shard, worker: worker.clone(), incarnation, epoch });
        }
        if !unwritten.is_empty() {
            self.effects.push(Effect::Write(unwritten));
        }
    }

    /// Without the store no epoch can be made: what runs goes on, nothing changes hands.
    pub(super) fn store_is_up(&self) -> bool {
        !matches!(self.store, super::StoreTrust::Away)
    }
}

/// The next epoch of a shard: above every known one, and above any that the store may have lost. `None` when the
/// highest is used.
fn next_epoch(slot: &Slot, now: Now) -> Option<Epoch> {
    Some(Epoch(now.unix_ms.max(slot.highest.0.checked_add(1)?)))
}

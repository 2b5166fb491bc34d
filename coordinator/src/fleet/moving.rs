//! Shards that are assigned, and shards that move.

use std::collections::BTreeMap;

use fleet_model::{Epoch, ShardNumber, ShardStatus, WorkerId};

use super::{Effect, Fleet, Note, Now, Owner, Ownership, Phase, Slot, Worker};
use crate::placement::{self, Problem};

/// An owner that has not got its shard ready after this long no longer holds other moves up.
const LANDING: std::time::Duration = std::time::Duration::from_secs(30);

impl Fleet {
    /// The outcome of [`Effect::Write`]. What was not written is free again, and its next epoch is above the one that the
    /// store knows, if it knows a higher one.
    pub fn written<'a>(
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
        match outcome {
            Ok(()) if owner.phase == Phase::Writing => {
                owner.phase = Phase::Running;
                owner.since = now.mono;
                slot.confirmed = true;
                self.note(Note::Assigned(ownership.clone()));
            }
            Ok(()) => {}
            Err(outranked_by) => {
                slot.highest = slot.highest.max(outranked_by.unwrap_or_default());
                // What a worker runs already stays its own while the store is away.
                if owner.phase == Phase::Writing || outranked_by.is_some() {
                    slot.owner = None;
                    slot.report = None;
                }
            }
        }
    }

    /// Gives the shards that nobody owns to workers, and asks shards back that should run elsewhere. `no_strangers`: the
    /// store has just shown that nobody else can have what is not confirmed.
    pub(super) fn assign_and_move(&mut self, now: Now, no_strangers: bool) {
        if self.total.settled().is_none() || self.is_settling(now) || self.may_have_stopped(now) {
            return;
        }
        let target = placement::solve(&self.problem(now));
        self.assign_free(&target, now, no_strangers);
        self.ask_for_strangers(&target, now);
        if now.mono >= self.grace_until {
            self.ask_back(&target, now);
        }
    }

    /// A fleet that runs nothing waits for its workers, so that they share the shards from the start. One that had a
    /// coordinator before waits for workers that run shards nobody wrote down.
    fn is_settling(&self, now: Now) -> bool {
        self.runs_nothing() && now.mono < self.settle_until
            || self.slots.iter().any(|slot| slot.owner.is_none()) && now.mono < self.strangers_until
    }

    /// Another total is to be taken and nobody who can be talked to runs anything: when the last lease turns out to have
    /// lapsed, the fleet has stopped and takes it. Until then no shard is handed out under the old one.
    fn may_have_stopped(&self, now: Now) -> bool {
        self.total_to_take(now).is_some() && !self.runs_and_talks()
    }

    /// Shards without an owner, and those of workers that can be talked to. The shards of a silent worker are not
    /// touched: they may run. What the breaker holds back is left out; a worker that it holds back keeps what it runs.
    fn problem(&self, now: Now) -> Problem {
        let reachable = |worker: &Worker| worker.connected;
        let shards = (0..).map(ShardNumber).zip(&self.slots).filter_map(|(shard, slot)| match &slot.owner {
            None => self.breaker.shard(shard, now.mono).is_none().then_some((shard, None)),
            Some(owner) => match owner.phase {
                Phase::Releasing { .. } => Some((shard, None)),
                Phase::Writing | Phase::Running => {
                    let known = self.workers.get(&owner.worker).is_some_and(reachable);
                    known.then(|| (shard, Some(owner.worker.clone())))
                }
            },
        });
        let workers = self.workers.iter().filter(|(_, worker)| reachable(worker) && !worker.draining).map(
            |(name, worker)| match self.breaker.worker(name, now.mono) {
                Some(_) => (name.clone(), Some(self.holds(name))),
                None => (name.clone(), worker.capacity),
            },
        );
        Problem { shards: shards.collect(), workers: workers.collect() }
    }

    /// How many shards a worker has.
    fn holds(&self, worker: &WorkerId) -> u32 {
        let owners = self.slots.iter().filter_map(|slot| slot.owner.as_ref());
        owners.filter(|owner| owner.worker == *worker).count() as u32
    }

    fn assign_free(&mut self, target: &BTreeMap<ShardNumber, WorkerId>, now: Now, no_strangers: bool) {
        if !self.store_is_up() {
            return;
        }
        let mut unwritten = Vec::new();
        for (shard, slot) in (0..).map(ShardNumber).zip(&mut self.slots) {
            if slot.owner.is_some() || !slot.confirmed && !no_strangers {
                continue;
            }
            let Some(worker) = target.get(&shard) else { continue };
            let Some(known) = self.workers.get(worker) else { continue };
            let epoch = next_epoch(slot, now);
            slot.highest = epoch;
            slot.report = None;
            slot.owner = Some(Owner {
                worker: worker.clone(),
                incarnation: known.incarnation.clone(),
                epoch,
                phase: Phase::Writing,
                since: now.mono,
                found: false,
                careful: self.breaker.asks_for_care(shard),
            });
            let incarnation = known.incarnation.clone();
            unwritten.push(Ownership { shard, worker: worker.clone(), incarnation, epoch });
        }
        if !unwritten.is_empty() {
            self.effects.push(Effect::Write(unwritten));
        }
    }

    /// Asks back as many shards as may move at once; the others keep running until it is their turn.
    fn ask_back(&mut self, target: &BTreeMap<ShardNumber, WorkerId>, now: Now) {
        let under_way = self.slots.iter().filter(|slot| is_under_way(slot, now)).count();
        let room = self.rules.moves_at_once.saturating_sub(under_way);
        if room == 0 || !self.store_is_up() {
            return;
        }
        let mut notes = Vec::new();
        for (shard, slot) in (0..).map(ShardNumber).zip(&mut self.slots) {
            if notes.len() == room {
                break;
            }
            let Some(owner) = slot.owner.as_mut() else { continue };
            let Some(wanted) = target.get(&shard) else { continue };
            if owner.phase != Phase::Running || *wanted == owner.worker {
                continue;
            }
            if self.workers.get(wanted).is_none_or(|worker| now.mono < worker.calm_until) {
                continue;
            }
            let Some(worker) = self.workers.get(&owner.worker).filter(|worker| worker.connected) else {
                continue;
            };
            // One that was never told to run it has nothing to stop; it is told first.
            if !worker.assignment.shards.contains_key(&shard) {
                continue;
            }
            // This change will be the next revision: changes of one step are sent as one.
            owner.phase = Phase::Releasing { revision: worker.assignment.revision + 1 };
            notes.push(Note::Releasing { shard, from: owner.worker.clone() });
        }
        for note in notes {
            self.note(note);
        }
    }

    /// Without the store no epoch can be made: what runs goes on, nothing changes hands.
    pub(super) fn store_is_up(&self) -> bool {
        !matches!(self.store, super::StoreTrust::Away)
    }
}

/// The next epoch of a shard: above every one that is known, and above any that a store with lost writes forgot.
fn next_epoch(slot: &Slot, now: Now) -> Epoch {
    Epoch(now.unix_ms.max(slot.highest.0 + 1))
}

/// A shard that is down because it is on its way somewhere.
fn is_under_way(slot: &Slot, now: Now) -> bool {
    let Some(owner) = &slot.owner else { return false };
    match owner.phase {
        Phase::Releasing { .. } | Phase::Writing => true,
        Phase::Running => {
            let landed = slot.report.as_ref().is_some_and(|observed| {
                matches!(observed.report.status, ShardStatus::Ready | ShardStatus::Failed)
            });
            !landed && now.mono.saturating_sub(owner.since) < LANDING
        }
    }
}

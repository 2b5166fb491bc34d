//! Reports of workers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fleet_model::{
    Epoch, Incarnation, ShardReport, ShardSlot, ShardStatus, StartOutcome, WorkerId, WorkerReport,
};

use super::{Effect, Fleet, Note, Now, Phase, Slot, slot::Observed};

/// How recent the last tick must be for a report to leave time-based decisions to the next one.
const TICKED: Duration = Duration::from_millis(200);

/// Whether a report renews its worker's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The lease is renewed.
    Renewed,
    /// The lease has lapsed, and the store cannot be asked whether another worker holds its shards.
    NotRenewed,
}

/// The report comes from an incarnation that is not in the fleet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{worker} ({incarnation}) is not in the fleet: register again")]
pub struct UnknownWorker {
    /// The name.
    pub worker: WorkerId,
    /// The incarnation.
    pub incarnation: Incarnation,
}

impl Fleet {
    /// Applies a report. Its entry for a shard counts only at the shard's current epoch.
    ///
    /// # Errors
    /// [`UnknownWorker`] when no such incarnation has registered, or it was revoked.
    pub fn report(
        &mut self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        report: WorkerReport,
        now: Now,
    ) -> Result<LeaseAnswer, UnknownWorker> {
        let unknown = || UnknownWorker { worker: worker.clone(), incarnation: incarnation.clone() };
        let known = self.workers.get(worker).filter(|known| known.incarnation == *incarnation);
        let lapsed = self.has_lapsed(known.ok_or_else(unknown)?, now);
        let known = self.workers.get_mut(worker).ok_or_else(unknown)?;
        let mut changed = report.draining && !known.draining;
        if changed {
            let (worker, incarnation) = (worker.clone(), incarnation.clone());
            self.effects.push(Effect::Note(Note::Draining { worker, incarnation }));
        }
        changed |= known.liveness.note_report(lapsed, now.mono);
        known.rss_bytes = report.rss_bytes;
        known.figures = report.figures;
        known.draining |= report.draining;
        known.store_away = report.store_away;
        if report.leaving {
            self.leave(worker, incarnation, now);
            return Ok(LeaseAnswer::Renewed);
        }

        let url = known.profile.url.clone();
        let running: BTreeMap<ShardSlot, Epoch> =
            report.shards.iter().map(|shard| (shard.shard, shard.epoch)).collect();
        let released: BTreeMap<ShardSlot, Epoch> = report.released.into_iter().collect();
        let mut owned = std::mem::take(&mut known.owned);
        owned.retain(|shard| {
            let Some(slot) = self.slots.get_mut(shard.0 as usize) else { return false };
            let Some(owner) = slot.owner.as_ref().filter(|owner| owner.worker == *worker) else {
                return false;
            };
            let given_up = released.get(shard) == Some(&owner.epoch);
            let stopped = match owner.phase {
                Phase::Releasing { revision } => {
                    report.assignment_revision >= revision && !running.contains_key(shard)
                }
                Phase::Writing | Phase::Running => false,
            };
            changed |= stopped || given_up;
            if stopped {
                slot.release(&url, now);
            } else if given_up {
                slot.lose_owner();
            }
            !(stopped || given_up)
        });
        if let Some(known) = self.workers.get_mut(worker) {
            known.owned = owned;
        }
        let mut got_ready = false;
        changed |= !report.arrived.is_empty();
        for (shard, epoch) in report.arrived {
            self.mark_copied(worker, shard, epoch);
        }
        for shard_report in report.shards {
            let Some(slot) = self.slots.get_mut(shard_report.shard.0 as usize) else { continue };
            let Some(owner) = slot.owner.as_ref() else { continue };
            if owner.worker == *worker && owner.epoch == shard_report.epoch {
                if let Some(outcome) = slot.new_outcome(&shard_report) {
                    let (shard, worker, epoch) = (slot.key, worker.clone(), shard_report.epoch);
                    self.effects.push(Effect::Note(Note::Started { shard, worker, epoch, outcome }));
                }
                let status = slot.report.as_ref().map(|last| last.report.status);
                changed |= !slot.confirmed || status != Some(shard_report.status);
                got_ready |= shard_report.status == ShardStatus::Ready && status != Some(ShardStatus::Ready);
                slot.confirmed = true;
                slot.report = Some(Observed { report: Arc::new(shard_report), at: now.mono });
                slot.note_start_end();
            }
        }
        if got_ready && let Some(known) = self.workers.get_mut(worker) {
            known.token.accepted();
        }
        // Most reports change no decision; time-based decisions are left to the next tick.
        if changed || now.mono.saturating_sub(self.term.last_tick) >= TICKED {
            self.advance(now);
        }
        Ok(if lapsed { LeaseAnswer::NotRenewed } else { LeaseAnswer::Renewed })
    }

    /// Removes a worker that runs no shards and exits: its lease need not lapse first.
    fn leave(&mut self, worker: &WorkerId, incarnation: &Incarnation, now: Now) {
        let url = self.workers.remove(worker).map(|gone| gone.profile.url).unwrap_or_default();
        self.cancel_handoffs_to(worker);
        for slot in &mut self.slots {
            let Some(owner) = slot.owner.as_ref().filter(|owner| owner.worker == *worker) else { continue };
            // It closed its shards in order, so copies of them are complete.
            match owner.phase {
                Phase::Writing => slot.lose_owner(),
                Phase::Running | Phase::Releasing { .. } => slot.release(&url, now),
            }
        }
        self.effects.push(Effect::Forget(worker.clone(), incarnation.clone()));
        self.note(Note::Left { worker: worker.clone(), incarnation: incarnation.clone() });
        self.advance(now);
    }
}

impl Slot {
    /// Returns the outcome in its owner's report, if it is new. The first outcome of an owner that ran the shard before this
    /// coordinator started is not: it may be days old.
    fn new_outcome(&self, report: &ShardReport) -> Option<StartOutcome> {
        let outcome = report.outcome.as_ref()?;
        let news = match &self.report {
            Some(last) => last.report.outcome.as_ref() != Some(outcome),
            None => !self.owner.as_ref()?.found,
        };
        news.then(|| outcome.clone())
    }
}

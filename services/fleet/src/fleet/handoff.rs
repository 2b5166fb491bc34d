//! The handoff of a shard from one live worker to another.
//!
//! A shard that is still starting stays with its owner, for [`START_WAIT`] at most.
//!
//! 1. The target is told that the shard arrives ([`Handoff`]), and copies it while the owner runs it.
//! 2. The target reports that it has the copy; or [`COPY_WAIT`] is over, and the shard moves without one.
//! 3. The owner is told to release the shard ([`Phase::Releasing`]). It stops the shard, writes an exact checkpoint and sends
//!    the target what has changed since the copy; then it reports without the shard.
//! 4. The target is written as the owner under a higher epoch, and told. It resumes from its copy if it is told that the
//!    previous owner handed the shard over at the epoch of the copy; otherwise from the checkpoint.
//!
//! Each step follows from the state alone. So if a worker dies, or a message comes late or twice, the shard is with its owner,
//! without an owner, or with the target. The target is computed again from [`placement`](crate::placement) at each step: a
//! handoff to a worker that is gone is cancelled.

use std::time::Duration;

use fleet_model::{Epoch, ShardSlot, ShardStatus, WorkerId};

use super::{
    Fleet, KnownWorker, Note, Now, Phase, Slot,
    slot::{Handoff, Observed, PreviousOwner},
};
use crate::placement::Placement;

/// An owner whose shard is not ready after this long no longer delays other moves.
pub(super) const START_WAIT: Duration = Duration::from_secs(30);

/// How long a target may take to copy a shard. After that the shard moves without a copy, which takes longer.
const COPY_WAIT: Duration = Duration::from_secs(10);

/// How long the previous owner answers for a shard that is not ready on its new owner.
const ANSWERS_FOR: Duration = Duration::from_secs(10);

/// How many more shards may start to move.
struct HandoffQuota {
    handoffs: usize,
    identifies: usize,
}

impl HandoffQuota {
    /// Takes one move out of the quota; false when it is used up.
    fn take(&mut self, must_identify: bool) -> bool {
        let enough = self.handoffs > 0 && (!must_identify || self.identifies > 0);
        if enough {
            self.handoffs -= 1;
            self.identifies -= usize::from(must_identify);
        }
        enough
    }
}

impl Fleet {
    /// Starts as many handoffs as may run at once, and has shards released whose target has its copy.
    pub(super) fn advance_handoffs(&mut self, target: &Placement, now: Now) {
        self.cancel_stale_handoffs(target);
        if !self.store.is_up() || self.term.stopping {
            return;
        }
        let mut quota = self.handoff_quota(now);
        let mut notes = Vec::new();
        for number in 0..self.slots.len() {
            let slot = &self.slots[number];
            let shard = slot.key;
            let Some(wanted) = target.get(&shard) else { continue };
            let Some(owner) = &slot.owner else { continue };
            if owner.phase != Phase::Running || *wanted == owner.worker {
                continue;
            }
            let (Some(to), Some(from)) = (self.workers.get(wanted), self.workers.get(&owner.worker)) else {
                continue;
            };
            // An owner that was never told to run the shard has nothing to hand over; it is told first.
            if !from.liveness.connected
                || !from.assignment.shards.contains_key(&shard)
                || slot.is_starting(now)
            {
                continue;
            }
            let from_name = owner.worker.clone();
            match &slot.handoff {
                None => {
                    let must_identify = needs_identify(from, to);
                    if now.mono < to.calm_until || !quota.take(must_identify) {
                        continue;
                    }
                    let handoff = Handoff {
                        to: wanted.clone(),
                        incarnation: to.incarnation.clone(),
                        since: now.mono,
                        // A target that can't resume the session needs no copy; an older version makes none.
                        copied: must_identify || to.profile.needs.is_none(),
                        must_identify,
                    };
                    notes.push(Note::Moving { shard, from: from_name, to: wanted.clone() });
                    self.slots[number].handoff = Some(handoff);
                }
                Some(handoff) if handoff.copied || now.mono.saturating_sub(handoff.since) >= COPY_WAIT => {
                    // This change will be the next revision: changes of one step are sent as one.
                    let revision = from.assignment.revision + 1;
                    notes.push(Note::Releasing { shard, from: from_name, copied: handoff.copied });
                    if let Some(owner) = &mut self.slots[number].owner {
                        owner.phase = Phase::Releasing { revision };
                    }
                }
                Some(_) => {}
            }
        }
        for note in notes {
            self.note(note);
        }
    }

    /// Starts no more handoffs: the coordinator stops.
    pub fn stop_moving(&mut self) {
        self.term.stopping = true;
    }

    /// Returns whether a shard is between two workers, so that neither runs it.
    pub fn has_shards_in_transit(&self) -> bool {
        let in_transit = |slot: &Slot| match &slot.owner {
            Some(owner) => owner.phase != Phase::Running,
            None => slot.previous_owner.is_some(),
        };
        self.slots.iter().any(in_transit)
    }

    /// Cancels handoffs whose target owns the shard, is gone, or is no longer the wanted one.
    fn cancel_stale_handoffs(&mut self, target: &Placement) {
        for slot in &mut self.slots {
            let owner = slot.owner.as_ref();
            let there = owner.is_some_and(|owner| {
                owner.phase == Phase::Running && slot.handoff.as_ref().is_some_and(|it| it.to == owner.worker)
            });
            let elsewhere = slot.handoff.as_ref().is_some_and(|handoff| {
                let alive =
                    self.workers.get(&handoff.to).is_some_and(|to| to.incarnation == handoff.incarnation);
                !alive || target.get(&slot.key).is_some_and(|wanted| *wanted != handoff.to)
            });
            if there || elsewhere {
                slot.handoff = None;
            }
        }
    }

    fn handoff_quota(&self, now: Now) -> HandoffQuota {
        let under_way = self.slots.iter().filter(|slot| slot.is_under_way(now)).count();
        // Shards that wait for a permit count too: the identify queue is busy with them.
        let identifying = self.slots.iter().filter(|slot| slot.is_identifying()).count();
        HandoffQuota {
            handoffs: self.rules.moves_at_once.saturating_sub(under_way),
            identifies: self.rules.identifies_at_once.saturating_sub(identifying),
        }
    }

    /// Returns the target of a handoff if it can still take the shard: placement counts the shard as the target's.
    pub(super) fn handoff_target<'a>(&self, slot: &'a Slot) -> Option<&'a WorkerId> {
        let handoff = slot.handoff.as_ref()?;
        let to = self.workers.get(&handoff.to)?;
        (to.incarnation == handoff.incarnation && self.takes_shards(to)).then_some(&handoff.to)
    }

    /// Notes that the target has copied a shard at this epoch.
    pub(super) fn mark_copied(&mut self, worker: &WorkerId, shard: ShardSlot, epoch: Epoch) {
        let Some(slot) = self.slots.get_mut(shard.0 as usize) else { return };
        if slot.owner.as_ref().is_some_and(|owner| owner.epoch == epoch)
            && let Some(handoff) = slot.handoff.as_mut().filter(|handoff| handoff.to == *worker)
        {
            handoff.copied = true;
        }
    }

    /// Cancels the handoffs to a worker that is gone, and its copies with it.
    pub(super) fn cancel_handoffs_to(&mut self, worker: &WorkerId) {
        for slot in &mut self.slots {
            slot.handoff.take_if(|handoff| handoff.to == *worker);
        }
    }

    /// Returns the previous owner while it answers for the shard, as the new owner is not ready yet.
    pub(super) fn answering_previous_owner<'a>(&self, slot: &'a Slot, now: Now) -> Option<&'a PreviousOwner> {
        let previous_owner = slot.previous_owner.as_ref()?;
        let known = self.workers.get(&previous_owner.worker)?;
        let fresh = now.mono.saturating_sub(previous_owner.at) < ANSWERS_FOR;
        (known.incarnation == previous_owner.incarnation && fresh && !slot.has_ended_start())
            .then_some(previous_owner)
    }
}

impl Slot {
    /// Notes that the owner released the shard in order.
    pub(super) fn release(&mut self, url: &str, now: Now) {
        if let Some(owner) = self.owner.take() {
            self.previous_owner = Some(PreviousOwner {
                url: url.to_owned(),
                worker: owner.worker,
                incarnation: owner.incarnation,
                epoch: owner.epoch,
                at: now.mono,
            });
        }
        self.report = None;
    }

    /// Removes an owner that did not release the shard in order. An earlier release is not the newest state any more.
    pub(super) fn lose_owner(&mut self) {
        if self.owner.take().is_some_and(|owner| owner.phase != Phase::Writing) {
            self.previous_owner = None;
        }
        self.report = None;
    }

    /// Returns whether the owner reported the shard as ready or failed.
    pub(super) fn has_ended_start(&self) -> bool {
        self.report.as_ref().is_some_and(Observed::has_ended_start)
    }

    /// Returns whether the owner is still resuming another owner's session. Pending events are still being delivered; a
    /// move now would mark all of them as replayed. Slow owners are not waited for.
    fn is_starting(&self, now: Now) -> bool {
        let waits = self.report.as_ref().is_some_and(|observed| {
            matches!(observed.report.status, ShardStatus::Queued | ShardStatus::Identifying)
        });
        self.owner.as_ref().is_some_and(|owner| {
            !owner.start_ended && !waits && now.mono.saturating_sub(owner.since) < START_WAIT
        })
    }

    /// Returns whether the shard is moving: being copied, stopped, or not ready again.
    pub(super) fn is_under_way(&self, now: Now) -> bool {
        if self.handoff.is_some() {
            return true;
        }
        let Some(owner) = &self.owner else { return false };
        match owner.phase {
            Phase::Releasing { .. } | Phase::Writing => true,
            Phase::Running => !self.has_ended_start() && now.mono.saturating_sub(owner.since) < START_WAIT,
        }
    }

    /// Returns whether the shard waits for a permit or for READY, or moves to a worker where it must.
    fn is_identifying(&self) -> bool {
        let moves = self.handoff.as_ref().is_some_and(|handoff| handoff.must_identify);
        let starts = self.owner.as_ref().is_some_and(|owner| owner.must_identify && !owner.start_ended);
        let waits = self.report.as_ref().is_some_and(|observed| {
            matches!(observed.report.status, ShardStatus::Queued | ShardStatus::Identifying)
        });
        moves || starts || waits
    }

    /// Notes the owner's report. Once the shard is ready, its previous owner no longer answers for it.
    pub(super) fn note_start_end(&mut self) {
        if self.has_ended_start()
            && let Some(owner) = &mut self.owner
        {
            owner.start_ended = true;
            self.previous_owner = None;
        }
    }
}

impl Observed {
    /// Returns whether the shard is ready, or failed.
    pub(super) fn has_ended_start(&self) -> bool {
        matches!(self.report.status, ShardStatus::Ready | ShardStatus::Failed)
    }
}

/// Returns whether a shard that moves between these workers needs an IDENTIFY.
pub(super) fn needs_identify(from: &KnownWorker, to: &KnownWorker) -> bool {
    match (&from.profile.needs, &to.profile.needs) {
        (Some(opened), Some(needs)) => needs.unmet_by(opened).is_some(),
        // A worker that does not report its needs is taken to be like the other.
        _ => false,
    }
}

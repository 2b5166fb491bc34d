//! The handoff of a shard from one live worker to another.
//!
//! A shard that was taken over but is not ready stays with its owner, for [`START_WAIT`] at most.
//!
//! 1. The target is told that the shard arrives ([`Handoff`]), and copies what the owner knows while that runs on.
//! 2. The target says that it has the copy; or [`COPY`] is over, and the shard moves without one.
//! 3. The owner is told to run the shard no more ([`Phase::Releasing`]). It stops, leaves an exact checkpoint and gives the
//!    target what has changed since the copy; then it reports without the shard.
//! 4. The target is written as the owner under a higher epoch, and told. It goes on from its copy if it is told that the owner
//!    before handed over ([`ShardOwner::handed_over`]) at the very epoch of the copy; otherwise from the checkpoint.
//!
//! Each step follows from the state alone, so whoever dies, and whatever is told late or twice, the shard is with its owner,
//! or free, or with the target. What is to move follows from [`placement`](crate::placement) each time anew: a target that
//! is gone is no target any more.

use std::time::Duration;

use fleet_model::{Epoch, Incarnation, ShardNumber, ShardStatus, WorkerId};

use super::{Fleet, KnownWorker, Note, Now, Observed, Phase, Slot};
use crate::placement::Placement;

/// An owner that has not got its shard ready after this long no longer holds other moves up.
pub(super) const START_WAIT: Duration = Duration::from_secs(30);

/// How long a target may take to copy a shard. It moves all the same after that, only slower.
const COPY: Duration = Duration::from_secs(10);

/// How long a worker that has handed a shard over is asked about it before its successor is ready.
const ANSWERS: Duration = Duration::from_secs(10);

/// A shard that is to go to another worker, while its owner runs it on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handoff {
    pub(super) to: WorkerId,
    pub(super) incarnation: Incarnation,
    pub(super) since: Duration,
    /// The target has said that it has all there is to copy.
    pub(super) copied: bool,
    /// The target can't resume the session.
    pub(super) identifies: bool,
}

/// Who let a shard go in order. Nobody has run it since.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PreviousOwner {
    pub(super) worker: WorkerId,
    pub(super) incarnation: Incarnation,
    pub(super) epoch: Epoch,
    /// Where it answered: whoever copied the shard knows it by this, though it may be gone.
    pub(super) url: String,
    pub(super) at: Duration,
}

/// How many more shards may set out.
struct HandoffQuota {
    handoffs: usize,
    identifies: usize,
}

impl HandoffQuota {
    /// Takes a place; false when there is none.
    fn take(&mut self, identifies: bool) -> bool {
        let enough = self.handoffs > 0 && (!identifies || self.identifies > 0);
        if enough {
            self.handoffs -= 1;
            self.identifies -= usize::from(identifies);
        }
        enough
    }
}

impl Fleet {
    /// Lets as many shards set out as may move at once, and asks those back whose target is prepared.
    pub(super) fn advance_handoffs(&mut self, target: &Placement, now: Now) {
        self.cancel_stale_handoffs(target);
        if !self.store_is_up() || self.stopping {
            return;
        }
        let mut room = self.room(now);
        let mut notes = Vec::new();
        for number in 0..self.slots.len() {
            let shard = ShardNumber(number as u32);
            let Some(wanted) = target.get(&shard) else { continue };
            let slot = &self.slots[number];
            let Some(owner) = &slot.owner else { continue };
            if owner.phase != Phase::Running || *wanted == owner.worker {
                continue;
            }
            let (Some(to), Some(from)) = (self.workers.get(wanted), self.workers.get(&owner.worker)) else {
                continue;
            };
            // One that was never told to run it has nothing to hand over; it is told first.
            if !from.connected || !from.assignment.shards.contains_key(&shard) || slot.is_starting(now) {
                continue;
            }
            let from_name = owner.worker.clone();
            match &slot.handoff {
                None => {
                    let identifies = needs_identify(from, to);
                    if now.mono < to.calm_until || !room.take(identifies) {
                        continue;
                    }
                    let handoff = Handoff {
                        to: wanted.clone(),
                        incarnation: to.incarnation.clone(),
                        since: now.mono,
                        // A copy is of no use to one that can't resume the session; an older version makes none.
                        copied: identifies || to.needs.is_none(),
                        identifies,
                    };
                    notes.push(Note::Moving { shard, from: from_name, to: wanted.clone() });
                    self.slots[number].handoff = Some(handoff);
                }
                Some(handoff) if handoff.copied || now.mono.saturating_sub(handoff.since) >= COPY => {
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

    /// The coordinator stops: what runs stays where it is.
    pub fn stop_moving(&mut self) {
        self.stopping = true;
    }

    /// A shard is between two workers: neither runs it before somebody goes on with it.
    pub fn has_shards_in_transit(&self) -> bool {
        let in_between = |slot: &Slot| match &slot.owner {
            Some(owner) => owner.phase != Phase::Running,
            None => slot.previous_owner.is_some(),
        };
        self.slots.iter().any(in_between)
    }

    /// Copies for a worker that the shard does not go to any more.
    fn cancel_stale_handoffs(&mut self, target: &Placement) {
        for (shard, slot) in (0..).map(ShardNumber).zip(&mut self.slots) {
            let owner = slot.owner.as_ref();
            let there = owner.is_some_and(|owner| {
                owner.phase == Phase::Running && slot.handoff.as_ref().is_some_and(|it| it.to == owner.worker)
            });
            let elsewhere = slot.handoff.as_ref().is_some_and(|handoff| {
                let alive =
                    self.workers.get(&handoff.to).is_some_and(|to| to.incarnation == handoff.incarnation);
                !alive || target.get(&shard).is_some_and(|wanted| *wanted != handoff.to)
            });
            if there || elsewhere {
                slot.handoff = None;
            }
        }
    }

    fn room(&self, now: Now) -> HandoffQuota {
        let under_way = self.slots.iter().filter(|slot| slot.is_under_way(now)).count();
        // Those that wait for a permit are what the identify queue is busy with.
        let identifying = self.slots.iter().filter(|slot| slot.is_identifying()).count();
        HandoffQuota {
            handoffs: self.rules.moves_at_once.saturating_sub(under_way),
            identifies: self.rules.identifies_at_once.saturating_sub(identifying),
        }
    }

    /// A worker that a shard is to go to, while that can still be: placement counts the shard as its own.
    pub(super) fn handoff_target<'a>(&self, slot: &'a Slot) -> Option<&'a WorkerId> {
        let handoff = slot.handoff.as_ref()?;
        let to = self.workers.get(&handoff.to)?;
        (to.incarnation == handoff.incarnation && self.takes_shards(to)).then_some(&handoff.to)
    }

    /// The target says that it has copied a shard of this epoch.
    pub(super) fn mark_copied(&mut self, worker: &WorkerId, shard: ShardNumber, epoch: Epoch) {
        let Some(slot) = self.slots.get_mut(shard.0 as usize) else { return };
        if slot.owner.as_ref().is_some_and(|owner| owner.epoch == epoch)
            && let Some(handoff) = slot.handoff.as_mut().filter(|handoff| handoff.to == *worker)
        {
            handoff.copied = true;
        }
    }

    /// A worker is gone, and with it what it copied.
    pub(super) fn cancel_handoffs_to(&mut self, worker: &WorkerId) {
        for slot in &mut self.slots {
            slot.handoff.take_if(|handoff| handoff.to == *worker);
        }
    }

    /// Who still answers for a shard that it has handed over, as its successor is not ready yet.
    pub(super) fn answering_previous_owner<'a>(&self, slot: &'a Slot, now: Now) -> Option<&'a PreviousOwner> {
        let previous_owner = slot.previous_owner.as_ref()?;
        let known = self.workers.get(&previous_owner.worker)?;
        let fresh = now.mono.saturating_sub(previous_owner.at) < ANSWERS;
        (known.incarnation == previous_owner.incarnation && fresh && !slot.has_ended_start())
            .then_some(previous_owner)
    }
}

impl Slot {
    /// Its owner stopped it in order, and it is free.
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

    /// Its owner is over, whatever it has done: what was handed over before is not the newest any more.
    pub(super) fn lose_owner(&mut self) {
        if self.owner.take().is_some_and(|owner| owner.phase != Phase::Writing) {
            self.previous_owner = None;
        }
        self.report = None;
    }

    /// Its owner has it ready, or never will.
    pub(super) fn has_ended_start(&self) -> bool {
        self.report.as_ref().is_some_and(Observed::has_ended_start)
    }

    /// Whether the owner is still resuming another owner's session. What that owner may have handled is still being
    /// sent again; a move now would mark all of it as replayed. Slow owners are not waited for.
    fn is_starting(&self, now: Now) -> bool {
        let waits = self.report.as_ref().is_some_and(|observed| {
            matches!(observed.report.status, ShardStatus::Queued | ShardStatus::Identifying)
        });
        self.owner.as_ref().is_some_and(|owner| {
            !owner.start_ended && !waits && now.mono.saturating_sub(owner.since) < START_WAIT
        })
    }

    /// It is on its way somewhere: being copied, down, or not ready again.
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

    /// It waits for a permit, or for what READY names; or is on its way to where it will.
    fn is_identifying(&self) -> bool {
        let sets_out = self.handoff.as_ref().is_some_and(|handoff| handoff.identifies);
        let arrives = self.owner.as_ref().is_some_and(|owner| owner.identifies && !owner.start_ended);
        let waits = self.report.as_ref().is_some_and(|observed| {
            matches!(observed.report.status, ShardStatus::Queued | ShardStatus::Identifying)
        });
        sets_out || arrives || waits
    }

    /// Its owner has reported it. Once that is ready, whoever handed it over has no more to say.
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
    /// The shard is ready, or never will be.
    pub(super) fn has_ended_start(&self) -> bool {
        matches!(self.report.status, ShardStatus::Ready | ShardStatus::Failed)
    }
}

/// A shard that goes from one to the other has to IDENTIFY.
pub(super) fn needs_identify(from: &KnownWorker, to: &KnownWorker) -> bool {
    match (&from.needs, &to.needs) {
        (Some(opened), Some(needs)) => needs.unmet_by(opened).is_some(),
        // One that does not say is taken to be like the other.
        _ => false,
    }
}

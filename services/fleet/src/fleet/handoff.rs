//! The handoff of a shard from one live worker to another.
//!
//! A shard that was taken over but is not ready stays with its owner, for [`LANDING`] at most.
//!
//! 1. The target is told that the shard arrives ([`Arrival`]), and copies what the owner knows while that runs on.
//! 2. The target says that it has the copy; or [`COPY`] is over, and the shard moves without one.
//! 3. The owner is told to run the shard no more ([`Phase::Releasing`]). It stops, leaves an exact checkpoint and gives the
//!    target what has changed since the copy; then it reports without the shard.
//! 4. The target is written as the owner under a higher epoch, and told. It goes on from its copy if it is told that the owner
//!    before handed over ([`Owner::handed_over`]) at the very epoch of the copy; otherwise from the checkpoint.
//!
//! Each step follows from the state alone, so whoever dies, and whatever is told late or twice, the shard is with its owner,
//! or free, or with the target. What is to move follows from [`placement`](crate::placement) each time anew: a target that
//! is gone is no target any more.

use std::time::Duration;

use fleet_model::{Epoch, Incarnation, ShardNumber, ShardStatus, WorkerId};

use super::{Fleet, Note, Now, Observed, Phase, Slot, Worker};
use crate::placement::Target;

/// An owner that has not got its shard ready after this long no longer holds other moves up.
pub(super) const LANDING: Duration = Duration::from_secs(30);

/// How long a target may take to copy a shard. It moves all the same after that, only slower.
const COPY: Duration = Duration::from_secs(10);

/// How long a worker that has handed a shard over is asked about it before its successor is ready.
const ANSWERS: Duration = Duration::from_secs(10);

/// A shard that is to go to another worker, while its owner runs it on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Arrival {
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
pub(super) struct Departed {
    pub(super) worker: WorkerId,
    pub(super) incarnation: Incarnation,
    pub(super) epoch: Epoch,
    /// Where it answered: whoever copied the shard knows it by this, though it may be gone.
    pub(super) url: String,
    pub(super) at: Duration,
}

/// How many more shards may set out.
struct Room {
    handoffs: usize,
    identifies: usize,
}

impl Room {
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
    pub(super) fn hand_over(&mut self, target: &Target, now: Now) {
        self.give_up_copies(target);
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
            if !from.connected || !from.assignment.shards.contains_key(&shard) || slot.is_landing(now) {
                continue;
            }
            let from_name = owner.worker.clone();
            match &slot.arrival {
                None => {
                    let identifies = identifies(from, to);
                    if now.mono < to.calm_until || !room.take(identifies) {
                        continue;
                    }
                    let arrival = Arrival {
                        to: wanted.clone(),
                        incarnation: to.incarnation.clone(),
                        since: now.mono,
                        // A copy is of no use to one that can't resume the session; an older version makes none.
                        copied: identifies || to.needs.is_none(),
                        identifies,
                    };
                    notes.push(Note::Moving { shard, from: from_name, to: wanted.clone() });
                    self.slots[number].arrival = Some(arrival);
                }
                Some(arrival) if arrival.copied || now.mono.saturating_sub(arrival.since) >= COPY => {
                    // This change will be the next revision: changes of one step are sent as one.
                    let revision = from.assignment.revision + 1;
                    notes.push(Note::Releasing { shard, from: from_name, copied: arrival.copied });
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
    pub fn has_shards_in_between(&self) -> bool {
        let in_between = |slot: &Slot| match &slot.owner {
            Some(owner) => owner.phase != Phase::Running,
            None => slot.departed.is_some(),
        };
        self.slots.iter().any(in_between)
    }

    /// Copies for a worker that the shard does not go to any more.
    fn give_up_copies(&mut self, target: &Target) {
        for (shard, slot) in (0..).map(ShardNumber).zip(&mut self.slots) {
            let owner = slot.owner.as_ref();
            let there = owner.is_some_and(|owner| {
                owner.phase == Phase::Running && slot.arrival.as_ref().is_some_and(|it| it.to == owner.worker)
            });
            let elsewhere = slot.arrival.as_ref().is_some_and(|arrival| {
                let alive =
                    self.workers.get(&arrival.to).is_some_and(|to| to.incarnation == arrival.incarnation);
                !alive || target.get(&shard).is_some_and(|wanted| *wanted != arrival.to)
            });
            if there || elsewhere {
                slot.arrival = None;
            }
        }
    }

    fn room(&self, now: Now) -> Room {
        let under_way = self.slots.iter().filter(|slot| slot.is_under_way(now)).count();
        // Those that wait for a permit are what the identify queue is busy with.
        let identifying = self.slots.iter().filter(|slot| slot.is_identifying()).count();
        Room {
            handoffs: self.rules.moves_at_once.saturating_sub(under_way),
            identifies: self.rules.identifies_at_once.saturating_sub(identifying),
        }
    }

    /// A worker that a shard is to go to, while that can still be: placement counts the shard as its own.
    pub(super) fn arriving_at<'a>(&self, slot: &'a Slot) -> Option<&'a WorkerId> {
        let arrival = slot.arrival.as_ref()?;
        let to = self.workers.get(&arrival.to)?;
        (to.incarnation == arrival.incarnation && self.takes_shards(to)).then_some(&arrival.to)
    }

    /// The target says that it has copied a shard of this epoch.
    pub(super) fn arrived(&mut self, worker: &WorkerId, shard: ShardNumber, epoch: Epoch) {
        let Some(slot) = self.slots.get_mut(shard.0 as usize) else { return };
        if slot.owner.as_ref().is_some_and(|owner| owner.epoch == epoch)
            && let Some(arrival) = slot.arrival.as_mut().filter(|arrival| arrival.to == *worker)
        {
            arrival.copied = true;
        }
    }

    /// A worker is gone, and with it what it copied.
    pub(super) fn forget_copies_of(&mut self, worker: &WorkerId) {
        for slot in &mut self.slots {
            slot.arrival.take_if(|arrival| arrival.to == *worker);
        }
    }

    /// Who still answers for a shard that it has handed over, as its successor is not ready yet.
    pub(super) fn still_answers<'a>(&self, slot: &'a Slot, now: Now) -> Option<&'a Departed> {
        let departed = slot.departed.as_ref()?;
        let known = self.workers.get(&departed.worker)?;
        let fresh = now.mono.saturating_sub(departed.at) < ANSWERS;
        (known.incarnation == departed.incarnation && fresh && !slot.has_landed()).then_some(departed)
    }
}

impl Slot {
    /// Its owner stopped it in order, and it is free.
    pub(super) fn let_go(&mut self, url: &str, now: Now) {
        if let Some(owner) = self.owner.take() {
            self.departed = Some(Departed {
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
            self.departed = None;
        }
        self.report = None;
    }

    /// Its owner has it ready, or never will.
    pub(super) fn has_landed(&self) -> bool {
        self.report.as_ref().is_some_and(Observed::has_landed)
    }

    /// Whether the owner is still resuming another owner's session. What that owner may have handled is still being
    /// sent again; a move now would mark all of it as replayed. Slow owners are not waited for.
    fn is_landing(&self, now: Now) -> bool {
        let waits = self.report.as_ref().is_some_and(|observed| {
            matches!(observed.report.status, ShardStatus::Queued | ShardStatus::Identifying)
        });
        self.owner
            .as_ref()
            .is_some_and(|owner| !owner.landed && !waits && now.mono.saturating_sub(owner.since) < LANDING)
    }

    /// It is on its way somewhere: being copied, down, or not ready again.
    pub(super) fn is_under_way(&self, now: Now) -> bool {
        if self.arrival.is_some() {
            return true;
        }
        let Some(owner) = &self.owner else { return false };
        match owner.phase {
            Phase::Releasing { .. } | Phase::Writing => true,
            Phase::Running => !self.has_landed() && now.mono.saturating_sub(owner.since) < LANDING,
        }
    }

    /// It waits for a permit, or for what READY names; or is on its way to where it will.
    fn is_identifying(&self) -> bool {
        let sets_out = self.arrival.as_ref().is_some_and(|arrival| arrival.identifies);
        let arrives = self.owner.as_ref().is_some_and(|owner| owner.identifies && !owner.landed);
        let waits = self.report.as_ref().is_some_and(|observed| {
            matches!(observed.report.status, ShardStatus::Queued | ShardStatus::Identifying)
        });
        sets_out || arrives || waits
    }

    /// Its owner has reported it. Once that is ready, whoever handed it over has no more to say.
    pub(super) fn note_landing(&mut self) {
        if self.has_landed()
            && let Some(owner) = &mut self.owner
        {
            owner.landed = true;
            self.departed = None;
        }
    }
}

impl Observed {
    /// The shard is ready, or never will be.
    pub(super) fn has_landed(&self) -> bool {
        matches!(self.report.status, ShardStatus::Ready | ShardStatus::Failed)
    }
}

/// A shard that goes from one to the other has to IDENTIFY.
pub(super) fn identifies(from: &Worker, to: &Worker) -> bool {
    match (&from.needs, &to.needs) {
        (Some(opened), Some(needs)) => needs.unmet_by(opened).is_some(),
        // One that does not say is taken to be like the other.
        _ => false,
    }
}

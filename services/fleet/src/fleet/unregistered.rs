//! Workers that hold a lease in the store and have not registered with this coordinator.
//!
//! Such a worker may run a shard of which this coordinator knows no owner: the store may have lost that write, or a deposed
//! coordinator wrote it after this one had read the records. The worker may also be cut off from this coordinator and keep
//! its lease by renewing through the store. So a shard that is not [confirmed](super::Slot) is assigned only right after the
//! store has shown no such lease. Likewise a recovered owner that registers without its shard, as its window has closed, is
//! told to run it only then. A shard is confirmed once its owner has reported it, or once this coordinator has assigned it
//! and written the owner: from then on no other worker can have it.

use std::time::Duration;

use fleet_model::{Incarnation, WorkerId};

use super::{ASK_AGAIN, Effect, Fleet, Now, Phase, Slot, slot::ShardOwner};
use crate::placement::Placement;

/// The store's answers about unregistered workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct UnregisteredWorkers {
    /// A question to the store is under way.
    pub(super) asking: bool,
    /// The store is not asked again before this moment.
    pub(super) ask_at: Duration,
    /// The workers that the last answer named.
    pub(super) found: Vec<WorkerId>,
}

impl Fleet {
    /// Asks the store for unregistered workers when a shard that is not confirmed could be assigned.
    pub(super) fn find_unregistered(&mut self, target: &Placement, now: Now) {
        let free = target.keys().any(|shard| {
            let slot = self.slots.get(shard.slot().0 as usize);
            slot.is_some_and(|slot| slot.owner.is_none() && !slot.confirmed && slot.may_be_written(now))
        });
        let wanted = free || self.slots.iter().any(|slot| self.awaits_confirmation(slot));
        // With an earlier coordinator, workers write leases that the store lost again within their time to live.
        let store_is_whole = self.store_is_trusted(now) || !self.term.had_predecessor;
        let due = !self.store.unregistered.asking && now.mono >= self.store.unregistered.ask_at;
        if wanted && due && now.mono >= self.term.unregistered_until && store_is_whole && self.store.is_up() {
            self.store.unregistered.asking = true;
            self.effects.push(Effect::FindLeases);
        }
    }

    /// Returns whether a shard's recovered owner has registered without the shard.
    fn awaits_confirmation(&self, slot: &Slot) -> bool {
        let heard =
            |owner: &ShardOwner| self.workers.get(&owner.worker).is_some_and(|worker| worker.liveness.heard);
        !slot.confirmed
            && slot.owner.as_ref().is_some_and(|owner| owner.phase == Phase::Running && heard(owner))
    }

    /// Applies the outcome of [`Effect::FindLeases`]: the live leases, or `None` when the store can't say.
    pub fn on_leases_found(&mut self, leases: Option<Vec<(WorkerId, Incarnation)>>, now: Now) {
        self.store.unregistered.asking = false;
        let Some(leases) = leases else {
            self.store.unregistered.ask_at = now.mono + ASK_AGAIN;
            return;
        };
        let heard = |(worker, incarnation): &(WorkerId, Incarnation)| {
            self.workers
                .get(worker)
                .is_some_and(|known| known.liveness.heard && known.incarnation == *incarnation)
        };
        let unregistered = leases.into_iter().filter(|lease| !heard(lease)).map(|(worker, _)| worker);
        self.store.unregistered.found = unregistered.collect();
        if self.store.unregistered.found.is_empty()
            && (self.store_is_trusted(now) || !self.term.had_predecessor)
        {
            for shard in 0..self.slots.len() {
                self.slots[shard].confirmed |= self.awaits_confirmation(&self.slots[shard]);
            }
            self.assign_and_move(now, true);
            self.refresh_assignments(None);
        } else {
            self.store.unregistered.ask_at = now.mono + ASK_AGAIN;
        }
    }
}

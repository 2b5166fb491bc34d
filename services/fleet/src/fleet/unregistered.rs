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

use super::{Effect, Fleet, Now, Phase, ShardOwner, Slot, losing::ASK_AGAIN};
use crate::placement::Placement;

/// What is known of unregistered workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct UnregisteredWorkers {
    /// The store is being asked.
    pub(super) asking: bool,
    /// It is not asked again before this moment.
    pub(super) ask_at: Duration,
    /// Who was found when it was last asked.
    pub(super) found: Vec<WorkerId>,
}

impl Fleet {
    /// Asks the store for unregistered workers when a shard that is not confirmed could be assigned.
    pub(super) fn find_unregistered(&mut self, target: &Placement, now: Now) {
        let free = target.keys().any(|shard| {
            let slot = self.slots.get(shard.0 as usize);
            slot.is_some_and(|slot| slot.owner.is_none() && !slot.confirmed && slot.may_be_written(now))
        });
        let wanted = free || self.slots.iter().any(|slot| self.awaits_confirmation(slot));
        // In a fleet that was there before, leases that a store lost are written again within the TTL.
        let store_is_whole = self.store_is_trusted(now) || !self.had_predecessor;
        let due = !self.unregistered.asking && now.mono >= self.unregistered.ask_at;
        if wanted && due && now.mono >= self.unregistered_until && store_is_whole && self.store_is_up() {
            self.unregistered.asking = true;
            self.effects.push(Effect::FindLeases);
        }
    }

    /// Its owner is written and here, but came without it.
    fn awaits_confirmation(&self, slot: &Slot) -> bool {
        let heard = |owner: &ShardOwner| self.workers.get(&owner.worker).is_some_and(|worker| worker.heard);
        !slot.confirmed
            && slot.owner.as_ref().is_some_and(|owner| owner.phase == Phase::Running && heard(owner))
    }

    /// The outcome of [`Effect::FindLeases`]: whose leases live, or `None` when the store can't say.
    pub fn on_leases_found(&mut self, leases: Option<Vec<(WorkerId, Incarnation)>>, now: Now) {
        self.unregistered.asking = false;
        let Some(leases) = leases else {
            self.unregistered.ask_at = now.mono + ASK_AGAIN;
            return;
        };
        let heard = |(worker, incarnation): &(WorkerId, Incarnation)| {
            self.workers.get(worker).is_some_and(|known| known.heard && known.incarnation == *incarnation)
        };
        let unregistered = leases.into_iter().filter(|lease| !heard(lease)).map(|(worker, _)| worker);
        self.unregistered.found = unregistered.collect();
        if self.unregistered.found.is_empty() && (self.store_is_trusted(now) || !self.had_predecessor) {
            for shard in 0..self.slots.len() {
                self.slots[shard].confirmed |= self.awaits_confirmation(&self.slots[shard]);
            }
            self.assign_and_move(now, true);
            self.refresh_assignments();
        } else {
            self.unregistered.ask_at = now.mono + ASK_AGAIN;
        }
    }
}

//! Workers that hold a lease in the store and have never been heard by this coordinator.
//!
//! They may run a shard of which this coordinator knows no owner: the store may have lost that write, or a coordinator
//! that still thought that it acts has made it after this one had read the records. And they may be cut off from here, and
//! live on by renewing through the store. So a shard that this coordinator has not [confirmed](super::Slot) is assigned
//! only right after the store has shown no such lease, and a written owner that does not come with its shard, as its
//! window has closed, is told of it only then. A shard is confirmed once its owner has been heard with it, or once it was
//! assigned and written here: from then on nobody else can have it.

use std::time::Duration;

use fleet_model::{Incarnation, WorkerId};

use super::{Effect, Fleet, Now, Owner, Phase, Slot, losing::ASK_AGAIN};
use crate::placement::Target;

/// What is known of strangers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Strangers {
    /// The store is being asked.
    pub(super) asking: bool,
    /// It is not asked again before this moment.
    pub(super) ask_at: Duration,
    /// Who was found when it was last asked.
    pub(super) found: Vec<WorkerId>,
}

impl Fleet {
    /// Asks for strangers when a shard that is not confirmed could be assigned.
    pub(super) fn ask_for_strangers(&mut self, target: &Target, now: Now) {
        let free = target.keys().any(|shard| {
            let slot = self.slots.get(shard.0 as usize);
            slot.is_some_and(|slot| slot.owner.is_none() && !slot.confirmed && slot.may_be_written(now))
        });
        let wanted = free || self.slots.iter().any(|slot| self.waits_to_be_told(slot));
        // In a fleet that was there before, leases that a store lost are written again within the TTL.
        let store_is_whole = self.store_is_trusted(now) || !self.had_predecessor;
        let due = !self.strangers.asking && now.mono >= self.strangers.ask_at;
        if wanted && due && now.mono >= self.strangers_until && store_is_whole && self.store_is_up() {
            self.strangers.asking = true;
            self.effects.push(Effect::FindLeases);
        }
    }

    /// Its owner is written and here, but came without it.
    fn waits_to_be_told(&self, slot: &Slot) -> bool {
        let heard = |owner: &Owner| self.workers.get(&owner.worker).is_some_and(|worker| worker.heard);
        !slot.confirmed
            && slot.owner.as_ref().is_some_and(|owner| owner.phase == Phase::Running && heard(owner))
    }

    /// The outcome of [`Effect::FindLeases`]: whose leases live, or `None` when the store can't say.
    pub fn leases_found(&mut self, leases: Option<Vec<(WorkerId, Incarnation)>>, now: Now) {
        self.strangers.asking = false;
        let Some(leases) = leases else {
            self.strangers.ask_at = now.mono + ASK_AGAIN;
            return;
        };
        let heard = |(worker, incarnation): &(WorkerId, Incarnation)| {
            self.workers.get(worker).is_some_and(|known| known.heard && known.incarnation == *incarnation)
        };
        let strangers = leases.into_iter().filter(|lease| !heard(lease)).map(|(worker, _)| worker);
        self.strangers.found = strangers.collect();
        if self.strangers.found.is_empty() && (self.store_is_trusted(now) || !self.had_predecessor) {
            for shard in 0..self.slots.len() {
                self.slots[shard].confirmed |= self.waits_to_be_told(&self.slots[shard]);
            }
            self.assign_and_move(now, true);
            self.refresh_assignments();
        } else {
            self.strangers.ask_at = now.mono + ASK_AGAIN;
        }
    }
}

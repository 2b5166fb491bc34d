//! What a worker says that it runs, held against what is known.
//!
//! Believed is what could be true after a store lost its records: epochs that a clock could have made, and a total near the one
//! that the settings, Discord or the store say. A shard that has a live owner here does not change hands on a worker's word:
//! the owner's record is written again, and the store, which refuses a lower epoch than it holds, decides. An owner that was
//! only read from the store is waited for, as long as a new coordinator waits for its workers.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{Epoch, Problem, ProblemCode, ShardNumber, WorkerId};

use super::{Effect, Fleet, Now, Owner, Ownership, Registration, RegistrationRefused, Slot};

/// The most workers of a fleet.
pub(super) const MAX_WORKERS: usize = 1_024;

/// How far epochs may be ahead of the clock: clocks of coordinators disagree, by less than this.
const AHEAD_MS: u64 = 24 * 3600 * 1000;

/// A total that runs may be so many times one that is known, or a fraction of that: settings change while a fleet runs.
const TIMES: u32 = 4;

/// A total up to this is believed in any case.
const SMALL: u32 = 16;

/// The wait after the second refused write of a shard; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest of these waits.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Slot {
    /// Whether an owner may be written: there is an epoch for it, and the store's last refusal is long enough ago.
    pub(super) fn may_be_written(&self, now: Now) -> bool {
        self.highest < Epoch(u64::MAX) && now.mono >= self.assign_at
    }

    /// The store refused the owner. The first one is written again at once, each further one later.
    pub(super) fn write_was_refused(&mut self, now: Now) {
        self.refused = self.refused.saturating_add(1);
        let Some(doublings) = self.refused.checked_sub(2) else { return };
        let wait = FIRST_WAIT.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        self.assign_at = now.mono + wait.min(LONGEST_WAIT);
    }
}

impl Fleet {
    /// Whether what a worker says of itself can be true: asked before a lease is granted.
    ///
    /// # Errors
    /// [`RegistrationRefused::Full`], [`RegistrationRefused::EpochAhead`], [`RegistrationRefused::TotalUnlikely`],
    /// [`RegistrationRefused::OwnerUnheard`].
    pub fn check_claims(&self, registration: &Registration, now: Now) -> Result<(), RegistrationRefused> {
        let Registration { worker, running, running_total, .. } = registration;
        if self.workers.len() >= MAX_WORKERS && !self.workers.contains_key(worker) {
            return Err(RegistrationRefused::Full { workers: self.workers.len() });
        }
        // The term was above every clock that has written to the store.
        let newest = Epoch(now.unix_ms.max(self.term.0).saturating_add(AHEAD_MS));
        let known =
            |shard: ShardNumber| self.slots.get(shard.0 as usize).map_or(Epoch(0), |slot| slot.highest);
        let ahead = running.iter().find(|(shard, epoch)| **epoch > newest.max(known(**shard)));
        if let Some((&shard, &epoch)) = ahead {
            return Err(RegistrationRefused::EpochAhead { worker: worker.clone(), shard, epoch, newest });
        }
        let adopts = !running.is_empty() && self.runs_nothing();
        if adopts && !self.is_likely(*running_total) {
            let (claimed, wanted) = (*running_total, self.total.wanted().total);
            return Err(RegistrationRefused::TotalUnlikely { worker: worker.clone(), claimed, wanted });
        }
        if let Some((shard, owner)) = self.unheard_owner(worker, running, now) {
            return Err(RegistrationRefused::OwnerUnheard { worker: worker.clone(), shard, owner });
        }
        Ok(())
    }

    /// The first of the claimed shards whose owner in the store is another worker that has still time to register here.
    fn unheard_owner(
        &self,
        claimant: &WorkerId,
        running: &BTreeMap<ShardNumber, Epoch>,
        now: Now,
    ) -> Option<(ShardNumber, WorkerId)> {
        if now.mono >= self.grace_until {
            return None;
        }
        let unheard = |owner: &Owner| self.workers.get(&owner.worker).is_some_and(|known| !known.heard);
        running.iter().find_map(|(shard, epoch)| {
            let slot = self.slots.get(shard.0 as usize).filter(|slot| *epoch > slot.highest)?;
            let owner = slot.owner.as_ref().filter(|owner| owner.worker != *claimant && unheard(owner))?;
            Some((*shard, owner.worker.clone()))
        })
    }

    /// Whether a fleet may run with this total: near what the settings, Discord or the store say.
    fn is_likely(&self, total: u32) -> bool {
        let near = |known: u32| {
            total <= known.saturating_mul(TIMES).max(SMALL) && known <= total.saturating_mul(TIMES).max(SMALL)
        };
        near(self.total.wanted().total) || self.written_total.is_some_and(near)
    }

    /// A worker runs a shard under a higher epoch than its owner, whom this coordinator has heard with it.
    pub(super) fn contested(slot: &Slot, shard: ShardNumber, claimant: &WorkerId) -> Option<Ownership> {
        let owner = slot.owner.as_ref().filter(|owner| slot.confirmed && owner.worker != *claimant)?;
        let (worker, incarnation) = (owner.worker.clone(), owner.incarnation.clone());
        Some(Ownership { shard, worker, incarnation, epoch: owner.epoch })
    }

    /// The store has a record of another kind in the place of a shard's owner: it is not written to again at once.
    pub fn record_is_invalid(&mut self, shard: ShardNumber, now: Now) {
        if let Some(slot) = self.slots.get_mut(shard.0 as usize) {
            slot.refused = slot.refused.max(1);
            slot.write_was_refused(now);
        }
    }

    /// Lets the store decide over contested shards.
    pub(super) fn ask_the_store(&mut self, contested: Vec<Ownership>) {
        if !contested.is_empty() {
            self.effects.push(Effect::Write(contested));
        }
    }

    /// Shards whose owner the store refuses to write.
    pub(super) fn refused_shards(&self) -> impl Iterator<Item = Problem> {
        let slots = (0..).map(ShardNumber).zip(&self.slots);
        slots.filter_map(|(shard, slot)| {
            let why = if slot.highest == Epoch(u64::MAX) {
                format!(
                    "the fleet store holds the highest possible epoch for shard {shard}: nothing can be written above it; \
                     delete the shard's record"
                )
            } else if slot.refused > 1 {
                format!(
                    "the fleet store refused the owner of shard {shard} {} times: it holds a higher epoch or a record of \
                     another kind",
                    slot.refused
                )
            } else {
                return None;
            };
            Some(Problem::new(ProblemCode::ShardRefused, why))
        })
    }
}

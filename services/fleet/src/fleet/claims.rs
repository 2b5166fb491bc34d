//! Checks what workers claim to run.
//!
//! A claim is accepted if it could be true after the store lost its records: an epoch that a clock could have made, and a
//! total near the settings, Discord's advice or the store's record. A claim does not take a shard from a live owner: the
//! owner's record is written again, and the store, which refuses lower epochs, decides. A new coordinator waits for an owner
//! that it only read from the store as long as it waits for its workers.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{AHEAD_MS, ClaimedShards, Epoch, Problem, ProblemCode, ShardKey, WorkerId};

use super::{
    Effect, Fleet, Now, Ownership, Phase, Registration, RegistrationRefused, Slot, losing::VERDICT_DUE,
    slot::ShardOwner,
};

/// The most workers of a fleet.
pub(super) const MAX_WORKERS: usize = 4_096;

/// A running total may differ from a known one by this factor, either way: settings change while a fleet runs.
const TIMES: u32 = 4;

/// Totals up to this are always accepted.
const SMALL: u32 = 16;

/// The wait after the second refused write of a shard; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Returns whether two totals can belong to one fleet.
pub(super) fn are_near(one: u32, other: u32) -> bool {
    one <= other.saturating_mul(TIMES).max(SMALL) && other <= one.saturating_mul(TIMES).max(SMALL)
}

impl Slot {
    /// Returns whether an owner may be written: an epoch is left for it, and the wait after the last refusal is over.
    pub(super) fn may_be_written(&self, now: Now) -> bool {
        self.highest < Epoch(u64::MAX) && now.mono >= self.assign_at
    }

    /// Notes that the store refused the owner. The first refusal is retried at once, further ones with growing waits.
    pub(super) fn write_was_refused(&mut self, now: Now) {
        self.refused = self.refused.saturating_add(1);
        let Some(doublings) = self.refused.checked_sub(2) else { return };
        let wait = FIRST_WAIT.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        self.assign_at = now.mono + wait.min(LONGEST_WAIT);
    }
}

impl Fleet {
    /// Checks whether a worker's claims are possible, before a lease is granted.
    ///
    /// # Errors
    /// [`RegistrationRefused::Full`], [`RegistrationRefused::EpochAhead`], [`RegistrationRefused::TotalUnlikely`],
    /// [`RegistrationRefused::OwnerUnheard`].
    pub fn check_claims(&self, registration: &Registration, now: Now) -> Result<(), RegistrationRefused> {
        let Registration { worker, running: ClaimedShards { shards: running, total: running_total }, .. } =
            registration;
        if self.workers.len() >= MAX_WORKERS && !self.workers.contains_key(worker) {
            return Err(RegistrationRefused::Full { workers: self.workers.len() });
        }
        // The term is above every clock that has written to the store.
        let newest = Epoch(now.unix_ms.max(self.term.number.0).saturating_add(AHEAD_MS));
        let known =
            |shard: ShardKey| self.slots.get(shard.slot().0 as usize).map_or(Epoch(0), |slot| slot.highest);
        let ahead = running.iter().find(|(shard, epoch)| **epoch > newest.max(known(**shard)));
        if let Some((&shard, &epoch)) = ahead {
            return Err(RegistrationRefused::EpochAhead { worker: worker.clone(), shard, epoch, newest });
        }
        let adopts = !running.is_empty() && self.runs_nothing();
        if adopts && !self.total.is_likely(*running_total) {
            let (claimed, wanted) = (*running_total, self.total.current.wanted().total);
            return Err(RegistrationRefused::TotalUnlikely { worker: worker.clone(), claimed, wanted });
        }
        if let Some((shard, owner)) = self.unheard_owner(worker, running, now) {
            return Err(RegistrationRefused::OwnerUnheard { worker: worker.clone(), shard, owner });
        }
        Ok(())
    }

    /// Returns the first claimed shard whose owner in the store is another worker that may still register here.
    fn unheard_owner(
        &self,
        claimant: &WorkerId,
        running: &BTreeMap<ShardKey, Epoch>,
        now: Now,
    ) -> Option<(ShardKey, WorkerId)> {
        if now.mono >= self.term.grace_until {
            return None;
        }
        let unheard =
            |owner: &ShardOwner| self.workers.get(&owner.worker).is_some_and(|known| !known.liveness.heard);
        running.iter().find_map(|(shard, epoch)| {
            let slot = self.slots.get(shard.slot().0 as usize).filter(|slot| *epoch > slot.highest)?;
            let owner = slot.owner.as_ref().filter(|owner| owner.worker != *claimant && unheard(owner))?;
            Some((*shard, owner.worker.clone()))
        })
    }

    /// Returns the owner of a claimed shard, if this coordinator has heard from it and it is another worker.
    pub(super) fn contested_owner(slot: &Slot, claimant: &WorkerId) -> Option<Ownership> {
        let owner = slot.owner.as_ref().filter(|owner| slot.confirmed && owner.worker != *claimant)?;
        Some(owner.ownership(slot.key))
    }

    /// Delays further writes of a shard's owner: the store has an unexpected record in its place.
    pub fn delay_after_invalid_record(&mut self, shard: ShardKey, now: Now) {
        if let Some(slot) = self.slots.get_mut(shard.slot().0 as usize) {
            slot.refused = slot.refused.max(1);
            slot.write_was_refused(now);
        }
    }

    /// Writes owners again whose record in the store was invalid while they ran their shards.
    pub(super) fn rewrite_invalid(&mut self, now: Now) {
        let mut due = Vec::new();
        for slot in &mut self.slots {
            let Some(owner) = slot.owner.as_ref().filter(|owner| owner.phase == Phase::Running) else {
                continue;
            };
            if slot.refused > 0 && now.mono >= slot.assign_at {
                due.push(owner.ownership(slot.key));
                slot.assign_at = now.mono + VERDICT_DUE;
            }
        }
        self.recheck_owners(due);
    }

    /// Writes the owners of contested shards again, so that the store decides.
    pub(super) fn recheck_owners(&mut self, contested: Vec<Ownership>) {
        if !contested.is_empty() {
            self.effects.push(Effect::Write(contested));
        }
    }

    /// Problems of shards whose owner the store refuses.
    pub(super) fn refused_shards(&self) -> impl Iterator<Item = Problem> {
        self.slots.iter().filter_map(|slot| {
            let shard = slot.key;
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

//! Workers that register.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use fleet_model::{Assignment, ClaimedShards, Epoch, Incarnation, ShardKey, WorkerId, WorkerProfile};

use super::{
    Effect, Fleet, KnownWorker, Note, Now, Phase, evidence::WorkerAddresses, slot::ShardOwner,
    worker::Liveness,
};

/// A worker that registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name.
    pub worker: WorkerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its description of itself.
    pub profile: WorkerProfile,
    /// The shards that it runs already.
    pub running: ClaimedShards,
    /// It drains: it takes no shards.
    pub draining: bool,
    /// The address at which it answered when its advertised URL was checked.
    pub found_at: Option<SocketAddr>,
    /// The store has granted its lease; `false` when the store is away.
    pub granted: bool,
}

/// A registration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationRefused {
    /// Another live incarnation has its name.
    #[error(
        "the name {worker} is taken by a worker at {url}: it is free when that worker leaves or its lease has lapsed"
    )]
    NameTaken {
        /// The name.
        worker: WorkerId,
        /// The URL of the worker that has it. Its incarnation is not named: it admits a worker's own calls.
        url: String,
    },
    /// The fleet is full.
    #[error("the fleet is full: it has {workers} workers")]
    Full {
        /// The number of workers.
        workers: usize,
    },
    /// It claims an epoch that no clock can have made.
    #[error(
        "worker {worker} claims shard {shard} at epoch {epoch}: that is more than a day ahead of the clocks of this coordinator \
         and the store; the highest possible epoch is {newest}"
    )]
    EpochAhead {
        /// The worker.
        worker: WorkerId,
        /// The shard.
        shard: ShardKey,
        /// The claimed epoch.
        epoch: Epoch,
        /// The highest epoch that is believed.
        newest: Epoch,
    },
    /// It claims a total that is far from the settings, Discord's advice and the store's record.
    #[error(
        "worker {worker} claims a fleet of {claimed} shards: the settings or Discord ask for {wanted}, and the store has no \
         similar total; stop that worker, or set SHARD_COUNT to {claimed}"
    )]
    TotalUnlikely {
        /// The worker.
        worker: WorkerId,
        /// The claimed total.
        claimed: u32,
        /// The wanted total.
        wanted: u32,
    },
    /// The store names another owner, which may still register with this coordinator.
    #[error(
        "worker {worker} claims shard {shard}: the fleet store names {owner} as its owner, and this coordinator waits for that \
         worker first; register again"
    )]
    OwnerUnheard {
        /// The worker.
        worker: WorkerId,
        /// The shard.
        shard: ShardKey,
        /// The owner in the store.
        owner: WorkerId,
    },
    /// The store is away, and only the store knows whether the worker's shards are still its own.
    #[error(
        "the fleet store is away: cannot check whether {worker} may still run its shards; register again"
    )]
    StoreAway {
        /// The worker.
        worker: WorkerId,
    },
    /// Another incarnation has its name, and the store cannot say whether that one is gone: it is away, or its record is invalid.
    #[error(
        "the name {worker} is taken, and the fleet store cannot say whether its holder is gone; register again, and see \
         `altergolden repair` if this lasts"
    )]
    HolderUnknown {
        /// The name.
        worker: WorkerId,
    },
}

impl Fleet {
    /// Checks that a worker's name is free, before a lease is granted.
    ///
    /// # Errors
    /// [`RegistrationRefused::NameTaken`] while another incarnation of that name is not known to be gone;
    /// [`RegistrationRefused::HolderUnknown`] if only the store could tell.
    pub fn may_join(&self, worker: &WorkerId, incarnation: &Incarnation) -> Result<(), RegistrationRefused> {
        match self.workers.get(worker) {
            Some(known)
                if known.incarnation != *incarnation
                    && known.liveness.lease_unknown
                    && !known.liveness.connected =>
            {
                Err(RegistrationRefused::HolderUnknown { worker: worker.clone() })
            }
            Some(known) if known.incarnation != *incarnation => {
                Err(RegistrationRefused::NameTaken { worker: worker.clone(), url: known.profile.url.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Registers a worker with the shards that it runs already, and returns its assignment.
    ///
    /// # Errors
    /// As [`Fleet::may_join`] and [`Fleet::check_claims`]; [`RegistrationRefused::StoreAway`] when the worker runs shards under
    /// a lease that may have lapsed.
    pub fn join(&mut self, registration: Registration, now: Now) -> Result<Assignment, RegistrationRefused> {
        self.may_join(&registration.worker, &registration.incarnation)?;
        self.check_claims(&registration, now)?;
        let known = self.workers.get(&registration.worker);
        let in_doubt =
            known.map_or(!registration.running.shards.is_empty(), |known| self.has_lapsed(known, now));
        if in_doubt && !registration.granted {
            return Err(RegistrationRefused::StoreAway { worker: registration.worker });
        }
        let Registration { worker: name, incarnation, profile, running, draining, found_at, granted: _ } =
            registration;
        let ClaimedShards { shards: running, total: running_total } = running;

        self.adopt_total(&running, running_total, now);
        self.term.note_joined(&name, now);
        let owned = self.workers.get_mut(&name).map(|before| std::mem::take(&mut before.owned));
        let before = self.workers.get(&name);
        let calm_until = match before {
            Some(before) => before.calm_until,
            None if self.deaths.breaker.remembers(&name) => now.mono + self.rules.lease_ttl,
            None => Duration::ZERO,
        };
        let same = before.filter(|before| before.incarnation == incarnation);
        let drain_reason = same
            .and_then(|before| before.drain_reason.clone())
            .or_else(|| self.intent.drain_reason(&name, &incarnation));
        let released_at = profile.url.clone();
        let peer = before.and_then(|before| before.liveness.addresses.peer);
        let worker = KnownWorker {
            incarnation: incarnation.clone(),
            profile,
            liveness: Liveness::new(true, WorkerAddresses { found_at, peer }, now.mono),
            draining: draining || drain_reason.is_some(),
            drain_reason,
            token: same.map(|before| before.token).unwrap_or_default(),
            store_away: before.is_some_and(|before| before.store_away),
            rss_bytes: before.map_or(0, |before| before.rss_bytes),
            figures: same.and_then(|before| before.figures),
            assignment: before.map(|before| before.assignment.clone()).unwrap_or_default(),
            owned: owned.unwrap_or_default(),
            calm_until,
        };
        self.workers.insert(name.clone(), worker);
        let (worker, incarnation_of) = (name.clone(), incarnation.clone());
        self.note(Note::Joined { worker, incarnation: incarnation_of, running: running.len() });
        if self.total.settled() == Some(running_total) {
            self.adopt_running(&name, &incarnation, &running, now.mono);
        }
        // A release that the worker never heard of, or that it carried out before it lost its stream.
        for slot in &mut self.slots {
            if let Some(owner) = &slot.owner
                && owner.worker == name
                && matches!(owner.phase, Phase::Releasing { .. })
                && !running.contains_key(&slot.key)
            {
                slot.release(&released_at, now);
            }
        }
        self.advance(now);
        // The answer must name every shard that the worker is to keep.
        self.refresh_assignments(Some(&name));
        Ok(self.assignment(&name).cloned().unwrap_or_default())
    }

    /// Takes the total of a running fleet without records; otherwise a fleet that runs nothing waits for more workers.
    fn adopt_total(&mut self, running: &BTreeMap<ShardKey, Epoch>, running_total: u32, now: Now) {
        if running_total == 0 || running.is_empty() {
            if self.runs_nothing() {
                self.term.settle_until = now.mono + self.rules.settle;
            }
            return;
        }
        let finds_running_fleet = self.runs_nothing();
        if finds_running_fleet {
            // Its total holds, even if the settings and the store's record differ.
            self.unsettle_total(running_total);
            self.term.note_running_fleet(&self.rules, now);
        }
        self.settle_total_at(running_total);
        if finds_running_fleet {
            self.slots.iter_mut().for_each(|slot| slot.ran = true);
        }
    }

    /// Makes a worker the owner of the shards that it claims, unless another worker has a shard under a higher epoch: the
    /// store may have lost its last writes, or this coordinator may be new. A shard whose owner was heard from stays with that
    /// owner until the store decides otherwise.
    fn adopt_running(
        &mut self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        running: &BTreeMap<ShardKey, Epoch>,
        now: Duration,
    ) {
        let (mut unwritten, mut contested) = (Vec::new(), Vec::new());
        for (&shard, &epoch) in running {
            let Some(slot) = self.slots.get_mut(shard.slot().0 as usize) else { continue };
            let is_owner = slot.owner.as_ref().is_some_and(|owner| {
                owner.worker == *worker && owner.incarnation == *incarnation && owner.epoch == epoch
            });
            slot.confirmed |= is_owner;
            if is_owner || epoch <= slot.highest && slot.owner.is_some() || epoch < slot.highest {
                continue;
            }
            if let Some(owner) = Self::contested_owner(slot, worker) {
                contested.push(owner);
                continue;
            }
            slot.highest = epoch;
            slot.report = None;
            slot.confirmed = true;
            slot.ran = true;
            let owner = ShardOwner::found(worker.clone(), incarnation.clone(), epoch, now);
            unwritten.push(owner.ownership(slot.key));
            slot.owner = Some(owner);
            slot.previous_owner = None;
            if let Some(known) = self.workers.get_mut(worker) {
                known.owned.insert(shard.slot());
            }
        }
        if !unwritten.is_empty() {
            self.effects.push(Effect::Write(unwritten));
        }
        if !contested.is_empty() {
            self.note(Note::Contested { worker: worker.clone(), shards: contested.len() });
        }
        self.recheck_owners(contested);
    }
}

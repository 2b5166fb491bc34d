//! Workers that register.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use fleet_model::{Assignment, Epoch, Generation, Incarnation, SessionNeeds, ShardNumber, WorkerId};

use super::{Effect, Fleet, Formats, KnownWorker, Note, Now, Ownership, Phase, ShardOwner, WorkerAddresses};

/// What a worker says of itself when it registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name.
    pub worker: WorkerId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Where it answers.
    pub url: String,
    /// The address that this turned out to be, when it answered there.
    pub found_at: Option<SocketAddr>,
    /// Version of the program.
    pub version: String,
    /// How many shards it takes at most; `None` means no cap.
    pub capacity: Option<u32>,
    /// The checkpoint formats that it reads.
    pub formats: Formats,
    /// What it runs already.
    pub running: BTreeMap<ShardNumber, Epoch>,
    /// The total that it runs them with.
    pub running_total: u32,
    /// It wants no shards.
    pub draining: bool,
    /// Its deployment.
    pub generation: Generation,
    /// What it opens sessions with, if it says so.
    pub needs: Option<SessionNeeds>,
    /// The store has its lease; `false` when the store is away.
    pub granted: bool,
}

/// A worker can't join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationRefused {
    /// Another live worker has its name.
    #[error(
        "the name {worker} is taken by incarnation {holder} at {url}: it frees when that worker leaves or its lease has \
         lapsed"
    )]
    NameTaken {
        /// The name.
        worker: WorkerId,
        /// Who has it.
        holder: Incarnation,
        /// Where that one answers.
        url: String,
    },
    /// The fleet is full.
    #[error("the fleet is full: it has {workers} workers")]
    Full {
        /// The number of workers.
        workers: usize,
    },
    /// An epoch that no clock can have made.
    #[error(
        "worker {worker} says that it runs shard {shard} at epoch {epoch}: that is more than a day ahead of this coordinator's \
         clock and of the store's; the newest that is believed is {newest}"
    )]
    EpochAhead {
        /// The worker.
        worker: WorkerId,
        /// The shard.
        shard: ShardNumber,
        /// The claimed epoch.
        epoch: Epoch,
        /// The highest epoch that is believed.
        newest: Epoch,
    },
    /// A total that neither the settings, Discord nor the store say.
    #[error(
        "worker {worker} says that it runs a fleet of {claimed} shards: the settings or Discord want {wanted}, and the store \
         knows of none like it; stop that worker, or set SHARD_COUNT to what it runs"
    )]
    TotalUnlikely {
        /// The worker.
        worker: WorkerId,
        /// The claimed total.
        claimed: u32,
        /// The wanted total.
        wanted: u32,
    },
    /// The store names another owner, from which this coordinator has not heard since it began.
    #[error(
        "worker {worker} says that it runs shard {shard}: the fleet store names {owner} as its owner, and this coordinator \
         waits to hear from that worker first; register again"
    )]
    OwnerUnheard {
        /// The worker.
        worker: WorkerId,
        /// The shard.
        shard: ShardNumber,
        /// The owner in the store.
        owner: WorkerId,
    },
    /// The store is away, and only it knows whether the worker's shards are still its own.
    #[error("the fleet store is away: whether {worker} may still run its shards can't be told")]
    StoreAway {
        /// The worker.
        worker: WorkerId,
    },
}

impl Fleet {
    /// Whether a worker may have its name: asked before a lease is granted.
    ///
    /// # Errors
    /// [`RegistrationRefused::NameTaken`] while another incarnation of that name is not known to be gone.
    pub fn may_join(&self, worker: &WorkerId, incarnation: &Incarnation) -> Result<(), RegistrationRefused> {
        match self.workers.get(worker) {
            Some(known) if known.incarnation != *incarnation => Err(RegistrationRefused::NameTaken {
                worker: worker.clone(),
                holder: known.incarnation.clone(),
                url: known.url.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Takes a worker in, with what it runs already, and answers with what it shall run.
    ///
    /// # Errors
    /// As [`Fleet::may_join`] and [`Fleet::check_claims`]; [`RegistrationRefused::StoreAway`] when the worker runs something under a lease that may have
    /// lapsed.
    pub fn join(&mut self, registration: Registration, now: Now) -> Result<Assignment, RegistrationRefused> {
        self.may_join(&registration.worker, &registration.incarnation)?;
        self.check_claims(&registration, now)?;
        let known = self.workers.get(&registration.worker);
        let in_doubt = known.map_or(!registration.running.is_empty(), |known| self.has_lapsed(known, now));
        if in_doubt && !registration.granted {
            return Err(RegistrationRefused::StoreAway { worker: registration.worker });
        }
        let Registration {
            worker: name,
            incarnation,
            url,
            found_at,
            version,
            capacity,
            formats,
            running,
            running_total,
            draining,
            generation,
            needs,
            granted: _,
        } = registration;

        if running_total > 0 && !running.is_empty() {
            let comes_to_a_running_fleet = self.runs_nothing();
            if comes_to_a_running_fleet {
                // Something runs: its number holds, whatever the settings say, and whatever was kept.
                self.unsettle_total(running_total);
                // Others may run the rest: this coordinator came to a fleet that nobody wrote down.
                self.had_predecessor = true;
                self.grace_until = self.grace_until.max(now.mono + self.grace());
                self.unregistered_until = self.unregistered_until.max(self.grace_until);
            }
            self.settle_total_at(running_total);
            if comes_to_a_running_fleet {
                self.slots.iter_mut().for_each(|slot| slot.ran = true);
            }
        } else if self.runs_nothing() {
            self.settle_until = now.mono + self.rules.settle;
        }

        let before = self.workers.get(&name);
        let calm_until = match before {
            Some(before) => before.calm_until,
            None if self.breaker.remembers(&name) => now.mono + self.rules.lease_ttl,
            None => Duration::ZERO,
        };
        let drain_reason = before
            .filter(|before| before.incarnation == incarnation)
            .and_then(|before| before.drain_reason.clone())
            .or_else(|| self.intent.drain_reason(&name, &incarnation));
        let token = before.filter(|before| before.incarnation == incarnation).map(|before| before.token);
        let left_at = url.clone();
        let peer = before.and_then(|worker| worker.addresses.peer);
        let worker = KnownWorker {
            incarnation: incarnation.clone(),
            url,
            version,
            capacity,
            generation: Some(generation.clone()),
            needs,
            formats,
            heard: true,
            connected: true,
            draining: draining || drain_reason.is_some(),
            token: token.unwrap_or_default(),
            store_away: before.is_some_and(|before| before.store_away),
            exit_unconfirmed: false,
            drain_reason,
            last_heard: now.mono,
            lapsed: false,
            rss_bytes: before.map_or(0, |worker| worker.rss_bytes),
            assignment: before.map(|worker| worker.assignment.clone()).unwrap_or_default(),
            lease_check: None,
            addresses: WorkerAddresses { found_at, peer },
            broken: None,
            calm_until,
        };
        self.workers.insert(name.clone(), worker);
        self.set_first_generation(&generation);
        self.note(Note::Joined { worker: name.clone(), running: running.len() });
        if self.total.settled() == Some(running_total) {
            self.adopt_running(&name, &incarnation, &running, now.mono);
        }
        // A release that the worker never heard of, or that it carried out before it lost its stream.
        for (shard, slot) in (0..).map(ShardNumber).zip(&mut self.slots) {
            if let Some(owner) = &slot.owner
                && owner.worker == name
                && matches!(owner.phase, Phase::Releasing { .. })
                && !running.contains_key(&shard)
            {
                slot.release(&left_at, now);
            }
        }
        self.advance(now);
        Ok(self.assignment(&name).cloned().unwrap_or_default())
    }

    /// A worker keeps what it claims unless another worker has it under a higher epoch: the store may have lost its
    /// last writes, or this coordinator may be new. A shard whose owner was heard from stays that owner's until the
    /// store says otherwise.
    fn adopt_running(
        &mut self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        running: &BTreeMap<ShardNumber, Epoch>,
        now: Duration,
    ) {
        let (mut unwritten, mut contested) = (Vec::new(), Vec::new());
        for (&shard, &epoch) in running {
            let Some(slot) = self.slots.get_mut(shard.0 as usize) else { continue };
            let is_owner = slot.owner.as_ref().is_some_and(|owner| {
                owner.worker == *worker && owner.incarnation == *incarnation && owner.epoch == epoch
            });
            slot.confirmed |= is_owner;
            if is_owner || epoch <= slot.highest && slot.owner.is_some() || epoch < slot.highest {
                continue;
            }
            if let Some(owner) = Self::contested_owner(slot, shard, worker) {
                contested.push(owner);
                continue;
            }
            slot.highest = epoch;
            slot.report = None;
            slot.confirmed = true;
            slot.ran = true;
            slot.owner = Some(ShardOwner {
                worker: worker.clone(),
                incarnation: incarnation.clone(),
                epoch,
                phase: Phase::Running,
                since: now,
                found: true,
                handed_over: None,
                identifies: false,
                start_ended: false,
                careful: false,
                suspected: false,
                killed: Vec::new(),
                ran_before: false,
            });
            slot.previous_owner = None;
            unwritten.push(Ownership {
                shard,
                worker: worker.clone(),
                incarnation: incarnation.clone(),
                epoch,
            });
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

//! Which worker runs which shard: the deterministic core of the coordinator.
//!
//! Inputs are method calls with the time; the decisions come out as [`Effect`]s, taken with [`Fleet::take_effects`]. The
//! fleet does no I/O, reads no clock and holds no lock, so every run can be replayed.
//!
//! Intent and observation are kept apart: the owner of a [`Slot`](slot::Slot) is what the coordinator wants and has written
//! to the store, its report is what the owner last said. A shard moves from one worker to another in this order, which keeps
//! invariant I1:
//!
//! 1. the owner is told to stop it ([`Phase::Releasing`]) and reports that it has; or its lease is revoked in the store,
//!    which the store allows only once the lease has lapsed. Before the owner is told, the new owner copies the shard
//!    ([`handoff`]);
//! 2. the new owner and a higher epoch are written to the store ([`Phase::Writing`]);
//! 3. the new owner is told to run the shard ([`Phase::Running`]).
//!
//! The state is split by subject: [`TermState`] (this coordinator's waits), [`TotalState`] (how many shards), slots and
//! workers, [`HeadSigningState`] (how checkpoints are signed), [`Intent`] (what operators want), [`StoreState`] (how far the store can be believed) and [`DeathRecords`].

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use fleet_model::{
    Arriving, Assignment, Departing, Epoch, Generation, Incarnation, ShardKey, ShardSlot, WorkerId,
};

mod breaker;
mod claims;
mod deaths;
mod effect;
mod evidence;
mod excluded;
mod formats;
mod handoff;
mod head_signing;
mod intent;
mod joining;
mod kills;
mod losing;
mod moving;
mod pace;
mod plan;
mod reporting;
mod slot;
mod starting;
mod store_state;
mod term;
#[cfg(test)]
mod tests;
mod total;
mod unregistered;
mod view;
mod worker;

use deaths::DeathRecords;
use head_signing::HeadSigningState;
use pace::Pace;
use slot::{Phase, Slot};
use store_state::StoreState;
use term::TermState;
use total::TotalState;
use worker::KnownWorker;

pub use breaker::HoldBack;
pub use effect::{Effect, Note, Ownership, RevocationCause};
pub use evidence::{ExitRefused, Finding};
pub use intent::Intent;
pub use joining::{Registration, RegistrationRefused};
pub use losing::LeaseVerdict;
pub use plan::{PlanBudget, PlanKind, PlanRefused, PlanState, PlanView};
pub use reporting::{LeaseAnswer, UnknownWorker};
pub use starting::{Recovered, RecoveredOwner, RecoveredWorker};
pub use total::{ShardTotal, WantedTotal};
pub use view::{FleetView, HeldBackCounts, ShardView, WorkerView};

/// How long to wait before the store is asked again after it could not say.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A moment, on the coordinator's monotonic clock and on the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Since the coordinator started.
    pub mono: Duration,
    /// Since the Unix epoch, in milliseconds: new epochs are made of it.
    pub unix_ms: u64,
}

/// The numbers that the fleet's decisions depend on.
#[derive(Clone, Copy, Debug)]
pub struct FleetRules {
    /// How long a lease lasts after each renewal.
    pub lease_ttl: Duration,
    /// How long a fleet that runs no shards waits for more workers before it assigns any.
    pub settle: Duration,
    /// How many shards may move at once.
    pub moves_at_once: usize,
    /// How many of them may need an IDENTIFY.
    pub identifies_at_once: usize,
    /// How many shards one millisecond lets the fleet decide about: see [`pace`].
    pub decided_per_ms: u32,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Fleet {
    rules: FleetRules,
    term: TermState,
    total: TotalState,
    slots: Vec<Slot>,
    workers: BTreeMap<WorkerId, KnownWorker>,
    heads: HeadSigningState,
    intent: Intent,
    /// The generation that the operator named for a fleet that has no active one.
    named_generation: Option<Generation>,
    store: StoreState,
    deaths: DeathRecords,
    pace: Pace,
    effects: Vec<Effect>,
}

impl Fleet {
    /// Returns the effects so far, for the caller to carry out in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Returns how many shards the bot has, once settled.
    pub fn shard_total(&self) -> Option<u32> {
        self.total.settled()
    }

    /// Returns the owner of a shard and its epoch, once the owner has been told.
    pub fn owner(&self, shard: impl Into<ShardSlot>) -> Option<(&WorkerId, Epoch)> {
        let owner = self.slots.get(shard.into().0 as usize)?.owner.as_ref()?;
        (owner.phase == Phase::Running).then_some((&owner.worker, owner.epoch))
    }

    /// Returns the shard of a slot; `None` when the fleet has none, or its total is not settled.
    pub fn shard(&self, slot: ShardSlot) -> Option<ShardKey> {
        self.slots.get(slot.0 as usize).map(|slot| slot.key)
    }

    /// Returns whether a worker is known under this incarnation.
    pub fn knows(&self, worker: &WorkerId, incarnation: &Incarnation) -> bool {
        self.workers.get(worker).is_some_and(|known| known.incarnation == *incarnation)
    }

    /// Returns the last assignment that a worker was sent.
    pub fn assignment(&self, worker: &WorkerId) -> Option<&Assignment> {
        self.workers.get(worker).map(|worker| &worker.assignment)
    }

    /// Applies the passage of time. To be called a few times a second.
    pub fn tick(&mut self, now: Now) {
        self.pace.note_time(&self.rules, self.slots.len(), now.mono);
        self.term.note_tick(&self.rules, now);
        self.deaths.forget_old(now.mono);
        self.store.forget_revocations(term::grace(&self.rules), now);
        self.readmit(now);
        self.settle_total(now);
        self.note_running(now);
        self.probe_broken_streams(now);
        self.check_silent_workers(now);
        self.adopt_generation(now);
        self.rewrite_invalid(now);
        self.decide(now);
    }

    /// Applies what follows from a change: now, or a moment later in a large fleet that has just decided ([`pace`]).
    fn advance(&mut self, now: Now) {
        self.pace.note_change();
        self.decide(now);
    }

    /// Applies what follows from the present state, and sends the assignments that it changes, if that is due.
    fn decide(&mut self, now: Now) {
        if !self.pace.take_due(&self.rules, self.slots.len(), now.mono) {
            return;
        }
        self.reopen_total(now);
        self.choose_generation(now);
        self.assign_and_move(now, false);
        self.follow_plan(now);
        self.decide_head_signing(now);
        self.refresh_assignments(None);
    }

    /// Sends a new assignment to each worker, or to one, whose set has changed.
    fn refresh_assignments(&mut self, only: Option<&WorkerId>) {
        let Some(total) = self.shard_total() else { return };
        let is_asked = |worker: &WorkerId| only.is_none_or(|only| only == worker);
        let mut wanted: HashMap<WorkerId, Assignment> = HashMap::new();
        for slot in &self.slots {
            if let Some(owner) = &slot.owner
                && owner.phase == Phase::Running
                && slot.confirmed
                && is_asked(&owner.worker)
            {
                let set = wanted.entry(owner.worker.clone()).or_default();
                set.shards.insert(slot.key, owner.epoch);
                set.handed_over.extend(owner.start.handed_over.map(|epoch| (slot.key, epoch)));
                set.careful.extend(owner.start.careful.then_some(slot.key));
                set.ran_before.extend(owner.start.ran_before.then_some(slot.key));
                set.suspected.extend(owner.start.suspected.then_some(slot.key));
                set.killed.extend(owner.start.killed.iter().map(|epoch| (slot.key, *epoch)));
            }
            if slot.handoff.is_none() {
                continue;
            }
            if let Some((from, departing)) = departing_shard(slot) {
                wanted.entry(from.clone()).or_default().departing.insert(slot.key, departing);
            }
            if let Some((to, arriving)) = self.arriving_shard(slot) {
                wanted.entry(to.clone()).or_default().arriving.insert(slot.key, arriving);
            }
        }
        let format = self.checkpoint_format();
        for (name, worker) in self.workers.iter_mut().filter(|(name, _)| is_asked(name)) {
            let mut set = wanted.remove(name).unwrap_or_default();
            (set.revision, set.shard_total) = (worker.assignment.revision, total);
            set.checkpoint_format = format;
            set.head_signing = self.heads.now;
            if worker.assignment != set {
                set.revision += 1;
                worker.assignment = set;
                self.effects.push(Effect::Send(name.clone(), worker.assignment.clone()));
            }
        }
    }

    /// Returns the target of a handoff and what it copies. The target keeps its copy until it is told to run the shard.
    fn arriving_shard<'a>(&self, slot: &'a Slot) -> Option<(&'a WorkerId, Arriving)> {
        let handoff = slot.handoff.as_ref()?;
        let (from, epoch, url) = match &slot.owner {
            Some(owner) if owner.phase != Phase::Writing => {
                (&owner.worker, owner.epoch, self.workers.get(&owner.worker)?.profile.url.clone())
            }
            _ => {
                let previous_owner = slot.previous_owner.as_ref()?;
                (&previous_owner.worker, previous_owner.epoch, previous_owner.url.clone())
            }
        };
        Some((&handoff.to, Arriving { epoch, from: from.clone(), url, ticket: None }))
    }

    fn note(&mut self, note: Note) {
        self.effects.push(Effect::Note(note));
    }

    /// Returns whether no shard has an owner.
    fn runs_nothing(&self) -> bool {
        self.slots.iter().all(|slot| slot.owner.is_none())
    }
}

/// Returns the source of a handoff and what it may give away. Once it is told to release the shard, no other copy may begin.
fn departing_shard(slot: &Slot) -> Option<(&WorkerId, Departing)> {
    let (handoff, owner) = (slot.handoff.as_ref()?, slot.owner.as_ref()?);
    let departing = Departing { epoch: owner.epoch, to: handoff.to.clone(), ticket: None };
    (owner.phase == Phase::Running && slot.confirmed && owner.worker != handoff.to)
        .then_some((&owner.worker, departing))
}

//! Who runs what: the deterministic heart of the coordinator.
//!
//! Inputs go in as method calls with the time; what is to be done comes out as [`Effect`]s, taken with
//! [`Fleet::take_effects`]. It does no I/O, reads no clock and holds no lock, so every run can be replayed.
//!
//! Intent and observation are kept apart: a [`Slot`]'s owner is what the coordinator wants and has written down, its report
//! is what the owner last said. A shard goes from one worker to another in this order, which is what keeps invariant I1:
//!
//! 1. the owner is told to run it no more ([`Phase::Releasing`]), and says that it does not; or its lease is revoked in the
//!    store, which the store allows only once it has lapsed. Before it is told so, the new owner copies what it knows
//!    ([`handoff`]);
//! 2. the new owner and a higher epoch are written to the store ([`Phase::Writing`]);
//! 3. the new owner is told ([`Phase::Running`]).

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use fleet_model::{
    Arriving, Assignment, Epoch, Generation, Incarnation, SessionNeeds, ShardNumber, ShardReport,
    StartOutcome, Term, WorkerId,
};

mod breaker;
mod claims;
mod evidence;
mod excluded;
mod formats;
mod handoff;
mod intent;
mod joining;
mod kills;
mod losing;
mod moving;
mod plan;
mod reporting;
mod starting;
#[cfg(test)]
mod tests;
mod total;
mod unregistered;
mod view;

use breaker::DeathBreaker;
use evidence::{BrokenStream, WorkerAddresses};
use excluded::TokenRecord;
use handoff::{Handoff, PreviousOwner};
use kills::KillReports;
use total::LastRan;
use unregistered::UnregisteredWorkers;

pub use breaker::HoldBack;
pub use evidence::{ExitRefused, Finding};
pub use formats::Formats;
pub use intent::Intent;
pub use joining::{Registration, RegistrationRefused};
pub use losing::LeaseVerdict;
pub use plan::{PlanBudget, PlanKind, PlanRefused, PlanState, PlanView};
pub use reporting::{LeaseAnswer, UnknownWorker, WorkerReport};
pub use starting::{Recovered, RecoveredOwner, RecoveredWorker};
pub use total::{ShardTotal, WantedTotal};
pub use view::{FleetView, HeldBackCounts, ShardView, WorkerView};

/// A moment, on the coordinator's monotonic clock and on the wall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Since the coordinator started.
    pub mono: Duration,
    /// Since the Unix epoch, in milliseconds: what new epochs are made of.
    pub unix_ms: u64,
}

/// The numbers that the fleet's decisions depend on.
#[derive(Clone, Copy, Debug)]
pub struct FleetRules {
    /// How long a lease lasts after each renewal.
    pub lease_ttl: Duration,
    /// How long a fleet with no shards running waits for more workers before it hands out any.
    pub settle: Duration,
    /// How many shards may be on their way from one worker to another at once.
    pub moves_at_once: usize,
    /// How many of them may need an IDENTIFY.
    pub identifies_at_once: usize,
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write owners to the store and answer with [`Fleet::on_written`].
    Write(Vec<Ownership>),
    /// Write the shard total to the store.
    WriteTotal(u32),
    /// Write to the store what operators want.
    WriteIntent(Intent),
    /// Tell a worker to give its shards away and exit: [`Fleet::drain_reason`].
    Drain(WorkerId),
    /// Write to the store when shards last ran, in milliseconds since the Unix epoch.
    WriteLastRan(u64),
    /// Send a worker its assignment.
    Send(WorkerId, Assignment),
    /// Let the store revoke a lease, and answer with [`Fleet::on_lease_verdict`].
    Revoke {
        /// Whose.
        worker: WorkerId,
        /// That worker's life.
        incarnation: Incarnation,
        /// Why: on silence only if the lease has lapsed, on evidence in any case.
        cause: RevocationCause,
    },
    /// Find out whose leases live in the store, and answer with [`Fleet::on_leases_found`].
    FindLeases,
    /// Look at a worker's address, and answer with [`Fleet::on_probe`].
    Probe {
        /// The worker that answered there.
        worker: WorkerId,
        /// That worker's life.
        incarnation: Incarnation,
        /// Where.
        address: SocketAddr,
        /// When its stream broke: belongs to the answer.
        broke_at: Duration,
    },
    /// Remove a worker's record from the store: it left.
    Forget(WorkerId, Incarnation),
    /// Something an operator wants to read.
    Note(Note),
}

/// A shard, its owner and its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The shard.
    pub shard: ShardNumber,
    /// The worker that shall run it.
    pub worker: WorkerId,
    /// That worker's life.
    pub incarnation: Incarnation,
    /// The epoch.
    pub epoch: Epoch,
}

/// Why a lease is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevocationCause {
    /// Nothing was heard of the worker for the TTL.
    Silence,
    /// The worker's process is gone.
    Evidence,
}

impl RevocationCause {
    /// Its name for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Evidence => "evidence",
        }
    }
}

/// What happened, for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A worker registered; it runs so many shards already.
    Joined {
        /// Who.
        worker: WorkerId,
        /// How many shards it runs.
        running: usize,
    },
    /// A worker gave its shards away and left.
    Left(WorkerId),
    /// A worker whose token Discord refused may get shards again.
    Readmitted(WorkerId),
    /// A worker's lease was revoked; so many shards have no owner now.
    Lost {
        /// Who.
        worker: WorkerId,
        /// How many shards it had.
        shards: usize,
        /// Why.
        cause: RevocationCause,
        /// How long ago its stream broke; `None` when it has another by now, or this coordinator never saw one.
        since_broken: Option<Duration>,
    },
    /// A look at the address of a worker without a stream.
    Probed {
        /// Who.
        worker: WorkerId,
        /// What it showed.
        finding: Finding,
    },
    /// A shard came to be connected.
    Started {
        /// The shard.
        shard: ShardNumber,
        /// Its owner.
        worker: WorkerId,
        /// How.
        outcome: StartOutcome,
    },
    /// A shard is to go from one worker to another, which copies it now.
    Moving {
        /// The shard.
        shard: ShardNumber,
        /// Its owner.
        from: WorkerId,
        /// The other.
        to: WorkerId,
    },
    /// A shard was asked back from its owner.
    Releasing {
        /// The shard.
        shard: ShardNumber,
        /// Its owner.
        from: WorkerId,
        /// The next owner has its copy.
        copied: bool,
    },
    /// A plan began, or came to another state.
    Plan {
        /// What it does.
        description: String,
        /// How it stands.
        state: PlanState,
        /// Why.
        reason: String,
    },
    /// Another deployment is the active one, as nobody is left of the one before.
    Adopted(Generation),
    /// A shard was assigned.
    Assigned(Ownership),
    /// The shard total was settled.
    TotalSettled(u32),
    /// A worker claims shards of live owners; the store decides.
    Contested {
        /// The worker that registered.
        worker: WorkerId,
        /// The number of shards.
        shards: usize,
    },
    /// The store refused an owner: it holds a higher epoch.
    Outranked {
        /// The shard.
        shard: ShardNumber,
        /// The epoch that the store holds.
        by: Epoch,
    },
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Fleet {
    rules: FleetRules,
    term: Term,
    total: ShardTotal,
    /// The total that the store has, or is being sent.
    written_total: Option<u32>,
    last_ran: LastRan,
    slots: Vec<Slot>,
    workers: BTreeMap<WorkerId, KnownWorker>,
    intent: Intent,
    /// Shards ran before this coordinator started, under any total.
    ran: bool,
    /// This coordinator stops: no shard sets out any more.
    stopping: bool,
    /// Since when nobody of the active deployment is there, while others are.
    active_gone_since: Option<Duration>,
    /// Nothing is assigned to a fleet that runs nothing before this moment.
    settle_until: Duration,
    /// Nobody is called silent before this moment: the silence may have been ours.
    grace_until: Duration,
    /// Nothing free is assigned before this moment: it may run on a worker that nobody wrote down.
    unregistered_until: Duration,
    last_tick: Duration,
    store: StoreTrust,
    /// There was a coordinator before this one, or a fleet that nobody wrote down.
    had_predecessor: bool,
    unregistered: UnregisteredWorkers,
    /// Lives that were revoked on evidence, and when: a store that forgets its last writes forgets that too.
    revoked_lately: Vec<(WorkerId, Incarnation, Duration)>,
    breaker: DeathBreaker,
    kills: KillReports,
    effects: Vec<Effect>,
}

/// One shard.
#[derive(Clone, Debug, Default)]
struct Slot {
    owner: Option<ShardOwner>,
    /// The highest epoch ever heard of.
    highest: Epoch,
    report: Option<Observed>,
    /// This coordinator has heard its owner with it, or has assigned it: nobody that it does not know can have it.
    confirmed: bool,
    /// It is to go to another worker, while its owner runs it on.
    handoff: Option<Handoff>,
    /// Who let it go in order.
    previous_owner: Option<PreviousOwner>,
    /// Consecutive writes of its owner that the store refused.
    refused: u32,
    /// A worker was told to run it, or may have been.
    ran: bool,
    /// No assignment before this moment: writing the owner failed.
    assign_at: Duration,
}

/// Who shall run a shard.
#[derive(Clone, Debug)]
struct ShardOwner {
    worker: WorkerId,
    incarnation: Incarnation,
    epoch: Epoch,
    phase: Phase,
    /// Since when it is the owner.
    since: Duration,
    /// It ran the shard already when this coordinator first heard of it.
    found: bool,
    /// The epoch of the owner before, when that one handed the shard over.
    handed_over: Option<Epoch>,
    /// It can't resume the session of the owner before.
    identifies: bool,
    /// It has had the shard ready, or failed: whatever comes later is no matter of how it got there.
    start_ended: bool,
    /// Owners before it died of the shard: decided when it was assigned, so that it stays what it was begun with.
    careful: bool,
    /// Only the previous owner died of the shard.
    suspected: bool,
    /// Epochs of previous owners that were killed from outside.
    killed: Vec<Epoch>,
    /// Another worker ran the shard before, or may have.
    ran_before: bool,
}

/// How far an assignment has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is being written to the store; the worker does not know of it.
    Writing,
    /// It is written, and the worker is told.
    Running,
    /// The worker is told to stop it; a report at this assignment revision or later without the shard ends it.
    Releasing { revision: u64 },
}

/// What an owner last said of a shard.
#[derive(Clone, Debug)]
struct Observed {
    report: ShardReport,
    at: Duration,
}

/// One worker.
#[derive(Clone, Debug)]
struct KnownWorker {
    incarnation: Incarnation,
    url: String,
    version: String,
    capacity: Option<u32>,
    /// Its deployment; `None` before it has registered here.
    generation: Option<Generation>,
    /// What it opens sessions with, if it says so.
    needs: Option<SessionNeeds>,
    formats: Formats,
    /// It registered with this coordinator.
    heard: bool,
    /// Its heartbeat stream is open.
    connected: bool,
    draining: bool,
    token: TokenRecord,
    /// The worker cannot reach the store; it gets no more shards while another worker can take them.
    store_away: bool,
    /// A supervisor reported an exit that the probe did not confirm.
    exit_unconfirmed: bool,
    /// It was told to give its shards away and exit, and why: it is told again when it has lost its stream.
    drain_reason: Option<String>,
    last_heard: Duration,
    /// It was silent for so long that its window closed, and the store could not be believed since: nothing opens it again
    /// here before that.
    lapsed: bool,
    rss_bytes: u64,
    /// What it was told last.
    assignment: Assignment,
    /// The store was asked about its lease, and shall not be asked again before this moment.
    lease_check: Option<Duration>,
    addresses: WorkerAddresses,
    /// Its stream broke, and it was not heard since.
    broken: Option<BrokenStream>,
    /// No shard moves to it before this moment: it died lately, and shall show first that it stays.
    calm_until: Duration,
}

/// Whether the store's word that a lease has lapsed can be believed. Not when it was away or restarted within the last
/// TTL: then it may have lost a renewal.
#[derive(Clone, Copy, Debug)]
enum StoreTrust {
    Away,
    Since(Duration),
}

impl Fleet {
    /// The effects so far, for the caller to carry out in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// How many shards the bot has, once settled.
    pub fn shard_total(&self) -> Option<u32> {
        self.total.settled()
    }

    /// The worker and epoch that a shard belongs to, once its owner knows it.
    pub fn owner(&self, shard: ShardNumber) -> Option<(&WorkerId, Epoch)> {
        let owner = self.slots.get(shard.0 as usize)?.owner.as_ref()?;
        (owner.phase == Phase::Running).then_some((&owner.worker, owner.epoch))
    }

    /// Whether this is the incarnation under which a worker is known.
    pub fn knows(&self, worker: &WorkerId, incarnation: &Incarnation) -> bool {
        self.workers.get(worker).is_some_and(|known| known.incarnation == *incarnation)
    }

    /// What a worker shall run, as it was last told.
    pub fn assignment(&self, worker: &WorkerId) -> Option<&Assignment> {
        self.workers.get(worker).map(|worker| &worker.assignment)
    }

    /// Time has passed. To be called a few times a second.
    pub fn tick(&mut self, now: Now) {
        // After a stall of our own, the workers' silence may have been ours.
        if now.mono.saturating_sub(self.last_tick) >= self.rules.lease_ttl / 2 {
            self.grace_until = self.grace_until.max(now.mono + self.grace());
        }
        self.last_tick = now.mono;
        self.breaker.forget_old(now.mono);
        self.kills.forget_old(now.mono);
        self.forget_revocations(now);
        self.readmit(now);
        self.settle_total(now);
        self.note_running(now);
        self.probe_broken_streams(now);
        self.check_silent_workers(now);
        self.adopt_generation(now);
        self.rewrite_invalid(now);
        self.advance(now);
    }

    /// Decides what follows from the present state, and tells the workers whose assignment it changes.
    fn advance(&mut self, now: Now) {
        self.reopen_total(now);
        self.assign_and_move(now, false);
        self.follow_plan(now);
        self.refresh_assignments();
    }

    /// Sends each worker whose set has changed the new one.
    fn refresh_assignments(&mut self) {
        let Some(total) = self.shard_total() else { return };
        let mut wanted: BTreeMap<WorkerId, Assignment> = BTreeMap::new();
        for (number, slot) in (0..).map(ShardNumber).zip(&self.slots) {
            if let Some(owner) = &slot.owner
                && owner.phase == Phase::Running
                && slot.confirmed
            {
                let set = wanted.entry(owner.worker.clone()).or_default();
                set.shards.insert(number, owner.epoch);
                set.handed_over.extend(owner.handed_over.map(|epoch| (number, epoch)));
                set.careful.extend(owner.careful.then_some(number));
                set.ran_before.extend(owner.ran_before.then_some(number));
                set.suspected.extend(owner.suspected.then_some(number));
                set.killed.extend(owner.killed.iter().map(|epoch| (number, *epoch)));
            }
            if let Some((to, arriving)) = self.arriving_shard(slot) {
                wanted.entry(to.clone()).or_default().arriving.insert(number, arriving);
            }
        }
        let format = self.checkpoint_format();
        for (name, worker) in &mut self.workers {
            let mut set = wanted.remove(name).unwrap_or_default();
            (set.revision, set.shard_total) = (worker.assignment.revision, total);
            set.checkpoint_format = format;
            if worker.assignment != set {
                set.revision += 1;
                worker.assignment = set;
                self.effects.push(Effect::Send(name.clone(), worker.assignment.clone()));
            }
        }
    }

    /// Who is to copy a shard from whom. It keeps its copy until it is told to run the shard.
    fn arriving_shard<'a>(&self, slot: &'a Slot) -> Option<(&'a WorkerId, Arriving)> {
        let handoff = slot.handoff.as_ref()?;
        let (from, epoch, url) = match &slot.owner {
            Some(owner) if owner.phase != Phase::Writing => {
                (&owner.worker, owner.epoch, self.workers.get(&owner.worker)?.url.clone())
            }
            _ => {
                let previous_owner = slot.previous_owner.as_ref()?;
                (&previous_owner.worker, previous_owner.epoch, previous_owner.url.clone())
            }
        };
        Some((&handoff.to, Arriving { epoch, from: from.clone(), url }))
    }

    /// How long a coordinator that was away gives the workers to be heard.
    fn grace(&self) -> Duration {
        self.rules.lease_ttl + Duration::from_secs(1)
    }

    fn note(&mut self, note: Note) {
        self.effects.push(Effect::Note(note));
    }

    /// Nobody runs any shard.
    fn runs_nothing(&self) -> bool {
        self.slots.iter().all(|slot| slot.owner.is_none())
    }
}

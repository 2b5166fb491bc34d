//! What the fleet asks its shell to do, as values.

use std::{net::SocketAddr, time::Duration};

use fleet_model::{
    Assignment, Epoch, Generation, HeadSigning, Incarnation, ShardKey, StartOutcome, WorkerId,
};

use super::{Finding, Intent, PlanState};

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write owners to the store and answer with [`Fleet::on_written`](super::Fleet::on_written).
    Write(Vec<Ownership>),
    /// Write the shard total to the store.
    WriteTotal(u32),
    /// Write the operators' intent to the store.
    WriteIntent(Intent),
    /// Tell a worker to hand off its shards and exit: [`Fleet::drain_reason`](super::Fleet::drain_reason).
    Drain(WorkerId),
    /// Write to the store when shards last ran, in milliseconds since the Unix epoch.
    WriteLastRan(u64),
    /// Write to the store how the heads of checkpoints are signed.
    WriteHeadSigning(HeadSigning),
    /// Send a worker its assignment.
    Send(WorkerId, Assignment),
    /// Have the store revoke a lease, and answer with [`Fleet::on_lease_verdict`](super::Fleet::on_lease_verdict).
    Revoke {
        /// The worker that holds the lease.
        worker: WorkerId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// Why: on silence only if the lease has lapsed, on evidence in any case.
        cause: RevocationCause,
    },
    /// List the live leases of the store, and answer with [`Fleet::on_leases_found`](super::Fleet::on_leases_found).
    FindLeases,
    /// Probe a worker's address, and answer with [`Fleet::on_probe`](super::Fleet::on_probe).
    Probe {
        /// The worker that answered there.
        worker: WorkerId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// The address.
        address: SocketAddr,
        /// When its stream broke: part of the answer.
        broke_at: Duration,
    },
    /// Remove the record of a worker that left from the store.
    Forget(WorkerId, Incarnation),
    /// Log and count something for operators.
    Note(Note),
}

/// A shard, its owner and its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The shard.
    pub shard: ShardKey,
    /// The worker that must run it.
    pub worker: WorkerId,
    /// That worker's incarnation.
    pub incarnation: Incarnation,
    /// The epoch.
    pub epoch: Epoch,
}

/// Why a lease is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevocationCause {
    /// The worker was silent for the lease's time to live.
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

/// What happened, for logs, metrics and the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A worker registered.
    Joined {
        /// The worker.
        worker: WorkerId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// How many shards it runs already.
        running: usize,
    },
    /// A worker began to hand off its shards.
    Draining {
        /// The worker.
        worker: WorkerId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// A worker handed off its shards and left.
    Left {
        /// The worker.
        worker: WorkerId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// A worker whose token Discord refused may get shards again.
    Readmitted(WorkerId),
    /// A worker's lease was revoked; its shards have no owner now.
    Lost {
        /// The worker.
        worker: WorkerId,
        /// Its incarnation.
        incarnation: Incarnation,
        /// The shards that it had, with their epochs.
        shards: Vec<(ShardKey, Epoch)>,
        /// Why.
        cause: RevocationCause,
        /// How long ago its stream broke; `None` when it has another by now, or this coordinator never saw one.
        since_broken: Option<Duration>,
    },
    /// The address of a worker without a stream was probed.
    Probed {
        /// The worker.
        worker: WorkerId,
        /// The result.
        finding: Finding,
    },
    /// A shard connected to Discord.
    Started {
        /// The shard.
        shard: ShardKey,
        /// Its owner.
        worker: WorkerId,
        /// The epoch that it runs under.
        epoch: Epoch,
        /// How.
        outcome: StartOutcome,
    },
    /// A handoff began: the target copies the shard.
    Moving {
        /// The shard.
        shard: ShardKey,
        /// Its owner.
        from: WorkerId,
        /// The target.
        to: WorkerId,
    },
    /// An owner was told to release a shard.
    Releasing {
        /// The shard.
        shard: ShardKey,
        /// Its owner.
        from: WorkerId,
        /// The target has its copy.
        copied: bool,
    },
    /// A plan began, or changed its state.
    Plan {
        /// Its number.
        id: u64,
        /// What it does.
        description: String,
        /// Its state.
        state: PlanState,
        /// Why.
        reason: String,
    },
    /// Another generation became active, as the active one has no workers left.
    Adopted(Generation),
    /// A shard was assigned.
    Assigned {
        /// Its owner.
        owner: Ownership,
        /// The worker that handed it over, if one did.
        from: Option<WorkerId>,
    },
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
        shard: ShardKey,
        /// The epoch that the store holds.
        by: Epoch,
    },
}

//! One shard: its owner, and what the owner last reported.

use std::{sync::Arc, time::Duration};

use fleet_model::{Epoch, Incarnation, ShardKey, ShardReport, WorkerId};

use super::Ownership;

/// One shard.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) key: ShardKey,
    pub(super) owner: Option<ShardOwner>,
    /// The highest known epoch.
    pub(super) highest: Epoch,
    pub(super) report: Option<Observed>,
    /// Its owner has reported it, or this coordinator has assigned it and written the owner: no other worker can have it.
    pub(super) confirmed: bool,
    /// The handoff to another worker, while the owner still runs the shard.
    pub(super) handoff: Option<Handoff>,
    /// The worker that released it in order.
    pub(super) previous_owner: Option<PreviousOwner>,
    /// Consecutive writes of its owner that the store refused.
    pub(super) refused: u32,
    /// A worker was told to run it, or may have been.
    pub(super) ran: bool,
    /// No assignment before this moment: writing the owner failed.
    pub(super) assign_at: Duration,
}

impl Slot {
    /// A shard without an owner.
    pub(super) fn new(key: ShardKey, ran: bool) -> Self {
        Self {
            key,
            owner: None,
            highest: Epoch::default(),
            report: None,
            confirmed: false,
            handoff: None,
            previous_owner: None,
            refused: 0,
            ran,
            assign_at: Duration::ZERO,
        }
    }

    /// The shards of a total, none of which has an owner.
    pub(super) fn all(total: u32, ran: bool) -> Vec<Self> {
        ShardKey::all(total).map(|key| Self::new(key, ran)).collect()
    }
}

/// The worker that is to run a shard.
#[derive(Clone, Debug)]
pub(super) struct ShardOwner {
    pub(super) worker: WorkerId,
    pub(super) incarnation: Incarnation,
    pub(super) epoch: Epoch,
    pub(super) phase: Phase,
    /// Since when it is the owner.
    pub(super) since: Duration,
    /// It ran the shard already when this coordinator first heard of it.
    pub(super) found: bool,
    /// It cannot resume the previous owner's session.
    pub(super) must_identify: bool,
    /// The shard has become ready under it, or failed; later states do not belong to its start.
    pub(super) start_ended: bool,
    pub(super) start: StartConditions,
}

/// What an owner is told about the shard's past. Decided when the shard is assigned, so that it does not change later.
#[derive(Clone, Debug, Default)]
pub(super) struct StartConditions {
    /// The epoch of the previous owner, if that one handed the shard over.
    pub(super) handed_over: Option<Epoch>,
    /// Previous owners died of the shard.
    pub(super) careful: bool,
    /// Only the last previous owner died of the shard.
    pub(super) suspected: bool,
    /// Epochs of previous owners that were killed from outside.
    pub(super) killed: Vec<Epoch>,
    /// Another worker ran the shard before, or may have.
    pub(super) ran_before: bool,
}

/// A shard's way to another worker, while its owner still runs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handoff {
    pub(super) to: WorkerId,
    pub(super) incarnation: Incarnation,
    pub(super) since: Duration,
    /// The target has reported a complete copy.
    pub(super) copied: bool,
    /// The target can't resume the session.
    pub(super) must_identify: bool,
}

/// The worker that released a shard in order. No worker has run it since.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PreviousOwner {
    pub(super) worker: WorkerId,
    pub(super) incarnation: Incarnation,
    pub(super) epoch: Epoch,
    /// Its URL, which identifies it for workers that have copied the shard, even if it is gone.
    pub(super) url: String,
    pub(super) at: Duration,
}

/// How far an assignment has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is being written to the store; the worker does not know of it.
    Writing,
    /// It is written, and the worker is told.
    Running,
    /// The worker is told to stop it; a report at this assignment revision or later without the shard ends it.
    Releasing { revision: u64 },
}

/// An owner's last report of a shard.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) report: Arc<ShardReport>,
    pub(super) at: Duration,
}

impl ShardOwner {
    /// An owner that ran the shard before this coordinator heard of it.
    pub(super) fn found(worker: WorkerId, incarnation: Incarnation, epoch: Epoch, now: Duration) -> Self {
        Self {
            worker,
            incarnation,
            epoch,
            phase: Phase::Running,
            since: now,
            found: true,
            must_identify: false,
            start_ended: false,
            start: StartConditions::default(),
        }
    }

    /// The record of this owner for the store.
    pub(super) fn ownership(&self, shard: ShardKey) -> Ownership {
        Ownership {
            shard,
            worker: self.worker.clone(),
            incarnation: self.incarnation.clone(),
            epoch: self.epoch,
        }
    }
}

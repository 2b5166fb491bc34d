//! What the task of one shard works with: shared by its [runner](super::runner) and its [connections](super::connection).

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{commands::Commands, dialing::Dialing, protocol::GatewaySettings};
use crate::{
    bot::EventQueue, checkpoints::Checkpoints, handoff::CopySlot, identify::IdentifyClient,
    lease::LeaseWindow, metrics::ShardMetrics, shard_state::ShardState,
};

/// How often the task runs its checks when nothing arrives.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// The parts of a shard's task.
pub(crate) struct RunnerParts {
    pub(crate) shard: Arc<ShardState>,
    pub(crate) settings: Arc<GatewaySettings>,
    pub(crate) lease: LeaseWindow,
    pub(crate) identify: IdentifyClient,
    pub(crate) metrics: ShardMetrics,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) event_queue: EventQueue,
    /// What bots send on its connection.
    pub(crate) commands: Arc<Commands>,
    /// Where the worker that copies it waits for the rest.
    pub(crate) copy_slot: Arc<CopySlot>,
    /// Names of the cache resources that a checkpoint must hold.
    pub(crate) resources: Vec<String>,
    /// Another worker ran the shard before, as the coordinator says.
    pub(crate) ran_before: bool,
    /// The waits before its connections, which earlier tasks of the shard share.
    pub(crate) dialing: Dialing,
    pub(crate) stop: CancellationToken,
}

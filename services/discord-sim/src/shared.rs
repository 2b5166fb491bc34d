//! Handles that gateway connections and background tasks share.

use crate::hub::Hub;
use std::sync::Arc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Handles of a running simulator.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    /// Cancelled when the simulator shuts down.
    pub(crate) stop: CancellationToken,
    /// Owns the gateway connections and background tasks.
    pub(crate) tasks: TaskTracker,
}

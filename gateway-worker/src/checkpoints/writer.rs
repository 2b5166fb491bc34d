//! Writes one shard's checkpoints, in a task of its own that ends with the shard's.
//!
//! The order keeps a checkpoint whole at any moment: `read` is taken first, then changes and pending events, so that both reach
//! at least as far; records are written before the head that names them. Records may be newer than the head: each guild has a
//! stamp, and events replayed up to it change nothing.
//!
//! When the fleet's format becomes older, or guilds have other keys in the new format, a pass rewrites all records in place. Until the pass
//! is done, a worker that reads only the older format cannot resume the shard. Each guild's keys are replaced in one step.

use fleet_model::Position;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use checkpoint::{FORMAT_MIN, PendingEvent};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::Checkpoints;
use crate::{bot::EventQueue, cache::Layouts, shard_state::ShardState};

mod pass;

use pass::Pass;

/// How long the last checkpoint of a shard may take.
const LAST: Duration = Duration::from_secs(2);

/// The writer of a shard, held by the shard's task. Ends on drop.
#[derive(Debug)]
pub(crate) struct Writer {
    soon: Arc<Notify>,
    last: Option<oneshot::Sender<LastCheckpoint>>,
    task: AbortOnDropHandle<()>,
}

/// What the store holds when writing begins.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The session that they belong to.
    pub(crate) session: u64,
    /// The pending events.
    pub(crate) pending: BTreeSet<Position>,
    /// The newest format that a record has.
    pub(crate) format: u16,
    /// The kinds of keys that its guilds have.
    pub(crate) layouts: Layouts,
}

/// The last checkpoint of an owner that stops in order.
#[derive(Debug)]
pub(crate) struct LastCheckpoint {
    /// All events whose handlers have not started.
    pub(crate) pending: Vec<PendingEvent>,
    /// Discord will repeat no event.
    pub(crate) exact: bool,
}

impl Writer {
    /// Starts to write. `serial`: from the claim of the checkpoint. `stored`: the usable part of what the store holds.
    pub(crate) fn start(
        checkpoints: Checkpoints,
        shard: Arc<ShardState>,
        event_queue: EventQueue,
        serial: u64,
        stored: Option<Stored>,
    ) -> Self {
        let soon = Arc::new(Notify::new());
        let (last, end) = oneshot::channel();
        let (stored, stored_pending, stored_format, layouts) = match stored {
            Some(Stored { session, pending, format, layouts }) => (Some(session), pending, format, layouts),
            None => (None, BTreeSet::new(), FORMAT_MIN, Layouts::default()),
        };
        let pass = Pass {
            checkpoints,
            shard,
            event_queue,
            serial,
            stored,
            stored_pending,
            stored_handled: BTreeSet::new(),
            stored_format,
            stored_layouts: layouts,
            doubtful_pending: BTreeSet::new(),
            in_doubt: false,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(pass.run(soon.clone(), end)));
        Self { soon, last: Some(last), task }
    }

    /// A new session has begun: its head is written at once.
    pub(crate) fn write_soon(&self) {
        self.soon.notify_one();
    }

    /// Writes the last checkpoint of an owner that stops in order.
    pub(crate) async fn finish(mut self, word: LastCheckpoint) {
        if let Some(last) = self.last.take() {
            let _ = last.send(word);
        }
        if tokio::time::timeout(LAST, &mut self.task).await.is_err() {
            tracing::warn!("last checkpoint not written in time; the previous one stays");
        }
    }
}

#[cfg(test)]
mod tests;

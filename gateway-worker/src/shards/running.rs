//! A shard that this worker runs.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use fleet_model::ShardReport;

use crate::{
    bot::{EventQueue, ReplayRefused},
    callbacks::ShardCallbacks,
    handoff::CopySlot,
    shard::Commands,
    shard_state::ShardState,
};

/// What a shard says while it is careful.
const CAREFUL: &str = "careful: its owners died; suspect events are handled one at a time";

/// A shard that this worker runs: its state, and what reaches its task and its bot code.
#[derive(Debug)]
pub struct RunningShard {
    state: Arc<ShardState>,
    /// Its events on their way to the handlers: given up when it ends.
    queue: Mutex<Option<EventQueue>>,
    callbacks: ShardCallbacks,
    copy_slot: Arc<CopySlot>,
    commands: Arc<Commands>,
}

impl Deref for RunningShard {
    type Target = ShardState;

    fn deref(&self) -> &ShardState {
        &self.state
    }
}

impl RunningShard {
    /// From here on its queue ends when another worker owns the shard.
    pub(crate) fn new(state: Arc<ShardState>, queue: EventQueue, callbacks: ShardCallbacks) -> Arc<Self> {
        let commands = Arc::new(Commands::new(state.clone()));
        let queue = Mutex::new(Some(queue));
        let running = Arc::new(Self { state, queue, callbacks, copy_slot: Arc::default(), commands });
        let shard = Arc::downgrade(&running);
        running.state.set_on_outranked(move || {
            if let Some(queue) = shard.upgrade().and_then(|shard| shard.queue()) {
                queue.abandon();
            }
        });
        running
    }

    pub(crate) fn state(&self) -> &Arc<ShardState> {
        &self.state
    }

    /// Everything about it, now.
    pub fn report(&self) -> ShardReport {
        let mut report = self.state.report();
        if self.queue().is_some_and(|queue| queue.is_careful()) {
            // The reason why fresh events wait.
            let colon = if report.detail.is_empty() { "" } else { "; " };
            report.detail = format!("{}{colon}{CAREFUL}", report.detail);
        }
        report
    }

    fn queue(&self) -> Option<EventQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shuts the queue, because the shard's task has ended or is given up, and lets it go.
    pub(crate) fn detach_queue(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Outside the lock.
        if let Some(queue) = queue {
            queue.abandon();
        }
    }

    /// How its handlers are doing.
    pub(crate) fn queue_figures(&self) -> Option<dispatch::QueueFigures> {
        self.queue().map(|queue| queue.figures())
    }

    /// Gives an event that was set aside to its handlers again.
    pub(crate) fn replay(&self, event: checkpoint::SetAside) -> Result<(), ReplayRefused> {
        self.queue().ok_or(ReplayRefused::Closed)?.replay(event)
    }

    /// Its messages and requests to bot code.
    pub(crate) fn callbacks(&self) -> &ShardCallbacks {
        &self.callbacks
    }

    /// Where the worker that copies it waits for the rest.
    pub(crate) fn copy_slot(&self) -> &Arc<CopySlot> {
        &self.copy_slot
    }

    /// What bots send on its connection.
    pub(crate) fn commands(&self) -> &Arc<Commands> {
        &self.commands
    }
}

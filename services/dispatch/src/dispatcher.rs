//! Runs the handlers of one shard.
//!
//! It owns the shard's [`Queue`] and starts the events that the queue allows, on the runtime of [`Setup::runtime`],
//! which is not the one that reads sockets and renews leases: a handler that blocks its thread blocks other handlers at
//! most. A task runs handlers [one after another](running), because a task for each would cost more than most handlers do.
//! When a handler waits for something, it keeps the task, and another task runs the next handlers. One lock guards the bookkeeping. It is
//! held only briefly: no handler, log line or drop of an event runs under it.
//!
//! A handler that panics has handled its event: the panic is counted and logged, and its lane goes on. A handler that
//! never ends holds its lane and one of [`Limits::at_once`](crate::Limits::at_once); the figures tell it.
//!
//! A dispatcher that [begins carefully](Dispatcher::begin_carefully) asks before each suspect and tells when it has ended, so that
//! its owner can write that down.
//!
//! A handler's task that is dropped before its end, as its runtime shut down, is not done: its event stays pending.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime, sync::Notify};
use tokio_util::task::TaskTracker;

use crate::{
    item::Item,
    metrics::DispatchMetrics,
    queue::{Full, Limits, Pending, Queue, QueueFigures},
};

mod running;
#[cfg(test)]
mod tests;

pub use running::{BRIEFLY_ALONE, LONGEST_ALONE};

use running::Runners;

/// Tells the time on the clock of [`Item::received_at`].
pub type DispatchClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Handles events of a shard. One of it is shared by all shards of a process.
#[async_trait::async_trait]
pub trait Handler<T>: Send + Sync + 'static {
    /// Handles one event. Others of the same lane wait until it ends; others of other lanes do not.
    async fn handle(&self, event: &Delivery<T>);

    /// Returns the span in which an event is handled. `None`: it gets one at DEBUG.
    fn span(&self, event: &Item<T>) -> Option<tracing::Span> {
        let _ = event;
        None
    }

    /// Decides about an event before [`Handler::handle`]. May wait; until it returns, the event counts as not started if the
    /// dispatcher is shut.
    async fn admit(&self, event: &Delivery<T>) -> Admission {
        let _ = event;
        Admission::Handle
    }

    /// Called instead of [`Handler::handle`] for an event that was admitted [alone](Delivery::alone), if the dispatcher has been
    /// shut meanwhile.
    async fn not_started(&self, event: &Delivery<T>) {
        let _ = event;
    }

    /// A [suspect](Item::suspect)'s handler came to its end, by a panic too. Until this returns the event is not done.
    async fn ended(&self, event: &Delivery<T>) {
        let _ = event;
    }

    /// Called beside [`Handler::handle`] when an event that was started alone takes so long that others no longer wait for it.
    async fn let_go(&self, event: &Delivery<T>) {
        let _ = event;
    }
}

/// The decision about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is handled.
    Handle,
    /// It is not, and counts as handled.
    LeaveOut,
    /// Queue it again: the dispatcher is about to be shut or closed, which takes it out as not started.
    PutBack,
}

/// An event that is handed to its handler.
#[derive(Clone, Debug)]
pub struct Delivery<T> {
    /// The event.
    pub item: Arc<Item<T>>,
    /// How long it waited since it was received.
    pub queued_for: Duration,
    /// It was started as a suspect of a careful dispatcher: no other runs beside it.
    pub alone: bool,
}

impl<T> Delivery<T> {
    /// Its sequence number in its session.
    pub fn sequence(&self) -> u64 {
        self.item.sequence
    }

    /// Its name.
    pub fn kind(&self) -> &str {
        &self.item.kind
    }

    /// Its guild; `None`: it has none.
    pub fn lane(&self) -> Option<u64> {
        self.item.lane
    }

    /// The event itself.
    pub fn payload(&self) -> &T {
        &self.item.payload
    }
}

/// What the dispatchers of a process have in common.
pub struct Setup<H: ?Sized> {
    /// Handles their events.
    pub handler: Arc<H>,
    /// Of each of them.
    pub limits: Limits,
    /// Where handlers run.
    pub runtime: runtime::Handle,
    /// Has every running handler, those also that outlive the wait of [`Dispatcher::close`]: once it is closed, its `wait`
    /// returns when the last straggler has ended.
    pub stragglers: TaskTracker,
    /// The clock of [`Item::received_at`].
    pub clock: DispatchClock,
    /// Counts for all of them.
    pub metrics: DispatchMetrics,
}

impl<H: ?Sized> Clone for Setup<H> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            limits: self.limits,
            runtime: self.runtime.clone(),
            stragglers: self.stragglers.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

impl<H: ?Sized> fmt::Debug for Setup<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// An item was not taken, and is given back.
#[derive(Debug, thiserror::Error)]
pub enum Refused<T> {
    /// There is no room.
    #[error("the queue is full")]
    Full(Item<T>),
    /// The dispatcher was closed.
    #[error("the dispatcher is closed")]
    Closed(Item<T>),
}

impl<T> Refused<T> {
    /// The item.
    pub fn into_item(self) -> Item<T> {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

/// What was left when a dispatcher was closed.
#[derive(Debug)]
pub struct Closed<T> {
    /// Events whose handlers were not called, in order of receipt.
    pub unstarted: Vec<Arc<Item<T>>>,
    /// Handlers that still ran. They go on to their end.
    pub still_running: usize,
}

/// The handlers of one shard at one epoch. Clones share it.
pub struct Dispatcher<T, H: ?Sized>(Arc<Shared<T, H>>);

struct Shared<T, H: ?Sized> {
    setup: Setup<H>,
    shard: u32,
    epoch: u64,
    state: Mutex<State<T>>,
    /// Told when the queue comes down to half.
    halved: Notify,
    /// Told when the last running handler ended.
    idle: Notify,
}

struct State<T> {
    queue: Queue<T>,
    closed: bool,
    runners: Runners,
}

impl<T, H: ?Sized> Clone for Dispatcher<T, H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, H: ?Sized> fmt::Debug for Dispatcher<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("shard", &self.0.shard)
            .field("epoch", &self.0.epoch)
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static, H: Handler<T> + ?Sized> Dispatcher<T, H> {
    /// Creates the dispatcher of a shard at an epoch. Both are fields of the span `handle_event` of each handler (DEBUG), and of the log line
    /// of a panic.
    pub fn start(setup: Setup<H>, shard: u32, epoch: u64) -> Self {
        let state = Mutex::new(State {
            queue: Queue::new(setup.limits),
            closed: false,
            runners: Runners::of(&setup.runtime),
        });
        Self(Arc::new(Shared { setup, shard, epoch, state, halved: Notify::new(), idle: Notify::new() }))
    }

    /// Is careful from here, until no more suspects come and the last is done: suspects are handled one at a time, in order, and
    /// all else waits. To be told before anything is queued.
    ///
    /// `brief`: also ends when a suspect takes longer than [`BRIEFLY_ALONE`], or with [`Dispatcher::end_care`].
    pub fn begin_carefully(&self, brief: bool) {
        self.0.lock().queue.begin_carefully(brief);
    }

    /// Ends careful mode and lets everything that waits go on.
    pub fn end_care(&self) {
        self.0.lock().queue.end_care();
        Shared::start_all(&self.0);
    }

    /// No more suspects come.
    pub fn suspects_came(&self) {
        self.0.lock().queue.suspects_came();
        Shared::start_all(&self.0);
    }

    /// Whether it is careful.
    pub fn is_careful(&self) -> bool {
        self.0.lock().queue.is_careful()
    }

    /// Queues an event and starts its handler if it may run. Never waits.
    ///
    /// # Errors
    /// There is no room, or the dispatcher was closed; the item is given back.
    pub fn push(&self, item: Item<T>) -> Result<(), Refused<T>> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(Refused::Closed(item));
        }
        state.queue.push(item).map_err(|Full(item)| Refused::Full(item))?;
        drop(state);
        Shared::start_all(&self.0);
        Ok(())
    }

    /// Queues an event that was within bounds elsewhere, such as one that was pending on another worker: room or not.
    ///
    /// # Errors
    /// The dispatcher was closed; the item is given back.
    pub fn push_over_bound(&self, item: Item<T>) -> Result<(), Refused<T>> {
        self.add(item)?;
        self.start_all();
        Ok(())
    }

    /// Queues an event like [`Dispatcher::push_over_bound`], but only [`Dispatcher::start_all`] starts its handler. For several events at
    /// once.
    ///
    /// # Errors
    /// The dispatcher was closed; the item is given back.
    pub fn add(&self, item: Item<T>) -> Result<(), Refused<T>> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(Refused::Closed(item));
        }
        state.queue.push_over_bound(item);
        Ok(())
    }

    /// Starts the handlers of added events.
    pub fn start_all(&self) {
        Shared::start_all(&self.0);
    }

    /// Whether an item of `bytes` bytes would be taken now.
    pub fn has_room(&self, bytes: usize) -> bool {
        let state = self.0.lock();
        !state.closed && state.queue.has_room(bytes)
    }

    /// How full the queue would be with one more item of `bytes` bytes: for [`ShedOrder::sheds`](crate::ShedOrder::sheds).
    pub fn fill_with(&self, bytes: usize) -> f64 {
        self.0.lock().queue.fill_with(bytes)
    }

    /// Whether the queue is at most half full: for [`Pressure::observed`](crate::Pressure::observed).
    pub fn at_most_half(&self) -> bool {
        self.0.lock().queue.at_most_half()
    }

    /// How it is doing.
    pub fn figures(&self) -> QueueFigures {
        let now = (self.0.setup.clock)();
        self.0.lock().queue.figures(now)
    }

    /// Waits until the queue is at most half full. It may be fuller again when this returns.
    pub async fn drained_to_half(&self) {
        wait_until(&self.0.halved, || self.0.lock().queue.at_most_half()).await;
    }

    /// Shows every event that is queued or runs, in order of receipt. `with` runs under the lock, where it holds up the reader of
    /// the socket and all handlers of the shard: it should copy and return.
    pub fn pending<R>(&self, with: impl FnOnce(&mut dyn Iterator<Item = Pending<'_, T>>) -> R) -> R {
        with(&mut self.0.lock().queue.pending())
    }

    /// Once this returns no handler is called, not even for a started event; running handlers go on. Everything stays in
    /// [`Dispatcher::pending`].
    pub fn shut(&self) {
        self.0.lock().closed = true;
    }

    /// Whether the dispatcher was shut.
    pub fn is_shut(&self) -> bool {
        self.0.lock().closed
    }

    /// [Shuts](Dispatcher::shut) the dispatcher, waits for running handlers for at most `patience`, and takes out all events
    /// whose handlers were not called. Until then all of them are in [`Dispatcher::pending`], running ones also afterwards. A
    /// dropped call leaves the dispatcher shut with its events; another call takes them.
    pub async fn close(&self, patience: Duration) -> Closed<T> {
        self.shut();
        let idle = wait_until(&self.0.idle, || self.0.lock().queue.running() == 0);
        // Late or not, the state says what still runs.
        let _ = tokio::time::timeout(patience, idle).await;
        let mut state = self.0.lock();
        let unstarted = state.queue.abandon_queued();
        let still_running = state.queue.running();
        drop(state);
        self.0.halved.notify_waiters();
        Closed { unstarted, still_running }
    }
}

/// Waits for something that is told by a [`Notify`]: nothing is missed, as it is listened to before it is looked at.
async fn wait_until(told: &Notify, mut holds: impl FnMut() -> bool) {
    loop {
        let mut next = std::pin::pin!(told.notified());
        next.as_mut().enable();
        if holds() {
            return;
        }
        next.await;
    }
}

impl<T, H: ?Sized> Shared<T, H> {
    /// What `with` of [`Dispatcher::pending`] may panic in only reads, so the state is whole even then.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The tasks that run handlers, and the handling of one event from start to end.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    task::{coop::consume_budget, yield_now},
    time::timeout,
};
use tracing::Instrument as _;

use super::{Admission, Delivery, Handler, Shared};
use crate::{
    panics::{self, Panic},
    queue::{Started, Ticket},
};

/// A suspect that takes longer than this no longer keeps others waiting: one that kills its process does so sooner, and one that
/// never ends must not hold up the whole shard.
pub const LONGEST_ALONE: Duration = Duration::from_mins(1);

/// As [`LONGEST_ALONE`] while the care is brief, which then ends.
pub const BRIEFLY_ALONE: Duration = Duration::from_millis(500);

/// A runner gives its thread up after this time, so that other shards and timers get it.
const SLICE: Duration = Duration::from_millis(2);

/// The tasks of one dispatcher that run handlers.
#[derive(Debug)]
pub(super) struct Runners {
    /// The most tasks in handlers at once: as many as the runtime has threads, so that a handler that blocks its thread does not delay events
    /// that another thread could take.
    most: usize,
    running: usize,
    /// Running tasks that are in a handler, which may block its thread. Each other running task looks at the queue before it ends.
    busy: usize,
}

impl Runners {
    pub(super) fn of(runtime: &runtime::Handle) -> Self {
        Self { most: runtime.metrics().num_workers(), running: 0, busy: 0 }
    }

    /// Returns how many more tasks must be started for the waiting events. Counts them as running.
    fn start(&mut self, waiting: usize) -> usize {
        let needed = waiting.min(self.most.saturating_sub(self.busy));
        let more = needed.saturating_sub(self.running - self.busy);
        self.running += more;
        more
    }
}

/// How the handling of an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The event is queued again.
    PutBack,
}

/// A task that runs handlers one after another until one of them waits for something. From then on the task runs only that handler.
struct Runner<T: Send + Sync + 'static, H: Handler<T> + ?Sized> {
    shared: Arc<Shared<T, H>>,
    is_busy: bool,
    /// The task takes the next event when its handler has ended.
    goes_on: bool,
}

impl<T: Send + Sync + 'static, H: Handler<T> + ?Sized> Runner<T, H> {
    async fn run(mut self) {
        let mut slice_began = Instant::now();
        while let Some(started) = self.next() {
            let mut handling = pin!(Shared::run(self.shared.clone(), started));
            let first = poll_fn(|context| Poll::Ready(handling.as_mut().poll(context))).await;
            let outcome = match first {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    self.stop();
                    Shared::start_all(&self.shared);
                    handling.await
                }
            };
            if outcome == Outcome::PutBack {
                return;
            }
            if !self.goes_on {
                Shared::start_all(&self.shared);
                return;
            }
            // Handlers that are always ready must not keep the thread for themselves.
            if slice_began.elapsed() < SLICE {
                consume_budget().await;
            } else {
                yield_now().await;
                slice_began = Instant::now();
            }
        }
    }

    /// Takes the next event to handle. Without a next event the task stops being a runner.
    fn next(&mut self) -> Option<Started<T>> {
        let mut state = self.shared.lock();
        state.runners.busy -= usize::from(std::mem::take(&mut self.is_busy));
        let started = if state.closed { None } else { state.queue.start_next() };
        if started.is_none() {
            state.runners.running -= 1;
            self.goes_on = false;
            return None;
        }
        state.runners.busy += 1;
        self.is_busy = true;
        let waiting = state.queue.startable();
        let more = state.runners.start(waiting);
        drop(state);
        Shared::start_runners(&self.shared, more);
        started
    }

    /// Stops counting the task as a runner.
    fn stop(&mut self) {
        if std::mem::take(&mut self.goes_on) {
            let mut state = self.shared.lock();
            state.runners.running -= 1;
            state.runners.busy -= usize::from(std::mem::take(&mut self.is_busy));
        }
    }
}

impl<T: Send + Sync + 'static, H: Handler<T> + ?Sized> Drop for Runner<T, H> {
    /// Needed when the event was put back, when code other than a handler panicked, or when the runtime shuts down.
    fn drop(&mut self) {
        self.stop();
    }
}

impl<T: Send + Sync + 'static, H: Handler<T> + ?Sized> Shared<T, H> {
    /// Starts every item that may start.
    pub(super) fn start_all(shared: &Arc<Self>) {
        let more = {
            let mut state = shared.lock();
            let waiting = if state.closed { 0 } else { state.queue.startable() };
            state.runners.start(waiting)
        };
        Self::start_runners(shared, more);
    }

    fn start_runners(shared: &Arc<Self>, count: usize) {
        let runtime = &shared.setup.runtime;
        for _ in 0..count {
            let runner = Runner { shared: shared.clone(), is_busy: false, goes_on: true };
            // Dropping the handle detaches the task; the tracker keeps it.
            drop(shared.setup.stragglers.spawn_on(runner.run(), runtime));
        }
        // tokio keeps the newest task of a thread for that thread, and a handler may block the thread next. So the newest task must
        // not be a runner.
        let is_on_it = || runtime::Handle::try_current().is_ok_and(|current| current.id() == runtime.id());
        if count > 0 && is_on_it() {
            runtime.spawn(async {});
        }
    }

    async fn run(shared: Arc<Self>, started: Started<T>) -> Outcome {
        let Started { ticket, item, alone } = started;
        // At DEBUG for all others, because the span costs as much as all other work for an event before its handler.
        let span = shared.setup.handler.span(&item).unwrap_or_else(|| {
            tracing::debug_span!(
                "handle_event",
                kind = &*item.kind,
                sequence = item.sequence,
                shard = shared.shard,
                epoch = shared.epoch
            )
        });
        let from = (shared.setup.clock)();
        let delivery = Delivery { queued_for: from.saturating_sub(item.received_at), item, alone };
        match Self::handled(&shared, ticket, &delivery).instrument(span).await {
            Admission::Handle | Admission::LeaveOut => {
                shared.ended(ticket);
                Outcome::Done
            }
            Admission::PutBack => {
                drop(delivery);
                shared.put_back(ticket);
                Outcome::PutBack
            }
        }
    }

    /// Handles an event, unless it is not to be.
    async fn handled(shared: &Arc<Self>, ticket: Ticket, delivery: &Delivery<T>) -> Admission {
        let handler = &shared.setup.handler;
        let brief = delivery.alone && shared.lock().queue.is_briefly_careful();
        // A panic here counts as one in the handler.
        match panics::caught(async { handler.admit(delivery).await }).await {
            Ok(Admission::Handle) => {}
            Ok(other) => return other,
            Err(panic) => {
                tell(shared, &panic, delivery);
                return Admission::LeaveOut;
            }
        }
        if !shared.begin(ticket) {
            if delivery.alone
                && let Err(panic) = panics::caught(async { handler.not_started(delivery).await }).await
            {
                tell(shared, &panic, delivery);
            }
            return Admission::PutBack;
        }
        let from = (shared.setup.clock)();
        shared.setup.metrics.count_delay(from.saturating_sub(delivery.item.received_at));
        // The call is inside: what makes the future can panic as well.
        let handling = panics::caught(async { handler.handle(delivery).await });
        let outcome = if delivery.alone {
            let mut handling = std::pin::pin!(handling);
            let alone = if brief { BRIEFLY_ALONE } else { LONGEST_ALONE };
            if let Ok(outcome) = timeout(alone, &mut handling).await {
                outcome
            } else {
                Self::let_go(shared, ticket);
                tokio::join!(handler.let_go(delivery), handling).1
            }
        } else {
            handling.await
        };
        let took = (shared.setup.clock)().saturating_sub(from);
        shared.setup.metrics.count_handled(delivery.kind(), took, outcome.is_err());
        if let Err(panic) = outcome {
            tell(shared, &panic, delivery);
        }
        if delivery.item.suspect
            && let Err(panic) = panics::caught(async { handler.ended(delivery).await }).await
        {
            tell(shared, &panic, delivery);
        }
        Admission::Handle
    }

    /// It takes too long: the next suspect goes on beside it.
    fn let_go(shared: &Arc<Self>, ticket: Ticket) {
        shared.lock().queue.let_go(ticket);
        Self::start_all(shared);
    }
}

impl<T, H: ?Sized> Shared<T, H> {
    /// Called right before the handler. Returns false once the dispatcher is shut; then the handler must not be called.
    fn begin(&self, ticket: Ticket) -> bool {
        let mut state = self.lock();
        !state.closed && state.queue.begin(ticket)
    }

    /// Removes an event that was handled or left out.
    fn ended(&self, ticket: Ticket) {
        let mut state = self.lock();
        let above_half = !state.queue.at_most_half();
        let item = state.queue.done(ticket);
        let halved = above_half && state.queue.at_most_half();
        let idle = state.queue.running() == 0;
        drop(state);
        // Dropped without the lock: this may free the payload.
        drop(item);
        if halved {
            self.halved.notify_waiters();
        }
        if idle {
            self.idle.notify_waiters();
        }
    }

    /// Queues an event again whose handler was not called, for the caller that closes the dispatcher.
    fn put_back(&self, ticket: Ticket) {
        let mut state = self.lock();
        state.queue.put_back(ticket);
        let idle = state.queue.running() == 0;
        drop(state);
        if idle {
            self.idle.notify_waiters();
        }
    }
}

fn tell<T, H: ?Sized>(shared: &Shared<T, H>, panic: &Panic, event: &Delivery<T>) {
    tracing::error!(
        shard = shared.shard,
        epoch = shared.epoch,
        kind = event.kind(),
        sequence = event.sequence(),
        lane = event.lane(),
        panic = panic.message,
        location = panic.location,
        backtrace = panic.backtrace,
        "a handler panicked"
    );
}

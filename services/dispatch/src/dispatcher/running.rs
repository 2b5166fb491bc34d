//! One event's handling, from its start to its end: a task of its own.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
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

impl<T: Send + Sync + 'static, H: Handler<T> + ?Sized> Shared<T, H> {
    pub(super) fn spawn(shared: &Arc<Self>, started: Started<T>) {
        let (runtime, stragglers) = (&shared.setup.runtime, &shared.setup.stragglers);
        // Dropping the handle detaches the task; the tracker keeps it.
        drop(stragglers.spawn_on(Self::run(shared.clone(), started), runtime));
    }

    async fn run(shared: Arc<Self>, started: Started<T>) {
        let Started { ticket, item, alone } = started;
        let span = tracing::info_span!(
            "handle_event",
            kind = &*item.kind,
            sequence = item.sequence,
            shard = shared.shard,
            epoch = shared.epoch
        );
        let from = (shared.setup.clock)();
        let delivery = Delivery { queued_for: from.saturating_sub(item.received_at), item, alone };
        match Self::handled(&shared, ticket, &delivery).instrument(span).await {
            Admission::Handle | Admission::LeaveOut => Self::ended(&shared, ticket),
            Admission::PutBack => {
                drop(delivery);
                shared.put_back(ticket);
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
                tell(&panic, delivery);
                return Admission::LeaveOut;
            }
        }
        if !shared.begin(ticket) {
            if delivery.alone
                && let Err(panic) = panics::caught(async { handler.not_started(delivery).await }).await
            {
                tell(&panic, delivery);
            }
            return Admission::PutBack;
        }
        let from = (shared.setup.clock)();
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
            tell(&panic, delivery);
        }
        if delivery.item.suspect
            && let Err(panic) = panics::caught(async { handler.ended(delivery).await }).await
        {
            tell(&panic, delivery);
        }
        Admission::Handle
    }

    /// Gives an event up, and starts the one whose turn it is now; those, when the shard is careful no longer.
    fn ended(shared: &Arc<Self>, ticket: Ticket) {
        let mut state = shared.lock();
        let above_half = !state.queue.at_most_half();
        let item = state.queue.done(ticket);
        let halved = above_half && state.queue.at_most_half();
        let idle = state.queue.running() == 0;
        drop(state);
        // Not under the lock: it may be the last that holds the payload.
        drop(item);
        Self::start_all(shared);
        if halved {
            shared.halved.notify_waiters();
        }
        if idle {
            shared.idle.notify_waiters();
        }
    }

    /// It takes too long: the next suspect goes on beside it.
    fn let_go(shared: &Arc<Self>, ticket: Ticket) {
        shared.lock().queue.let_go(ticket);
        Self::start_all(shared);
    }

    /// Starts every item that may start.
    pub(super) fn start_all(shared: &Arc<Self>) {
        loop {
            let mut state = shared.lock();
            let next = if state.closed { None } else { state.queue.start_next() };
            drop(state);
            match next {
                Some(next) => Self::spawn(shared, next),
                None => return,
            }
        }
    }
}

impl<T, H: ?Sized> Shared<T, H> {
    /// Called right before the handler. Returns false once the dispatcher is shut; then the handler must not be called.
    fn begin(&self, ticket: Ticket) -> bool {
        let mut state = self.lock();
        !state.closed && state.queue.begin(ticket)
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

fn tell<T>(panic: &Panic, event: &Delivery<T>) {
    tracing::error!(
        kind = event.kind(),
        sequence = event.sequence(),
        lane = event.lane(),
        panic = panic.message,
        location = panic.location,
        backtrace = panic.backtrace,
        "a handler panicked"
    );
}

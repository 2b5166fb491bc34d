//! Callbacks: the handlers of bot code for messages and requests of other parts of the bot.
//!
//! Owns the way from a call to bot code: the lease is checked before a callback starts, the number under way is bounded, panics
//! are caught, and the caller is answered by the deadline. A request whose caller has gone, or whose deadline has passed, is
//! ended where it awaits. A message whose handler has started goes on, a minute at most.
//!
//! Callbacks run on the threads of handlers. A callback that blocks its thread cannot be ended; it keeps its callback slot until
//! it ends.

use std::{sync::Arc, time::Duration};

use dispatch::panics::{self, Panic};
use fleet_model::ShardStatus;
use serde_json::Value;
use shard_bridge::{
    AnswerOutcome, Delivered, LARGEST, ReplyFailure, ReplyFailureKind as Kind, nests_too_deep,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::{
    bot::BotCode,
    clock::BootTime,
    handler::{Context, MessageOutcome, RequestError, ShardMessage, ShardRequest},
    lease::LeaseWindow,
    shard_state::ShardState,
};

mod message;
mod metrics;

use message::{MessageCall, StartDecision};
use metrics::CallCount;
pub(crate) use metrics::{CallbackKind, CallbackMetrics};

/// Callbacks under way at once on a worker.
const AT_ONCE: usize = 256;

/// Time limit for the handler of one message.
const LONGEST_MESSAGE: Duration = Duration::from_mins(1);

/// What all shards of a worker share. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct CallbackSlots {
    slots: Arc<Semaphore>,
    pub(crate) metrics: CallbackMetrics,
}

impl CallbackSlots {
    pub(crate) fn new(metrics: CallbackMetrics) -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)), metrics }
    }

    /// Waits for a free slot; `None` when none is free in time.
    async fn take(&self, until: Instant) -> Option<CallbackSlot> {
        if Instant::now() >= until {
            return None;
        }
        let permit = timeout_at(until, self.slots.clone().acquire_owned()).await.ok()?.ok()?;
        self.metrics.runs(true);
        Some(CallbackSlot { _permit: permit, metrics: self.metrics.clone() })
    }
}

/// A slot for one message or request.
struct CallbackSlot {
    _permit: OwnedSemaphorePermit,
    metrics: CallbackMetrics,
}

impl Drop for CallbackSlot {
    fn drop(&mut self) {
        self.metrics.runs(false);
    }
}

/// The bot code of one shard.
pub(crate) struct ShardCallbacks {
    shard: Arc<ShardState>,
    code: BotCode,
    slots: CallbackSlots,
    lease: LeaseWindow,
}

impl std::fmt::Debug for ShardCallbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardCallbacks").finish_non_exhaustive()
    }
}

/// Why bot code may not begin.
enum NotAllowed {
    NotMine,
    NoLease,
}

impl NotAllowed {
    /// Counts it, and returns the outcome for the sender of a message.
    fn count(self, counted: &mut CallCount<'_>) -> Delivered {
        let (outcome, delivered) = match self {
            Self::NotMine => ("not_mine", Delivered::NotMine),
            Self::NoLease => ("no_lease", Delivered::NoLease),
        };
        counted.outcome = outcome;
        delivered
    }
}

impl ShardCallbacks {
    pub(crate) fn new(
        shard: Arc<ShardState>,
        code: BotCode,
        slots: CallbackSlots,
        lease: LeaseWindow,
    ) -> Self {
        Self { shard, code, slots, lease }
    }

    fn context(&self) -> Context {
        Context::new(self.shard.clone(), self.code.tools.clone())
    }

    /// Whether this worker may act for the shard: it runs here under a lease that is known to hold.
    pub(crate) fn may_act(&self) -> bool {
        may_begin(&self.shard, &self.lease).is_ok()
    }

    /// Gives a message to bot code. See [`shard_bridge::LocalShards::deliver`].
    pub(crate) async fn deliver(&self, message: Arc<ShardMessage>, until: Instant) -> Delivered {
        let (shard, slots) = (&self.shard, &self.slots);
        let mut counted = CallCount::new(&slots.metrics, CallbackKind::Message);
        let Some(slot) = slots.take(until).await else {
            counted.outcome = "busy";
            return Delivered::Busy;
        };
        if let Err(refused) = may_begin(shard, &self.lease) {
            return refused.count(&mut counted);
        }
        let heard = self.code.tools.bridge.hub().give_to_shard(message.clone()) > 0;
        let decision = Arc::new(StartDecision::default());
        let (said, hears) = oneshot::channel();
        let call = MessageCall {
            handler: self.code.handler.clone(),
            context: self.context(),
            lease: self.lease.clone(),
            message,
            decision: decision.clone(),
            slot,
        };
        let span = tracing::info_span!("handle_message", shard.id = %shard.key(), epoch = %shard.epoch());
        // Dropping the handle detaches the task; the tracker keeps it.
        drop(self.code.stragglers.spawn_on(call.run(said).instrument(span), &self.code.runtime));
        let taken = match timeout_at(until, hears).await {
            Ok(Ok(taken)) => Some(taken == MessageOutcome::Accepted),
            // It never started: the lease or the shard is gone, or the process ends.
            Ok(Err(_)) => match may_begin(shard, &self.lease) {
                Err(refused) if !heard => return refused.count(&mut counted),
                _ => None,
            },
            Err(_) => {
                if decision.decide(StartDecision::GIVEN_UP) {
                    None
                } else {
                    Some(true)
                }
            }
        };
        let (outcome, delivered) = match (taken, heard) {
            (Some(true), _) => ("taken", Delivered::Yes),
            (Some(false), true) => ("not_taken", Delivered::Yes),
            (Some(false), false) => ("not_taken", Delivered::NoListener),
            (None, true) => ("too_late", Delivered::Yes),
            (None, false) => ("too_late", Delivered::TooLate),
        };
        counted.outcome = outcome;
        delivered
    }

    /// Sends a request to bot code. See [`shard_bridge::LocalShards::ask`].
    pub(crate) async fn ask(&self, request: Arc<ShardRequest>) -> AnswerOutcome {
        let (shard, slots) = (&self.shard, &self.slots);
        let mut counted = CallCount::new(&slots.metrics, CallbackKind::Request);
        let until = request.deadline;
        let Some(slot) = slots.take(until).await else {
            counted.outcome = "busy";
            let why = "its worker had too much to do and did not start it by the deadline";
            return AnswerOutcome::Failed(ReplyFailure::new(Kind::TooLate, why));
        };
        let (handler, context, lease) = (self.code.handler.clone(), self.context(), self.lease.clone());
        let work = async move {
            let metrics = &slot.metrics;
            match may_begin(&context.shard, &lease) {
                Ok(()) => {}
                Err(NotAllowed::NotMine) => return RequestEnd::NotMine,
                Err(NotAllowed::NoLease) => return RequestEnd::NoLease,
            }
            // The call is inside: what makes the future can panic as well. So can what it gave back.
            let asked = panics::caught(async { handler.request(&context, &request).await.map(written) });
            match asked.await {
                Ok(Ok(Ok(json))) => RequestEnd::Json(json),
                Ok(Ok(Err(unfit))) => RequestEnd::Unfit(unfit),
                Ok(Err(error)) => RequestEnd::Refused(error),
                Err(panic) => {
                    log_panic(metrics, &panic, &context, &request.kind, "a request's handler panicked");
                    RequestEnd::Panicked
                }
            }
        };
        let span = tracing::info_span!("handle_request", shard.id = %shard.key(), epoch = %shard.epoch());
        // Dropped with this, it is ended.
        let task =
            AbortOnDropHandle::new(self.code.stragglers.spawn_on(work.instrument(span), &self.code.runtime));
        let (outcome, answer) = match timeout_at(until, task).await {
            Ok(Ok(answered)) => answered.into_answer(),
            Ok(Err(_)) => ("cancelled", failed(Kind::Unreachable, "its worker stops")),
            Err(_) => ("too_late", failed(Kind::TooLate, "its bot code did not reply by the deadline")),
        };
        counted.outcome = outcome;
        answer
    }
}

/// How bot code ended a request.
enum RequestEnd {
    Json(String),
    Unfit(ReplyFailure),
    Refused(RequestError),
    Panicked,
    NotMine,
    NoLease,
}

impl RequestEnd {
    /// Returns the label that it is counted under, and the answer for the caller.
    fn into_answer(self) -> (&'static str, AnswerOutcome) {
        match self {
            Self::Json(json) => ("replied", AnswerOutcome::Json(json)),
            Self::Unfit(failure) => ("unfit", AnswerOutcome::Failed(failure)),
            Self::Refused(error @ RequestError::UnknownType) => {
                ("unknown_type", failed(Kind::UnknownType, error.to_string()))
            }
            Self::Refused(RequestError::Failed(why)) => ("failed", failed(Kind::Failed, why)),
            // The panic's message may not be for the caller; the log has it.
            Self::Panicked => ("panicked", failed(Kind::Failed, "its bot code panicked")),
            Self::NotMine => ("not_mine", AnswerOutcome::NotMine),
            Self::NoLease => {
                let why = "its worker cannot confirm its lease, so it may not act";
                ("no_lease", failed(Kind::Unreachable, why))
            }
        }
    }
}

fn failed(kind: Kind, reason: impl Into<String>) -> AnswerOutcome {
    AnswerOutcome::Failed(ReplyFailure::new(kind, reason))
}

/// A reply as JSON text, if it may be sent.
fn written(value: Value) -> Result<String, ReplyFailure> {
    if nests_too_deep(&value) {
        return Err(ReplyFailure::new(Kind::Failed, "its reply is nested too deeply"));
    }
    let json = value.to_string();
    if json.len() > LARGEST {
        let why = format!("its reply of {} bytes is over the limit of {LARGEST}", json.len());
        return Err(ReplyFailure::new(Kind::TooLarge, why));
    }
    Ok(json)
}

/// Whether bot code may begin with something for this shard: it runs here, and under a lease that is known to hold.
fn may_begin(shard: &ShardState, lease: &LeaseWindow) -> Result<(), NotAllowed> {
    // Handed over, or another's under a higher epoch.
    if shard.status() == ShardStatus::Moving || shard.is_outranked() {
        return Err(NotAllowed::NotMine);
    }
    if lease.is_open(BootTime::now()) { Ok(()) } else { Err(NotAllowed::NoLease) }
}

fn log_panic(metrics: &CallbackMetrics, panic: &Panic, context: &Context, kind: &str, what: &'static str) {
    metrics.count_panic();
    tracing::error!(
        shard.id = %context.shard(), kind, panic = panic.message,
        location = panic.location, backtrace = panic.backtrace, "{what}"
    );
}

#[cfg(test)]
mod tests;

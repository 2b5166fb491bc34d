//! Bot code as other parts of the bot reach it: messages to a shard, and questions that it answers.
//!
//! Owns what is between a call that came and bot code: the lease is looked at before it begins, how much may be under way at once is
//! bounded, panics are caught, and whoever called hears of it by the deadline. A question whose caller has gone, or whose deadline
//! has passed, is ended where it awaits. A message that was begun with goes on, a minute at most.
//!
//! Bot code runs where handlers run. One that blocks its thread can't be ended; it keeps its place until it ends.

use std::{sync::Arc, time::Duration};

use dispatch::panics::{self, Panic};
use fleet_model::{ShardNumber, ShardStatus};
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use shard_bridge::{
    AnswerOutcome, Delivered, LARGEST, ReplyFailure, ReplyFailureKind as Kind, ShardAnswer, failure,
    nests_too_deep,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::{
    bot::Bot,
    clock::BootTime,
    handler::{Context, RequestError, ShardMessage, ShardRequest, Taken},
    lease::LeaseWindow,
    shard::Shard,
    shards::RunningShards,
};

mod message;
mod metrics;

use message::{Begun, MessageHook};
use metrics::Counted;
pub(crate) use metrics::{Hook, HookMetrics};

/// Calls of others that a worker serves at once: half of what one connection may carry, so that lookups are never behind them.
pub(crate) const CALLS: usize = 128;

/// Messages and questions that bot code is at, at once, on a worker.
const AT_ONCE: usize = 256;

/// Shards that one call may have asked, or waiting for their turn, at once.
const EACH_CALL: usize = 128;

/// How long bot code may be at one message.
const LONGEST_MESSAGE: Duration = Duration::from_mins(1);

/// What all shards of a worker share. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    places: Arc<Semaphore>,
    pub(crate) metrics: HookMetrics,
}

impl Places {
    pub(crate) fn new(metrics: HookMetrics) -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), metrics }
    }

    /// A place, once there is one; `None` when there is none by then.
    async fn take(&self, until: Instant) -> Option<Place> {
        if Instant::now() >= until {
            return None;
        }
        let permit = timeout_at(until, self.places.clone().acquire_owned()).await.ok()?.ok()?;
        self.metrics.runs(true);
        Some(Place { _permit: permit, metrics: self.metrics.clone() })
    }
}

/// A place for one message or question.
struct Place {
    _permit: OwnedSemaphorePermit,
    metrics: HookMetrics,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.runs(false);
    }
}

/// The bot code of one shard.
pub(crate) struct ShardHooks {
    bot: Bot,
    lease: LeaseWindow,
}

impl std::fmt::Debug for ShardHooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardHooks").finish_non_exhaustive()
    }
}

/// Why bot code may not begin.
enum Barred {
    NotMine,
    NoLease,
}

impl Barred {
    /// As it is counted, and as it is told of a message.
    fn count(self, counted: &mut Counted<'_>) -> Delivered {
        let (outcome, delivered) = match self {
            Self::NotMine => ("not_mine", Delivered::NotMine),
            Self::NoLease => ("no_lease", Delivered::NoLease),
        };
        counted.outcome = outcome;
        delivered
    }
}

impl ShardHooks {
    pub(crate) fn new(bot: &Bot, lease: &LeaseWindow) -> Self {
        Self { bot: bot.clone(), lease: lease.clone() }
    }

    fn context(&self, shard: &Arc<Shard>) -> Context {
        Context { shard: shard.clone(), tools: self.bot.tools.clone() }
    }

    /// A message. See [`shard_bridge::LocalShards::deliver`].
    async fn deliver(&self, shard: &Arc<Shard>, message: Arc<ShardMessage>, until: Instant) -> Delivered {
        let places = &self.bot.places;
        let mut counted = Counted::new(&places.metrics, Hook::Message);
        let Some(place) = places.take(until).await else {
            counted.outcome = "busy";
            return Delivered::Busy;
        };
        if let Err(barred) = may_begin(shard, &self.lease) {
            return barred.count(&mut counted);
        }
        let heard = self.bot.tools.bridge.hub().give_to_shard(message.clone()) > 0;
        let begun = Arc::new(Begun::default());
        let (said, hears) = oneshot::channel();
        let hook = MessageHook {
            handler: self.bot.handler.clone(),
            context: self.context(shard),
            lease: self.lease.clone(),
            message,
            begun: begun.clone(),
            place,
        };
        let span = tracing::info_span!("handle_message", shard.id = %shard.number(), epoch = %shard.epoch());
        // Dropping the handle detaches the task; the tracker keeps it.
        drop(self.bot.stragglers.spawn_on(hook.run(said).instrument(span), &self.bot.runtime));
        let taken = match timeout_at(until, hears).await {
            Ok(Ok(taken)) => Some(taken == Taken::Yes),
            // It was never begun with: the lease or the shard is gone, or the process ends.
            Ok(Err(_)) => match may_begin(shard, &self.lease) {
                Err(barred) if !heard => return barred.count(&mut counted),
                _ => None,
            },
            Err(_) => {
                if begun.decide(Begun::GIVEN_UP) {
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

    /// A question. See [`shard_bridge::LocalShards::ask`].
    async fn ask(&self, shard: &Arc<Shard>, request: Arc<ShardRequest>) -> AnswerOutcome {
        let places = &self.bot.places;
        let mut counted = Counted::new(&places.metrics, Hook::Request);
        let until = request.deadline;
        let Some(place) = places.take(until).await else {
            counted.outcome = "busy";
            let why = "its worker had too much to do, and did not come to it by the deadline";
            return AnswerOutcome::Failed(failure(Kind::TooLate, why));
        };
        let (handler, context, lease) = (self.bot.handler.clone(), self.context(shard), self.lease.clone());
        let work = async move {
            let metrics = &place.metrics;
            match may_begin(&context.shard, &lease) {
                Ok(()) => {}
                Err(Barred::NotMine) => return Answered::NotMine,
                Err(Barred::NoLease) => return Answered::NoLease,
            }
            // The call is inside: what makes the future can panic as well. So can what it gave back.
            let asked = panics::caught(async { handler.request(&context, &request).await.map(written) });
            match asked.await {
                Ok(Ok(Ok(json))) => Answered::Json(json),
                Ok(Ok(Err(unfit))) => Answered::Unfit(unfit),
                Ok(Err(error)) => Answered::Refused(error),
                Err(panic) => {
                    tell(metrics, &panic, &context, &request.kind, "a request's handler panicked");
                    Answered::Panicked
                }
            }
        };
        let span = tracing::info_span!("handle_request", shard.id = %shard.number(), epoch = %shard.epoch());
        // Dropped with this, it is ended.
        let task =
            AbortOnDropHandle::new(self.bot.stragglers.spawn_on(work.instrument(span), &self.bot.runtime));
        let (outcome, answer) = match timeout_at(until, task).await {
            Ok(Ok(answered)) => answered.told(),
            Ok(Err(_)) => ("cancelled", none(Kind::Unreachable, "its worker stops")),
            Err(_) => ("too_late", none(Kind::TooLate, "its bot code did not reply by the deadline")),
        };
        counted.outcome = outcome;
        answer
    }
}

/// How bot code ended with a question.
enum Answered {
    Json(String),
    Unfit(ReplyFailure),
    Refused(RequestError),
    Panicked,
    NotMine,
    NoLease,
}

impl Answered {
    /// As it is counted, and as it is told.
    fn told(self) -> (&'static str, AnswerOutcome) {
        match self {
            Self::Json(json) => ("replied", AnswerOutcome::Json(json)),
            Self::Unfit(failure) => ("unfit", AnswerOutcome::Failed(failure)),
            Self::Refused(error @ RequestError::UnknownType) => {
                ("unknown_type", none(Kind::UnknownType, error.to_string()))
            }
            Self::Refused(RequestError::Failed(why)) => ("failed", none(Kind::Failed, why)),
            // What it said may not be for whoever asks: the log has it.
            Self::Panicked => ("panicked", none(Kind::Failed, "its bot code panicked")),
            Self::NotMine => ("not_mine", AnswerOutcome::NotMine),
            Self::NoLease => {
                let why = "its worker does not know whether it may act: it has no word on its lease";
                ("no_lease", none(Kind::Unreachable, why))
            }
        }
    }
}

fn none(kind: Kind, reason: impl Into<String>) -> AnswerOutcome {
    AnswerOutcome::Failed(failure(kind, reason))
}

/// A reply as JSON text, if it may be sent.
fn written(value: Value) -> Result<String, ReplyFailure> {
    if nests_too_deep(&value) {
        return Err(failure(Kind::Failed, "its reply is nested too deeply"));
    }
    let json = value.to_string();
    if json.len() > LARGEST {
        let why = format!("its reply of {} bytes is over the limit of {LARGEST}", json.len());
        return Err(failure(Kind::TooLarge, why));
    }
    Ok(json)
}

/// Whether bot code may begin with something for this shard: it runs here, and under a lease that is known to hold.
fn may_begin(shard: &Shard, lease: &LeaseWindow) -> Result<(), Barred> {
    // Handed over, or another's under a higher epoch.
    if shard.status() == ShardStatus::Moving || shard.is_outranked() {
        return Err(Barred::NotMine);
    }
    if lease.is_open(BootTime::now()) { Ok(()) } else { Err(Barred::NoLease) }
}

fn tell(metrics: &HookMetrics, panic: &Panic, context: &Context, kind: &str, what: &'static str) {
    metrics.count_panic();
    tracing::error!(
        shard.id = %context.shard(), kind, panic = panic.message,
        location = panic.location, backtrace = panic.backtrace, "{what}"
    );
}

impl RunningShards {
    /// Whether this worker may act for a shard: it runs here under a lease that is known to hold.
    pub(crate) fn may_act_for(&self, shard: ShardNumber) -> bool {
        let Some(shard) = self.get(shard) else { return false };
        shard.hooks().is_some_and(|hooks| may_begin(&shard, &hooks.lease).is_ok())
    }

    /// See [`shard_bridge::LocalShards::deliver`].
    pub(crate) async fn deliver_message(&self, message: Arc<ShardMessage>, until: Instant) -> Delivered {
        let Ok(_call) = self.calls.try_acquire() else { return Delivered::Busy };
        let Some(shard) = self.get(message.shard) else { return Delivered::NotMine };
        match shard.hooks() {
            Some(hooks) => hooks.deliver(&shard, message, until).await,
            None => Delivered::NotMine,
        }
    }

    /// See [`shard_bridge::LocalShards::ask`].
    pub(crate) async fn ask_shards(
        &self,
        shards: Vec<ShardNumber>,
        request: Arc<ShardRequest>,
        max_bytes: usize,
    ) -> Vec<ShardAnswer> {
        let Ok(_call) = self.calls.try_acquire() else {
            let busy = |shard| {
                let outcome =
                    none(Kind::Failed, format!("its worker has {CALLS} such calls under way already"));
                ShardAnswer { shard, outcome }
            };
            return shards.into_iter().map(busy).collect();
        };
        let asking = shards.into_iter().enumerate().map(|(position, number)| {
            let (shard, request) = (self.get(number), request.clone());
            async move {
                let outcome = match shard.as_ref().and_then(|shard| Some((shard, shard.hooks()?))) {
                    Some((shard, hooks)) => hooks.ask(shard, request).await,
                    None => AnswerOutcome::NotMine,
                };
                (position, ShardAnswer { shard: number, outcome })
            }
        });
        let mut answers: Vec<_> = stream::iter(asking).buffer_unordered(EACH_CALL).collect().await;
        answers.sort_unstable_by_key(|(position, _)| *position);
        fitting(answers.into_iter().map(|(_, answer)| answer), max_bytes)
    }
}

/// The first so many bytes of replies; what does not fit is told.
fn fitting(answers: impl Iterator<Item = ShardAnswer>, max_bytes: usize) -> Vec<ShardAnswer> {
    let mut left = max_bytes;
    let fit = |mut answer: ShardAnswer| {
        if let AnswerOutcome::Json(json) = &answer.outcome {
            if let Some(after) = left.checked_sub(json.len()) {
                left = after;
            } else {
                let why = format!(
                    "its reply of {} bytes does not fit into the whole answer, which may have {max_bytes}",
                    json.len()
                );
                answer.outcome = none(Kind::TooLarge, why);
            }
        }
        answer
    };
    answers.map(fit).collect()
}

#[cfg(test)]
mod tests;

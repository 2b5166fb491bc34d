//! Work that one worker of the fleet does for all: the bot's singleton, on the worker that holds shard 0.
//!
//! A keeper task beside the shard's decides when it runs: it starts the singleton when the shard is first ready, ends it when the
//! lease's window closes or the shard is outranked, and restarts it when the lease is back. The shard stops only once the
//! singleton has ended, so that no other worker can start one before.
//!
//! The singleton is cancelled by a token. If it does not end in time its task is aborted. Code that blocks its thread cannot be
//! aborted: after one more second it is left behind with an error, and only its epoch distinguishes it from the next one.

use std::{sync::Arc, time::Duration};

use dispatch::panics::{self, Panic};
use fleet_model::ShardSlot;
use tokio::{runtime::Handle, task::JoinError, time::Instant};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    bot::BotCode,
    clock::BootTime,
    handler::{Context, EventHandler},
    lease::LeaseWindow,
    metrics::ShardMetrics,
    shard_state::ShardState,
};

/// The shard that every fleet has.
const HOLDER: ShardSlot = ShardSlot(0);

/// How often the lease is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How long it may take to end when the lease is gone: others may begin soon.
const FENCED: Duration = Duration::from_millis(250);

/// How long an abort may take.
const ABORT: Duration = Duration::from_secs(1);

/// The wait after a panic. It doubles with each further one, up to the longest, and is forgotten when it ran for that long.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// The singleton of a shard, held by the code that starts and stops the shard. Aborted on drop.
#[derive(Debug)]
pub(crate) struct Singleton {
    keeper: AbortOnDropHandle<()>,
    at_once: CancellationToken,
    grace: Duration,
    given_up_at: Option<BootTime>,
}

/// What singletons are run with. Clones are the same.
#[derive(Clone)]
pub(crate) struct Singletons {
    pub(crate) code: BotCode,
    /// How long one may take to end.
    pub(crate) timeout: Duration,
    pub(crate) metrics: ShardMetrics,
    /// Where its keeper runs.
    pub(crate) runtime: Handle,
}

impl Singletons {
    /// The singleton of a shard, if the shard holds it; and the token that stops the shard's task: cancelled with `asked`, but not
    /// before the singleton has ended.
    pub(crate) fn of_shard(
        &self,
        shard: &Arc<ShardState>,
        lease: &LeaseWindow,
        asked: &CancellationToken,
    ) -> (Option<Singleton>, CancellationToken) {
        if shard.key().slot() != HOLDER {
            return (None, asked.clone());
        }
        let (singleton, stop) = self.start(shard, lease, asked);
        (Some(singleton), stop)
    }

    fn start(
        &self,
        shard: &Arc<ShardState>,
        lease: &LeaseWindow,
        asked: &CancellationToken,
    ) -> (Singleton, CancellationToken) {
        let BotCode { handler, tools, runtime, stragglers } = self.code.clone();
        let (at_once, stop) = (CancellationToken::new(), CancellationToken::new());
        let keeper = Keeper {
            shard: shard.clone(),
            handler,
            context: Context::new(shard.clone(), tools),
            lease: lease.clone(),
            metrics: self.metrics.clone(),
            runtime,
            running: stragglers,
            grace: self.timeout,
            asked: asked.clone(),
            at_once: at_once.clone(),
        };
        let keeper = AbortOnDropHandle::new(self.runtime.spawn(keeper.keep(stop.clone())));
        (Singleton { keeper, at_once, grace: self.timeout, given_up_at: None }, stop)
    }
}

impl Singleton {
    /// The longest time from the shard's stop to the singleton's end.
    pub(crate) fn patience(&self) -> Duration {
        self.grace + ABORT
    }

    /// Waits for the end of a singleton whose shard has ended. Usually it has ended before.
    pub(crate) async fn ended(mut self) {
        self.at_once.cancel();
        // A keeper that is late has said why.
        let _ = tokio::time::timeout(FENCED + ABORT, &mut self.keeper).await;
    }

    /// Cancels it, because its shard's task hangs. Returns false while it may still run.
    pub(crate) fn cancel_and_check(&mut self, now: BootTime) -> bool {
        self.at_once.cancel();
        let since = *self.given_up_at.get_or_insert(now);
        self.keeper.is_finished() || now.since(since) > FENCED + ABORT
    }
}

/// See the module's documentation.
struct Keeper {
    shard: Arc<ShardState>,
    handler: Arc<dyn EventHandler>,
    context: Context,
    lease: LeaseWindow,
    metrics: ShardMetrics,
    /// Where it runs.
    runtime: Handle,
    /// Tracks it while it runs.
    running: TaskTracker,
    /// How long it may take to end.
    grace: Duration,
    /// The shard is to stop.
    asked: CancellationToken,
    /// The shard is over.
    at_once: CancellationToken,
}

/// How a run ended.
enum RunEnd {
    /// It returned.
    Done,
    Panicked(Panic),
    /// It was cancelled, and has ended.
    Cancelled,
}

impl Keeper {
    async fn keep(self, stop: CancellationToken) {
        let _stop = stop.drop_guard();
        self.hold().await;
        tokio::select! {
            () = self.asked.cancelled() => {}
            () = self.at_once.cancelled() => {}
        }
    }

    /// Runs it whenever the lease allows, until it returns or another worker owns the shard.
    async fn hold(&self) {
        tokio::select! {
            biased;
            () = self.given_up() => return,
            () = self.shard.ready_once() => {}
        }
        let mut wait = FIRST;
        loop {
            tokio::select! {
                biased;
                () = self.given_up() => return,
                () = self.lease_opened() => {}
            }
            let began = Instant::now();
            match self.run().await {
                RunEnd::Done => return,
                RunEnd::Cancelled => {}
                RunEnd::Panicked(panic) => {
                    if began.elapsed() >= LONGEST {
                        wait = FIRST;
                    }
                    self.log_panic(&panic, wait);
                    tokio::select! {
                        biased;
                        () = self.given_up() => return,
                        () = tokio::time::sleep(wait) => {}
                    }
                    wait = (wait * 2).min(LONGEST);
                }
            }
        }
    }

    async fn run(&self) -> RunEnd {
        let cancelled = CancellationToken::new();
        let (handler, context, token) = (self.handler.clone(), self.context.clone(), cancelled.clone());
        let running = self.metrics.singleton_runs();
        // The call is inside: what makes the future can panic as well.
        let work = panics::caught(async move {
            let _running = running;
            handler.singleton(&context, token).await;
        });
        let mut task = AbortOnDropHandle::new(self.running.spawn_on(work, &self.runtime));
        tracing::debug!(shard.id = %self.shard.key(), epoch = %self.shard.epoch(), "singleton begins");
        let ended = tokio::select! {
            biased;
            ended = &mut task => Self::ended(ended),
            () = self.given_up() => self.end(&cancelled, task).await,
            () = self.lease_closed() => self.end(&cancelled, task).await,
        };
        tracing::debug!(shard.id = %self.shard.key(), epoch = %self.shard.epoch(), "singleton ended");
        ended
    }

    fn ended(ended: Result<Result<(), Panic>, JoinError>) -> RunEnd {
        match ended {
            Ok(Ok(())) => RunEnd::Done,
            Ok(Err(panic)) => RunEnd::Panicked(panic),
            // Aborted, or its runtime is gone.
            Err(_) => RunEnd::Cancelled,
        }
    }

    /// Tells it to end, and waits; for long only while no other worker can begin.
    async fn end(
        &self,
        cancelled: &CancellationToken,
        mut task: AbortOnDropHandle<Result<(), Panic>>,
    ) -> RunEnd {
        cancelled.cancel();
        let fenced = async {
            tokio::select! {
                () = self.shard.wait_outranked() => {}
                () = self.at_once.cancelled() => {}
                () = self.lease_closed() => {}
            }
            tokio::time::sleep(FENCED).await;
        };
        tokio::select! {
            biased;
            // One that panics on its way out has ended as well.
            ended = &mut task => return match Self::ended(ended) {
                RunEnd::Panicked(panic) => {
                    self.log_panic(&panic, Duration::ZERO);
                    RunEnd::Cancelled
                }
                RunEnd::Done | RunEnd::Cancelled => RunEnd::Cancelled,
            },
            () = fenced => {}
            () = tokio::time::sleep(self.grace) => {}
        }
        tracing::warn!(shard.id = %self.shard.key(), "singleton did not end in time; aborting it");
        task.abort();
        if tokio::time::timeout(ABORT, &mut task).await.is_err() {
            tracing::error!(
                shard.id = %self.shard.key(), epoch = %self.shard.epoch(),
                "singleton blocks its thread and cannot be aborted; another may start elsewhere"
            );
        }
        RunEnd::Cancelled
    }

    /// Waits until it must not run here any more.
    async fn given_up(&self) {
        tokio::select! {
            () = self.asked.cancelled() => {}
            () = self.at_once.cancelled() => {}
            () = self.shard.wait_outranked() => {}
        }
    }

    async fn lease_opened(&self) {
        while !self.lease.is_open(BootTime::now()) {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn lease_closed(&self) {
        loop {
            let left = self.lease.left(BootTime::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }

    fn log_panic(&self, panic: &Panic, again_in: Duration) {
        self.metrics.count_singleton_panic();
        tracing::error!(
            shard.id = %self.shard.key(), epoch = %self.shard.epoch(), panic = panic.message,
            location = panic.location, backtrace = panic.backtrace, ?again_in, "singleton panicked"
        );
    }
}

#[cfg(test)]
mod tests;

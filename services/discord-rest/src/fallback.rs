//! The budget of a worker: Redis's while that can be asked, else the worker's own share.
//!
//! Owns the choice between them. A share is the global limit divided by the live workers, and likewise the invalid requests left
//! of the fleet's limit; buckets are known only from this worker's own answers. With more workers than requests a second, each
//! worker sends in its own time slots, so that together they keep to the limit. When Redis goes away, the last second counts as
//! used up. When it comes back, requests need a turn from both for a while, until all other workers are back too.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Budget, BudgetAnswer, BudgetError, BudgetReport, BudgetRequest, BudgetState, LimitRules, MemoryBudget,
    RedisBudget, RestMetrics, RestStatus, StopReason,
    limits::{Slots, WINDOW_MS},
};

/// Time between two looks for a Redis that is away.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long both are asked when Redis is back: by then every worker has looked.
const BOTH_FOR: Duration = Duration::from_secs(2);

/// The assumed number of workers while it is unknown.
const UNKNOWN_FLEET: u32 = 50;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Shared,
    /// Redis is away.
    Alone,
    /// It is back; the others may not know yet.
    Both,
}

/// A worker's share among the live workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetShare {
    /// Its place in an order that is the same on all workers, from 0.
    pub rank: u32,
    /// Number of workers; 0 while unknown.
    pub workers: u32,
}

impl FleetShare {
    /// This worker's part of `per_second` requests: a number a second, or one request in each of its slots.
    fn of(self, per_second: u32) -> (u32, Option<Slots>) {
        let per_second = per_second.max(1);
        let workers = if self.workers == 0 { UNKNOWN_FLEET.min(per_second) } else { self.workers };
        if workers <= per_second {
            return (per_second / workers, None);
        }
        let spread = |count: u32| u64::from(count) * WINDOW_MS / u64::from(per_second);
        (1, Some(Slots { every: spread(workers), first: spread(self.rank) }))
    }

    /// This worker's part of the invalid requests that are left.
    fn of_invalid(self, left: u32) -> u32 {
        left / if self.workers == 0 { UNKNOWN_FLEET } else { self.workers }
    }
}

/// The budget that a worker has.
pub struct SharedBudget {
    redis: RedisBudget,
    own: MemoryBudget,
    rules: LimitRules,
    /// The fleet's invalid requests, as last reported.
    invalid: AtomicU32,
    share: Box<dyn Fn() -> FleetShare + Send + Sync>,
    mode: watch::Sender<Mode>,
    metrics: RestMetrics,
    status: RestStatus,
}

impl SharedBudget {
    /// Redis's budget, with a share to fall back on.
    pub fn new(
        redis: RedisBudget,
        rules: LimitRules,
        share: impl Fn() -> FleetShare + Send + Sync + 'static,
        metrics: RestMetrics,
        status: RestStatus,
    ) -> Arc<Self> {
        let (own, (mode, _)) = (MemoryBudget::new(rules), watch::channel(Mode::Shared));
        let (invalid, share) = (AtomicU32::new(0), Box::new(share));
        Arc::new(Self { redis, own, rules, invalid, share, mode, metrics, status })
    }

    /// Looks for Redis whenever it is away, until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.look()).await;
    }

    async fn look(&self) {
        let mut mode = self.mode.subscribe();
        // The sender is this budget's own.
        while mode.wait_for(|mode| *mode != Mode::Shared).await.is_ok() {
            sleep(LOOK_EVERY).await;
            if self.redis.probe().await.is_err() {
                continue;
            }
            self.mode.send_replace(Mode::Both);
            let until = Instant::now() + BOTH_FOR;
            tokio::select! {
                () = sleep_until(until) => {}
                _ = mode.wait_for(|mode| *mode == Mode::Alone) => continue,
            }
            let is_back = self.mode.send_if_modified(|mode| {
                let is_back = *mode == Mode::Both;
                if is_back {
                    *mode = Mode::Shared;
                    self.own.allow_invalid(self.rules.invalid_limit);
                    self.status.fell_back(None);
                }
                is_back
            });
            if is_back {
                self.metrics.fell_back(false);
                tracing::info!("redis is back: the REST budget is the fleet's again");
            }
        }
    }

    fn mode(&self) -> Mode {
        self.mode.borrow().clone()
    }

    /// Redis did not answer.
    fn lost(&self, error: &BudgetError) {
        let was_shared = self.mode.send_if_modified(|mode| {
            let changes = *mode != Mode::Alone;
            if changes {
                let share = (self.share)();
                self.own.hold_back();
                let invalid = self.invalid.load(Ordering::Relaxed);
                self.own.allow_invalid(share.of_invalid(self.rules.invalid_limit.saturating_sub(invalid)));
                let workers = share.workers.max(1);
                self.status.fell_back(Some(format!(
                    "the fleet's budget is away ({error}): this worker keeps to its own share, one of {workers}"
                )));
                *mode = Mode::Alone;
            }
            changes
        });
        if was_shared {
            self.metrics.fell_back(true);
            tracing::warn!(%error, "the REST budget cannot be asked: this worker keeps to its own share of it");
        }
    }

    fn ask_own(&self, ask: &BudgetRequest) -> BudgetAnswer {
        let (per_second, slots) = match ask.per_second {
            Some(per_second) => {
                let (per_second, slots) = (self.share)().of(per_second);
                (Some(per_second), slots)
            }
            None => (None, None),
        };
        self.own.ask_now(&BudgetRequest { per_second, ..ask.clone() }, slots)
    }

    /// What was taken of the own share is not used.
    fn give_back(&self, ask: &BudgetRequest) {
        let unused =
            BudgetReport { ask: ask.clone(), status: None, seen: None, limited: None, judges_token: false };
        self.own.report_now(&unused);
    }
}

impl fmt::Debug for SharedBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBudget").field("mode", &self.mode()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Budget for SharedBudget {
    async fn ask(&self, ask: &BudgetRequest) -> Result<BudgetAnswer, BudgetError> {
        let own = match self.mode() {
            Mode::Alone => return Ok(self.ask_own(ask)),
            Mode::Both => match self.ask_own(ask) {
                BudgetAnswer::Go(after) => Some(after),
                other => return Ok(other),
            },
            Mode::Shared => None,
        };
        match (self.redis.ask(ask).await, own) {
            (Ok(BudgetAnswer::Go(after)), own) => Ok(BudgetAnswer::Go(after.max(own.unwrap_or_default()))),
            (Ok(other), own) => {
                if own.is_some() {
                    self.give_back(ask);
                }
                Ok(other)
            }
            (Err(error), own) => {
                self.lost(&error);
                Ok(own.map_or_else(|| self.ask_own(ask), BudgetAnswer::Go))
            }
        }
    }

    async fn report(&self, report: &BudgetReport) -> Result<BudgetState, BudgetError> {
        if self.mode() != Mode::Alone {
            match self.redis.report(report).await {
                Ok(told) => {
                    // The own budget learns too, for when Redis is away.
                    self.own.report_now(report);
                    if let Some(invalid) = told.invalid {
                        self.invalid.store(invalid, Ordering::Relaxed);
                    }
                    return Ok(told);
                }
                // Invalid requests that Redis does not know count against the own share.
                Err(error) => self.lost(&error),
            }
        }
        Ok(self.own.report_now(report))
    }

    async fn breaker(&self) -> Result<Option<(Duration, StopReason)>, BudgetError> {
        if self.mode() == Mode::Alone {
            return Ok(self.own.breaker_now());
        }
        match self.redis.breaker().await {
            Ok(open) => Ok(open),
            Err(error) => {
                self.lost(&error);
                Ok(self.own.breaker_now())
            }
        }
    }
}

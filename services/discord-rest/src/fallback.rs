//! The budget of a worker: Redis's while that can be asked, else the worker's own share.
//!
//! Owns which of the two counts. A share is the global limit divided by the live workers; buckets are then known from this worker's own
//! answers alone. When Redis goes, the last second counts as used up, as others may have used it. When it comes back a
//! request needs a turn from both for a while, until all other workers are back as well.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Answer, Ask, Budget, BudgetError, MemoryBudget, RedisBudget, Report, RestMetrics, RestStatus, Rules, Told,
};

/// Time between two looks for a Redis that is away.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long both are asked when Redis is back: by then every worker has looked.
const BOTH_FOR: Duration = Duration::from_secs(2);

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Shared,
    /// Redis is away.
    Alone,
    /// It is back; the others may not know yet.
    Both,
}

/// The budget that a worker has.
pub struct SharedBudget {
    redis: RedisBudget,
    own: MemoryBudget,
    /// How many workers are alive.
    workers: Box<dyn Fn() -> u32 + Send + Sync>,
    mode: watch::Sender<Mode>,
    metrics: RestMetrics,
    status: RestStatus,
}

impl SharedBudget {
    /// Redis's budget, with `own` to fall back on. `workers` is how many are alive; 0 counts as one.
    pub fn new(
        redis: RedisBudget,
        rules: Rules,
        workers: impl Fn() -> u32 + Send + Sync + 'static,
        metrics: RestMetrics,
        status: RestStatus,
    ) -> Arc<Self> {
        let (own, (mode, _)) = (MemoryBudget::new(rules), watch::channel(Mode::Shared));
        Arc::new(Self { redis, own, workers: Box::new(workers), mode, metrics, status })
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

    fn share(&self, per_second: u32) -> u32 {
        (per_second / (self.workers)().max(1)).max(1)
    }

    /// Redis did not answer.
    fn lost(&self, error: &BudgetError) {
        let was_shared = self.mode.send_if_modified(|mode| {
            let changes = *mode != Mode::Alone;
            if changes {
                self.own.hold_back();
                let workers = (self.workers)().max(1);
                self.status.fell_back(Some(format!(
                    "the fleet's budget is away ({error}): this worker keeps to its own share, one of {workers}"
                )));
                *mode = Mode::Alone;
            }
            changes
        });
        if was_shared {
            self.metrics.fell_back(true);
            tracing::warn!(%error, "the REST budget can't be asked: this worker keeps to its own share of it");
        }
    }

    fn ask_own(&self, ask: &Ask) -> Answer {
        let per_second = ask.per_second.map(|per_second| self.share(per_second));
        self.own.ask_now(&Ask { per_second, ..ask.clone() })
    }

    /// What was taken of the own share is not used.
    fn give_back(&self, ask: &Ask) {
        let unused =
            Report { ask: ask.clone(), status: None, seen: None, limited: None, judges_token: false };
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
    async fn ask(&self, ask: &Ask) -> Result<Answer, BudgetError> {
        let own = match self.mode() {
            Mode::Alone => return Ok(self.ask_own(ask)),
            Mode::Both => match self.ask_own(ask) {
                Answer::Go(after) => Some(after),
                other => return Ok(other),
            },
            Mode::Shared => None,
        };
        match (self.redis.ask(ask).await, own) {
            (Ok(Answer::Go(after)), own) => Ok(Answer::Go(after.max(own.unwrap_or_default()))),
            (Ok(other), own) => {
                if own.is_some() {
                    self.give_back(ask);
                }
                Ok(other)
            }
            (Err(error), own) => {
                self.lost(&error);
                Ok(own.map_or_else(|| self.ask_own(ask), Answer::Go))
            }
        }
    }

    async fn report(&self, report: &Report) -> Result<Told, BudgetError> {
        // The own budget learns too, for when it is alone.
        let own = self.own.report_now(report);
        if self.mode() == Mode::Alone {
            return Ok(own);
        }
        match self.redis.report(report).await {
            Ok(told) => Ok(told),
            Err(error) => {
                self.lost(&error);
                Ok(own)
            }
        }
    }
}

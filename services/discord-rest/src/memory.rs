//! A budget in memory: of one process, or of all workers that share the handle.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    Budget, BudgetAnswer, BudgetError, BudgetReport, BudgetRequest, BudgetState, LimitRules, StopReason,
    limits::{Limits, Slots, millis},
};

/// The budget. The clock is tokio's, so that tests can pause it.
#[derive(Debug)]
pub struct MemoryBudget {
    began: Instant,
    /// The start in Unix milliseconds: all workers' clocks agree about that roughly.
    began_unix: u64,
    limits: Mutex<Limits>,
}

impl MemoryBudget {
    /// An empty one.
    pub fn new(rules: LimitRules) -> Self {
        let began_unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis);
        Self { began: Instant::now(), began_unix, limits: Mutex::new(Limits::new(rules)) }
    }

    /// Takes the last second of every caller as used up.
    pub(crate) fn hold_back(&self) {
        let now = self.now();
        self.limits().hold_back(now);
    }

    /// Allows this many invalid requests beyond the present count.
    pub(crate) fn allow_invalid(&self, more: u32) {
        let now = self.now();
        self.limits().allow_invalid(more, now);
    }

    /// Asks for a turn, in one of these slots if there are any. Slots are on the Unix clock.
    pub(crate) fn ask_now(&self, ask: &BudgetRequest, slots: Option<Slots>) -> BudgetAnswer {
        let now = self.now();
        let slots = slots.map(|Slots { every, first }| {
            let every = every.max(1);
            Slots { every, first: (first % every + every - self.began_unix % every) % every }
        });
        self.limits().ask(ask, slots, now)
    }

    pub(crate) fn breaker_now(&self) -> Option<(Duration, StopReason)> {
        let now = self.now();
        self.limits().breaker(now)
    }

    pub(crate) fn report_now(&self, report: &BudgetReport) -> BudgetState {
        let now = self.now();
        self.limits().report(report, now)
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Budget for MemoryBudget {
    async fn ask(&self, ask: &BudgetRequest) -> Result<BudgetAnswer, BudgetError> {
        Ok(self.ask_now(ask, None))
    }

    async fn report(&self, report: &BudgetReport) -> Result<BudgetState, BudgetError> {
        Ok(self.report_now(report))
    }

    async fn breaker(&self) -> Result<Option<(Duration, StopReason)>, BudgetError> {
        Ok(self.breaker_now())
    }
}

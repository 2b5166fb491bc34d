//! A budget in memory: of one process, or of all workers that share the handle.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    Answer, Ask, Budget, BudgetError, Report, Rules, Told,
    limits::{Limits, millis},
};

/// The budget. The clock is tokio's, so that tests can pause it.
#[derive(Debug)]
pub struct MemoryBudget {
    began: Instant,
    limits: Mutex<Limits>,
}

impl MemoryBudget {
    /// An empty one.
    pub fn new(rules: Rules) -> Self {
        Self { began: Instant::now(), limits: Mutex::new(Limits::new(rules)) }
    }

    /// Takes the last second of every caller as used up.
    pub(crate) fn hold_back(&self) {
        let now = self.now();
        self.limits().hold_back(now);
    }

    pub(crate) fn ask_now(&self, ask: &Ask) -> Answer {
        let now = self.now();
        self.limits().ask(ask, now)
    }

    pub(crate) fn report_now(&self, report: &Report) -> Told {
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
    async fn ask(&self, ask: &Ask) -> Result<Answer, BudgetError> {
        Ok(self.ask_now(ask))
    }

    async fn report(&self, report: &Report) -> Result<Told, BudgetError> {
        Ok(self.report_now(report))
    }
}

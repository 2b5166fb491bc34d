//! How the budget stands, for health: written by the gate and by the fallback, read by whoever asks.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fleet_model::{Problem, ProblemCode};
use tokio::time::Instant;

/// How it stands. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct RestStatus {
    standing: Arc<Mutex<Standing>>,
}

#[derive(Debug, Default)]
struct Standing {
    /// Why Redis can't be asked, and the share that is kept to meanwhile.
    fallback: Option<String>,
    breaker_until: Option<Instant>,
    token_refused_until: Option<Instant>,
}

fn left(until: Option<Instant>) -> Option<Duration> {
    let left = until?.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

impl RestStatus {
    /// What an operator should know.
    pub fn problems(&self) -> Vec<Problem> {
        let standing = self.standing();
        let mut problems = Vec::new();
        if let Some(why) = &standing.fallback {
            problems.push(Problem::new(ProblemCode::RestBudgetAway, format!("rest: {why}")));
        }
        if let Some(left) = left(standing.breaker_until) {
            let why = format!(
                "rest: too many requests were refused (401, 403, 429): nothing is sent to Discord for {} s, or it would ban \
                 this address",
                left.as_secs() + 1
            );
            problems.push(Problem::new(ProblemCode::RestBlocked, why));
        }
        if left(standing.token_refused_until).is_some() {
            let why = "rest: Discord refuses a token that is used here (401); it is not sent";
            problems.push(Problem::new(ProblemCode::RestTokenRefused, why));
        }
        problems
    }

    /// How long the breaker stays open.
    pub(crate) fn breaker(&self) -> Option<Duration> {
        left(self.standing().breaker_until)
    }

    /// Notes how long the breaker stays open; true when it was closed.
    pub(crate) fn opened(&self, left_open: Duration) -> bool {
        let mut standing = self.standing();
        let was_closed = left(standing.breaker_until).is_none();
        standing.breaker_until = Some(Instant::now() + left_open);
        was_closed
    }

    /// Notes how long a token stays refused; true when none was.
    pub(crate) fn token_refused(&self, for_so_long: Duration) -> bool {
        let mut standing = self.standing();
        let was_fine = left(standing.token_refused_until).is_none();
        standing.token_refused_until = Some(Instant::now() + for_so_long);
        was_fine
    }

    /// Notes why the shared budget can't be used, or that it can.
    pub(crate) fn fell_back(&self, why: Option<String>) {
        self.standing().fallback = why;
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How the budget stands, for health: written by the gate and by the fallback, read by the health check.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleet_model::{Problem, ProblemCode};
use tokio::time::Instant;

use crate::StopReason;

/// How it stands. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct RestStatus {
    standing: Arc<Mutex<StatusState>>,
}

#[derive(Debug, Default)]
struct StatusState {
    /// Why Redis can't be asked, and the share that is kept to meanwhile.
    fallback: Option<String>,
    breaker: Option<Breaker>,
    token_refused_until: Option<Instant>,
}

/// All requests are stopped.
#[derive(Clone, Copy, Debug)]
struct Breaker {
    until: Instant,
    why: StopReason,
    since_unix_ms: u64,
}

/// Why all requests are stopped, and for how long, in one line.
pub(crate) fn breaker_message(left: Duration, why: StopReason) -> String {
    let seconds = left.as_secs() + 1;
    match why {
        StopReason::Blocked => format!(
            "Cloudflare blocks this address (429 or 403 without Discord's own headers): nothing is sent to \
             Discord for {seconds} s"
        ),
        StopReason::Breaker | StopReason::Token => format!(
            "too many requests were refused (401, 403, 429): nothing is sent to Discord for {seconds} s, or it would ban this \
             address"
        ),
    }
}

impl StatusState {
    /// How long, why, and since when in Unix milliseconds.
    fn open(&self) -> Option<(Duration, StopReason, u64)> {
        let breaker = self.breaker?;
        Some((left(Some(breaker.until))?, breaker.why, breaker.since_unix_ms))
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, crate::limits::millis)
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
        if let Some((left, why, since)) = standing.open() {
            let message = format!("rest: {}", breaker_message(left, why));
            problems.push(Problem::new(ProblemCode::RestBlocked, message).since(since));
        }
        if left(standing.token_refused_until).is_some() {
            let why =
                "rest: Discord refuses a token (401): requests with it are not sent; check the bots' tokens";
            problems.push(Problem::new(ProblemCode::RestTokenRefused, why));
        }
        problems
    }

    /// Whether all requests are stopped.
    pub fn is_blocked(&self) -> bool {
        self.breaker().is_some()
    }

    /// How long the breaker stays open, and why.
    pub(crate) fn breaker(&self) -> Option<(Duration, StopReason)> {
        self.standing().open().map(|(left, why, _)| (left, why))
    }

    /// Notes how long the breaker stays open; true when it was closed.
    pub(crate) fn opened(&self, left_open: Duration, why: StopReason) -> bool {
        let mut standing = self.standing();
        let open_since = standing.open().map(|(_, _, since)| since);
        let since_unix_ms = open_since.unwrap_or_else(unix_ms);
        standing.breaker = Some(Breaker { until: Instant::now() + left_open, why, since_unix_ms });
        open_since.is_none()
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

    fn standing(&self) -> MutexGuard<'_, StatusState> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

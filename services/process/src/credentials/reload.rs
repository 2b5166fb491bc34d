//! What all credentials files have in common: when they are read again, and what is reported about them.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fleet_model::{Problem, ProblemCode};
use tokio_util::sync::CancellationToken;

use super::loaded::now_unix_s;

/// How often the files are read.
const READ_EVERY: Duration = Duration::from_secs(5);

/// How long before its end a certificate is a problem: 14 days.
pub const EXPIRES_SOON_S: i64 = 14 * 24 * 60 * 60;

/// Calls `read_again`, which blocks, every five seconds until `stop`.
pub(super) async fn read_regularly(read_again: impl Fn() + Clone + Send + 'static, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(READ_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = tokio::task::spawn_blocking(read_again.clone()).await {
            tracing::error!(%error, "reading the credentials failed");
        }
    }
}

/// Why the newest content of the files is not in use.
#[derive(Debug, Default)]
pub(super) struct Rejected(Mutex<Option<String>>);

impl Rejected {
    /// Replaces the reason, and logs a new one.
    pub(super) fn set(&self, why: Option<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &why
            && known.as_ref() != Some(why)
        {
            tracing::warn!(why, "new credentials rejected; the old ones stay in use");
        }
        *known = why;
    }

    pub(super) fn problem(&self) -> Option<Problem> {
        let why = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Problem::new(ProblemCode::CredentialsRejected, why))
    }
}

/// The problem with a certificate that has expired or soon will. `remedy` follows the text about an expired one.
pub(super) fn expiry_problem(certificate: &str, expires_unix_s: i64, remedy: &str) -> Option<Problem> {
    let left = expires_unix_s.saturating_sub(now_unix_s());
    if left >= EXPIRES_SOON_S {
        return None;
    }
    let text = if left < 0 {
        format!("{certificate} has expired, and {remedy}")
    } else {
        let left = Duration::from_secs(left.unsigned_abs() / 3600 * 3600);
        format!("{certificate} expires in {}", humantime::format_duration(left))
    };
    Some(Problem::new(ProblemCode::CredentialsExpire, text))
}

//! Registrations that are refused for false claims: each is counted, and one a minute is logged for each worker.

use std::collections::BTreeMap;

use fleet_model::WorkerId;
use tokio::time::{Duration, Instant};

use super::Driver;
use fleet::RegistrationRefused;

/// How long further refusals of a worker are only counted.
const FOLDED: Duration = Duration::from_mins(1);

/// The most workers that are tracked; refusals of others are not logged.
const WORKERS: usize = 256;

/// By worker: when a refusal was last logged, and how many came since.
#[derive(Default)]
pub(super) struct RefusalLog(BTreeMap<WorkerId, (Instant, u64)>);

impl RefusalLog {
    /// Returns the number of unlogged refusals if this one is to be logged.
    fn due(&mut self, worker: &WorkerId, now: Instant) -> Option<u64> {
        match self.0.get_mut(worker) {
            Some((logged, folded)) if now.saturating_duration_since(*logged) < FOLDED => {
                *folded += 1;
                return None;
            }
            Some((logged, folded)) => {
                *logged = now;
                return Some(std::mem::take(folded));
            }
            None => {}
        }
        self.0.retain(|_, (logged, _)| now.saturating_duration_since(*logged) < FOLDED);
        (self.0.len() < WORKERS).then(|| self.0.insert(worker.clone(), (now, 0))).map(|_| 0)
    }
}

impl Driver<'_> {
    /// Counts and logs a refusal for a false claim.
    pub(super) fn note_refusal(&mut self, refused: &RegistrationRefused) {
        let (claim, worker) = match refused {
            RegistrationRefused::EpochAhead { worker, .. } => ("epoch", worker),
            RegistrationRefused::TotalUnlikely { worker, .. } => ("total", worker),
            RegistrationRefused::OwnerUnheard { worker, .. } => ("owner", worker),
            RegistrationRefused::Full { .. } => return self.shell.metrics.count_refused("workers"),
            RegistrationRefused::NameTaken { .. }
            | RegistrationRefused::StoreAway { .. }
            | RegistrationRefused::HolderUnknown { .. } => return,
        };
        self.shell.metrics.count_refused(claim);
        if let Some(before) = self.refusals.due(worker, Instant::now()) {
            tracing::warn!(worker.id = %worker, why = %refused, folded = before, "registration refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_one_worker_are_folded_and_workers_are_bounded() {
        let mut log = RefusalLog::default();
        let (now, worker) = (Instant::now(), |n: usize| format!("w{n}").parse().unwrap());
        assert_eq!(log.due(&worker(0), now), Some(0));
        assert_eq!((log.due(&worker(0), now), log.due(&worker(0), now)), (None, None));
        assert_eq!(log.due(&worker(0), now + FOLDED), Some(2));
        let logged = (1..10_000).filter(|n| log.due(&worker(*n), now + FOLDED).is_some()).count();
        assert_eq!(logged, WORKERS - 1);
    }
}

//! Registrations that are refused for what they claim: counted each time, logged once a minute for each worker.

use std::collections::BTreeMap;

use fleet_model::WorkerId;
use tokio::time::{Duration, Instant};

use super::Driver;
use crate::fleet::RegistrationRefused;

/// How long a worker's refusals are told by one line.
const FOLDED: Duration = Duration::from_mins(1);

/// Workers whose refusals are folded; of more of them none is logged.
const WORKERS: usize = 256;

/// When a refusal of a worker was last logged, and how many came since.
#[derive(Default)]
pub(super) struct RefusalLog(BTreeMap<WorkerId, (Instant, u64)>);

impl RefusalLog {
    /// How many were not logged, when this one is to be.
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
    /// Counts and logs a refusal that tells of a false claim.
    pub(super) fn note_refusal(&mut self, refused: &RegistrationRefused) {
        let (claim, worker) = match refused {
            RegistrationRefused::EpochAhead { worker, .. } => ("epoch", worker),
            RegistrationRefused::TotalUnlikely { worker, .. } => ("total", worker),
            RegistrationRefused::OwnerUnheard { worker, .. } => ("owner", worker),
            RegistrationRefused::Full { .. } => return self.shell.metrics.count_refused("workers"),
            RegistrationRefused::NameTaken { .. } | RegistrationRefused::StoreAway { .. } => return,
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

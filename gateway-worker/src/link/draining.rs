//! How long a draining worker waits for others to take its shards. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How long a worker that is to stop tries to reach a coordinator that could take its shards.
const COORDINATOR_PATIENCE: Duration = Duration::from_secs(3);

/// Begun when the process is told to stop, or the coordinator requests a drain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draining {
    /// By then the shards are handed off, or closed. `None`: the coordinator requested the drain and sees to it.
    until: Option<Instant>,
    /// Once no shard was taken for this long, the rest is closed too.
    patience: Duration,
    /// The number of shards last observed, and when it last fell.
    held: usize,
    moved_at: Instant,
    /// Since when no coordinator is there.
    alone_since: Option<Instant>,
}

impl Draining {
    /// The process is to stop.
    pub(super) fn before_stop(timeout: Duration, held: usize, now: Instant) -> Self {
        let until = Some(now + timeout);
        Self { until, patience: timeout / 2, held, moved_at: now, alone_since: None }
    }

    /// The coordinator requested the drain. Shards that have to IDENTIFY take their time, one after the other; the
    /// others run on meanwhile.
    pub(super) fn requested(timeout: Duration, held: usize, now: Instant) -> Self {
        Self { until: None, patience: timeout, held, moved_at: now, alone_since: None }
    }

    /// The process is to stop by a time.
    pub(super) fn has_limit(&self) -> bool {
        self.until.is_some()
    }

    /// Notes that the worker holds `held` shards, and that a coordinator is there.
    pub(super) fn observe(&mut self, held: usize, now: Instant) {
        // No shard could be taken while there was no coordinator.
        if held < self.held || self.alone_since.take().is_some() {
            self.moved_at = now;
        }
        self.held = held;
    }

    /// Notes that no coordinator is there.
    pub(super) fn coordinator_lost(&mut self, now: Instant) {
        self.alone_since.get_or_insert(now);
    }

    /// When the wait ends; `None` while nothing ends it.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        match (self.until, self.alone_since) {
            (None, Some(_)) => None,
            (None, None) => Some(self.moved_at + self.patience),
            (Some(until), None) => Some(until.min(self.moved_at + self.patience)),
            (Some(until), Some(since)) => Some(until.min(since + COORDINATOR_PATIENCE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn wait_ends_after_half_the_time_without_a_taken_shard() {
        let began = Instant::now();
        let mut draining = Draining::before_stop(TIMEOUT, 3, began);
        assert_eq!(draining.ends_at(), Some(began + TIMEOUT / 2));
        draining.observe(3, began + seconds(4));
        assert_eq!(draining.ends_at(), Some(began + TIMEOUT / 2), "nothing has moved");
        draining.observe(2, began + seconds(8));
        assert_eq!(draining.ends_at(), Some(began + seconds(18)));
        draining.observe(1, began + seconds(15));
        assert_eq!(draining.ends_at(), Some(began + TIMEOUT), "never longer than it was told");
    }

    #[tokio::test(start_paused = true)]
    async fn returning_coordinator_restarts_the_wait() {
        let began = Instant::now();
        let mut draining = Draining::before_stop(TIMEOUT, 3, began);
        draining.coordinator_lost(began + seconds(2));
        draining.coordinator_lost(began + seconds(4));
        assert_eq!(draining.ends_at(), Some(began + seconds(5)));
        draining.observe(3, began + seconds(4));
        assert_eq!(draining.ends_at(), Some(began + seconds(14)));
    }

    #[tokio::test(start_paused = true)]
    async fn requested_drain_lasts_while_shards_are_taken() {
        let began = Instant::now();
        let mut draining = Draining::requested(TIMEOUT, 9, began);
        for round in 1..9 {
            draining.observe(9 - round, began + seconds(15 * round as u64));
        }
        assert_eq!(draining.ends_at(), Some(began + seconds(15 * 8 + 20)));
        draining.coordinator_lost(began + seconds(130));
        assert_eq!(draining.ends_at(), None, "shards run on without a coordinator");
        assert!(!draining.has_limit());
    }
}

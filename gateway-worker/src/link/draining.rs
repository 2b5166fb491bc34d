//! A worker on its way out: how long it waits for others to take its shards. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Begun when the process is told to stop, or the coordinator tells the worker to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draining {
    /// By then the shards are given away, or closed.
    until: Instant,
    /// So long without one that is taken, and the rest is closed too: nobody takes them.
    patience: Duration,
    /// How many shards there were at the last look, and when there last were fewer.
    held: usize,
    moved_at: Instant,
}

impl Draining {
    pub(super) fn begin(timeout: Duration, held: usize, now: Instant) -> Self {
        Self { until: now + timeout, patience: timeout / 2, held, moved_at: now }
    }

    /// The worker still holds so many shards.
    pub(super) fn looked(&mut self, held: usize, now: Instant) {
        if held < self.held {
            self.moved_at = now;
        }
        self.held = held;
    }

    /// When it waits no longer.
    pub(super) fn ends_at(&self) -> Instant {
        self.until.min(self.moved_at + self.patience)
    }

    /// It waits until then at most.
    pub(super) fn not_after(&mut self, moment: Instant) {
        self.until = self.until.min(moment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    #[tokio::test(start_paused = true)]
    async fn nobody_who_takes_anything_is_waited_for_half_the_time() {
        let began = Instant::now();
        let mut draining = Draining::begin(TIMEOUT, 3, began);
        assert_eq!(draining.ends_at(), began + TIMEOUT / 2);
        draining.looked(3, began + Duration::from_secs(4));
        assert_eq!(draining.ends_at(), began + TIMEOUT / 2, "nothing has moved");
        draining.looked(2, began + Duration::from_secs(8));
        assert_eq!(draining.ends_at(), began + Duration::from_secs(18));
        draining.looked(1, began + Duration::from_secs(15));
        assert_eq!(draining.ends_at(), began + TIMEOUT, "never longer than it was told");
        draining.not_after(began + Duration::from_secs(16));
        assert_eq!(draining.ends_at(), began + Duration::from_secs(16));
    }
}

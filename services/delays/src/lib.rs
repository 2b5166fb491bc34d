//! How long events wait from their receipt to their handler or stream: counted in a few buckets without a lock, and read as a percentile of
//! the last minute.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The first bucket ends here; each next one at about 1.4 times the last, so that every second one doubles.
const FIRST_US: u64 = 64;

/// The last bucket ends at 67 s and has what took longer.
const BUCKETS: usize = 41;

/// The time that [`DelayWindow`] looks back.
const WINDOW: Duration = Duration::from_mins(1);

/// The time between counts that are kept, and the most of them.
const APART: Duration = Duration::from_millis(950);
const KEPT: usize = 64;

type Buckets = [u64; BUCKETS];

/// How many delays were counted in each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayCounts(Buckets);

impl DelayCounts {
    /// Adds the counts of another counter.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_add(other.0[at])))
    }
}

/// Counts delays; clones count into the same.
#[derive(Clone, Debug)]
pub struct Delays(Arc<[AtomicU64; BUCKETS]>);

impl Default for Delays {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl Delays {
    /// Counts one.
    pub fn count(&self, delay: Duration) {
        self.0[bucket(delay)].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns what was counted so far.
    pub fn counts(&self) -> DelayCounts {
        DelayCounts(std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed)))
    }
}

fn bucket(delay: Duration) -> usize {
    let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
    (0..BUCKETS - 1).find(|at| us < end_us(*at)).unwrap_or(BUCKETS - 1)
}

/// Returns where a bucket ends, in microseconds.
fn end_us(at: usize) -> u64 {
    let doubled = FIRST_US << (at / 2);
    if at.is_multiple_of(2) { doubled } else { doubled * 181 / 128 }
}

/// The delays of the last minute, from counts that are read once a second or more often. Pure.
#[derive(Debug, Default)]
pub struct DelayWindow {
    kept: VecDeque<(Duration, Buckets)>,
}

impl DelayWindow {
    /// Takes the newest counts at a time on any clock that never steps, and returns the 99th percentile of the last minute, in microseconds and rounded up to the end
    /// of its bucket; `None` without events.
    pub fn p99_us(&mut self, counts: &DelayCounts, now: Duration) -> Option<u64> {
        let counts = counts.0;
        let is_old = |(at, _): &(Duration, Buckets)| now.saturating_sub(*at) > WINDOW;
        // One is kept: the counts begin there, however long ago it was.
        while self.kept.len() > 1 && (self.kept.len() >= KEPT || self.kept.front().is_some_and(is_old)) {
            self.kept.pop_front();
        }
        let before = self.kept.front().map_or([0; BUCKETS], |(_, counts)| *counts);
        if self.kept.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= APART) {
            self.kept.push_back((now, counts));
        }
        let lately: Buckets = std::array::from_fn(|at| counts[at].saturating_sub(before[at]));
        let all: u64 = lately.iter().sum();
        let mut left = all - all / 100;
        let found = lately.iter().position(|count| {
            left = left.saturating_sub(*count);
            left == 0
        });
        found.filter(|_| all > 0).map(end_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn buckets_grow_and_have_every_delay() {
        assert!((1..BUCKETS).all(|at| end_us(at - 1) < end_us(at)));
        for us in [0, 63, 64, 90, 91, 1_000, 67_000_000, u64::MAX] {
            let at = bucket(Duration::from_micros(us));
            assert!(at == BUCKETS - 1 || us < end_us(at), "{us}");
            assert!(at == 0 || us >= end_us(at - 1), "{us}");
        }
    }

    #[test]
    fn percentile_is_of_the_last_minute() {
        let (delays, mut window) = (Delays::default(), DelayWindow::default());
        assert_eq!(window.p99_us(&delays.counts(), SECOND), None);
        for _ in 0..99 {
            delays.count(Duration::from_micros(100));
        }
        delays.clone().count(SECOND);
        let p99 = window.p99_us(&delays.counts(), 2 * SECOND).unwrap();
        assert!((100..150).contains(&p99), "{p99}");
        delays.count(SECOND);
        let p99 = window.p99_us(&delays.counts(), 3 * SECOND).unwrap();
        assert!((1_000_000..1_500_000).contains(&p99), "two of 101 took a second: {p99}");
        for second in 4..64 {
            window.p99_us(&delays.counts(), second * SECOND);
        }
        assert_eq!(window.p99_us(&delays.counts(), 65 * SECOND), None, "nothing for a minute");
        assert!(window.kept.len() <= KEPT);
    }
}

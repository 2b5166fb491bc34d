//! Events a second of one shard, from the sequence numbers that it reports.
//!
//! Discord numbers the dispatches of a session one by one, so the difference of two reports is a number of events. A number that
//! falls begins a new session, and the count begins again.

use std::{collections::VecDeque, time::Duration};

/// The time over which a rate is averaged.
const WINDOW: Duration = Duration::from_secs(5);

/// Reports closer together than this are one report that was received twice.
const SAME_REPORT: Duration = Duration::from_millis(200);

/// The least time that gives a rate.
const SHORTEST: Duration = Duration::from_millis(800);

/// The recent reports of one shard.
#[derive(Clone, Debug, Default)]
pub struct EventRate(VecDeque<SequenceReport>);

#[derive(Clone, Copy, Debug)]
struct SequenceReport {
    at: Duration,
    sequence: u64,
}

impl EventRate {
    /// Takes a report that was made `at` a moment of the reader's clock. A shard without a session reports 0.
    pub fn add(&mut self, at: Duration, sequence: u64) {
        if let Some(last) = self.0.back() {
            if sequence < last.sequence {
                self.0.clear();
            } else if at < last.at.saturating_add(SAME_REPORT) {
                return;
            }
        }
        if sequence > 0 {
            self.0.push_back(SequenceReport { at, sequence });
        }
    }

    /// Forgets reports that are too old at `now`.
    pub fn forget(&mut self, now: Duration) {
        while self.0.front().is_some_and(|report| now.saturating_sub(report.at) > WINDOW) {
            self.0.pop_front();
        }
    }

    /// Returns the events a second; `None` while too few reports are known.
    pub fn per_second(&self) -> Option<f64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let time = last.at.checked_sub(first.at).filter(|time| *time >= SHORTEST)?;
        Some(last.sequence.saturating_sub(first.sequence) as f64 / time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rate after reports of a time in milliseconds and a sequence.
    fn rate(reports: &[(u64, u64)]) -> Option<f64> {
        let mut rate = EventRate::default();
        for &(at_ms, sequence) in reports {
            let at = Duration::from_millis(at_ms);
            rate.add(at, sequence);
            rate.forget(at);
        }
        rate.per_second()
    }

    #[test]
    fn rate_is_events_over_the_time_between_reports() {
        assert_eq!(rate(&[(1_000, 10)]), None);
        assert_eq!(rate(&[(900, 10), (2_900, 110)]), Some(50.0));
        assert_eq!(rate(&[(1_000, 10), (1_000, 10), (2_000, 10)]), Some(0.0));
        assert_eq!(rate(&[(1_000, 10), (1_100, 90), (2_000, 20)]), Some(10.0), "one report received twice");
    }

    #[test]
    fn rate_is_averaged_over_the_last_seconds() {
        let reports: Vec<_> =
            (0..30).map(|s| (s * 1_000, 1 + if s < 20 { 0 } else { (s - 20) * 70 })).collect();
        assert_eq!(rate(&reports[..20]), Some(0.0));
        assert_eq!(rate(&reports), Some(70.0));
        assert_eq!(rate(&[(1_000, 10), (9_000, 90)]), None, "silence longer than the window");
    }

    #[test]
    fn another_session_begins_again() {
        assert_eq!(rate(&[(1_000, 500), (2_000, 3)]), None);
        assert_eq!(rate(&[(1_000, 500), (2_000, 0), (3_000, 600)]), None, "no session in between");
        assert_eq!(rate(&[(1_000, 500), (2_000, 0), (3_000, 600), (4_000, 620)]), Some(20.0));
        assert_eq!(rate(&[(u64::MAX, u64::MAX), (u64::MAX, 1)]), None);
    }
}

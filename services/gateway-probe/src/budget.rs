//! Counts IDENTIFYs and says when the next may be sent. Pure: time goes in as an argument.

use std::time::Duration;

use tokio::time::Instant;

/// The most IDENTIFYs of one run, also when sessions are lost during it. Discord allows 1,000 a day and resets the token beyond.
pub const MOST_IDENTIFIES: u32 = 10;

/// The IDENTIFYs of one run.
#[derive(Debug)]
pub(crate) struct IdentifyCount {
    spent: u32,
    most: u32,
    /// Discord's interval between two IDENTIFYs of a bucket.
    interval: Duration,
    last: Option<Instant>,
}

/// The limit of the run is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CountExhausted;

impl IdentifyCount {
    /// Allows `most` IDENTIFYs, at most [`MOST_IDENTIFIES`].
    pub(crate) fn new(most: u32, interval: Duration) -> Self {
        Self { spent: 0, most: most.min(MOST_IDENTIFIES), interval, last: None }
    }

    /// Returns when the next IDENTIFY keeps to Discord's interval, a tenth more for the network; `None` at once.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.last.map(|last| last + self.interval + self.interval / 10)
    }

    /// Counts one that is about to be sent.
    ///
    /// # Errors
    /// It must not be sent.
    pub(crate) fn take(&mut self) -> Result<(), CountExhausted> {
        if self.spent >= self.most {
            return Err(CountExhausted);
        }
        self.spent += 1;
        Ok(())
    }

    /// Notes when it was sent.
    pub(crate) fn sent(&mut self, at: Instant) {
        self.last = Some(at);
    }

    pub(crate) fn spent(&self) -> u32 {
        self.spent
    }

    pub(crate) fn left(&self) -> u32 {
        self.most - self.spent
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_are_allowed() {
        for (wanted, allowed) in [(3, 3), (10, 10), (50, MOST_IDENTIFIES)] {
            let mut count = IdentifyCount::new(wanted, Duration::from_secs(5));
            let taken = (0..100).filter(|_| count.take().is_ok()).count();
            assert_eq!((taken, count.spent(), count.left()), (allowed as usize, allowed, 0));
        }
    }

    #[tokio::test]
    async fn next_waits_for_the_interval_and_a_tenth() {
        let mut count = IdentifyCount::new(9, Duration::from_secs(5));
        assert_eq!(count.next_at(), None);
        let now = Instant::now();
        count.sent(now);
        assert_eq!(count.next_at(), Some(now + Duration::from_millis(5_500)));
    }
}

//! How long to wait before the next connection. twilight waits only after a connect that failed; a server that accepts and
//! closes is tried again at once, a thousand times a second. So the waits are ours. Pure.

use std::time::Duration;

/// The first wait; it doubles with each attempt.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// After so many attempts to RESUME in vain the session is given up.
const RESUMES: u32 = 5;

/// Connections since the last one that came to READY or RESUMED.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempts {
    failed: u32,
    /// A connection is open, or was: its HELLO came and its end did not.
    open: bool,
}

impl Attempts {
    /// HELLO came. True when the connection before it ended without a word: that was a failure.
    pub(super) fn hello(&mut self) -> bool {
        let silent_end = self.open;
        self.failed += u32::from(silent_end);
        self.open = true;
        silent_end
    }

    /// The connection closed, or could not be made.
    pub(super) fn ended(&mut self) {
        self.failed += 1;
        self.open = false;
    }

    /// READY or RESUMED came.
    pub(super) fn succeeded(&mut self) {
        self.failed = 0;
    }

    /// The wait before the next connection. None after the first failure of a good connection: a lone op 7 or close code
    /// is everyday. `jitter` from 0 to 1 spreads many shards out.
    pub(super) fn wait(&self, jitter: f64) -> Duration {
        match self.failed {
            0 | 1 => Duration::ZERO,
            failed => {
                let doubled = FIRST.saturating_mul(1 << (failed - 2).min(10)).min(LONGEST);
                doubled.mul_f64(0.5 + jitter / 2.0)
            }
        }
    }

    /// RESUME was tried in vain often enough.
    pub(super) fn session_is_hopeless(&self) -> bool {
        self.failed >= RESUMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_close_is_no_reason_to_wait() {
        let mut attempts = Attempts::default();
        attempts.hello();
        attempts.succeeded();
        attempts.ended();
        assert_eq!(attempts.wait(1.0), Duration::ZERO);
    }

    #[test]
    fn a_server_that_accepts_and_closes_is_tried_ever_more_slowly() {
        let mut attempts = Attempts::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            attempts.hello();
            attempts.ended();
            waits.push(attempts.wait(1.0).as_secs());
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(attempts.wait(0.0) >= LONGEST / 2);
        attempts.succeeded();
        assert_eq!(attempts.wait(1.0), Duration::ZERO);
    }

    #[test]
    fn an_end_without_a_word_counts() {
        let mut attempts = Attempts::default();
        for _ in 0..6 {
            attempts.hello();
        }
        assert!(attempts.session_is_hopeless());
        assert!(attempts.wait(1.0) > Duration::ZERO);
    }
}

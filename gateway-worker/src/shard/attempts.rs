//! How long to wait before the next connection. twilight waits only after a connect that failed; a server that accepts and
//! closes is tried again at once, a thousand times a second. So the waits are ours. Pure.

use std::time::Duration;

/// The first wait; it doubles with each attempt.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_mins(1);
/// After so many connections on which a RESUME led nowhere the session is given up.
const RESUMES: u32 = 5;

/// Connections since the last one that came to READY or RESUMED.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempts {
    failed: u32,
    /// Of these, those on which Discord said HELLO: a session was offered there and not taken.
    answered: u32,
    hello: bool,
}

impl Attempts {
    /// HELLO came.
    pub(super) fn hello(&mut self) {
        self.hello = true;
    }

    /// The connection ended, or could not be made.
    pub(super) fn ended(&mut self) {
        self.failed += 1;
        self.answered += u32::from(self.hello);
        self.hello = false;
    }

    /// READY or RESUMED came.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
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

    /// The session was offered in vain often enough. A gateway that can't be reached is no reason to give it up.
    pub(super) fn session_is_hopeless(&self) -> bool {
        self.answered >= RESUMES
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
            attempts.ended();
            waits.push(attempts.wait(1.0).as_secs());
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(attempts.wait(0.0) >= LONGEST / 2);
        assert!(!attempts.session_is_hopeless(), "nobody has refused the session");
        attempts.succeeded();
        assert_eq!(attempts.wait(1.0), Duration::ZERO);
    }

    #[test]
    fn a_session_that_is_never_taken_is_given_up() {
        let mut attempts = Attempts::default();
        for _ in 0..RESUMES {
            assert!(!attempts.session_is_hopeless());
            attempts.hello();
            attempts.ended();
        }
        assert!(attempts.session_is_hopeless());
    }
}

//! How long to wait before the next attempt to connect.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(500);

/// Returns the wait after `failures` in a row: doubling up to half a second, each cut by up to a half at random, so that the
/// processes of a fleet do not reconnect at the same moment.
pub fn wait_after(failures: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(8));
    doubled.min(LONGEST).mul_f64(rand::random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_stays_within_bounds() {
        for failures in 0..100 {
            let wait = wait_after(failures);
            assert!(wait >= FIRST / 2 && wait < LONGEST, "{failures}: {wait:?}");
        }
        assert!(wait_after(1) < wait_after(50));
    }
}

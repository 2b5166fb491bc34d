//! How far a connection has come, and how long each step may take.

use std::time::Duration;

use tokio::time::Instant;

/// Time limit for HELLO, which Discord sends at once.
const TO_HELLO: Duration = Duration::from_secs(15);
/// Time limit from IDENTIFY to READY, and between replayed events, while heartbeats are acknowledged.
const TO_READY: Duration = Duration::from_mins(2);
/// Each failure doubles the limits, at most this often: a gateway that is slow for all bots deserves patience.
const DOUBLINGS: u32 = 2;

/// How far a connection has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// No HELLO yet.
    Connecting(Instant),
    /// It waits for a permit, for as long as that takes.
    Queued,
    /// IDENTIFY or RESUME went out.
    Greeted(Instant),
    /// READY or RESUMED came.
    Running,
}

impl Stage {
    /// Returns what the connection hangs in, if its time limit after `failures` failures is over.
    pub(super) fn hangs(self, failures: u32) -> Option<&'static str> {
        let patience = |first: Duration| first * (1 << failures.min(DOUBLINGS));
        match self {
            Self::Connecting(since) if since.elapsed() >= patience(TO_HELLO) => Some("no HELLO came"),
            Self::Greeted(since) if since.elapsed() >= patience(TO_READY) => {
                Some("neither READY nor RESUMED came")
            }
            Self::Connecting(_) | Self::Queued | Self::Greeted(_) | Self::Running => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_limit_for_ready_grows_with_failures() {
        let stage = Stage::Greeted(Instant::now());
        let mut hangs_after = Vec::new();
        for _ in 0..600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            hangs_after.push([0, 1, 9].map(|failures| stage.hangs(failures).is_some()));
        }
        let first = |column: usize| hangs_after.iter().position(|hangs| hangs[column]).map(|at| at + 1);
        assert_eq!([first(0), first(1), first(2)], [Some(120), Some(240), Some(480)]);
    }
}

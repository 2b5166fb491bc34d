//! Limits the rate at which a worker writes checkpoints, so that Redis serves others while many shards fill at once.

use std::{sync::Mutex, sync::PoisonError, time::Duration};

use tokio::time::Instant;

/// Bytes a second of one worker.
const RATE: f64 = 24.0 * 1024.0 * 1024.0;
/// How much may go out at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// Clones of an `Arc` share one budget.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When everything admitted so far has gone out, at the rate.
    free_at: Mutex<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { free_at: Mutex::new(Instant::now()) }
    }
}

impl Pace {
    /// Waits until `bytes` may be written.
    pub(crate) async fn spend(&self, bytes: usize) {
        let turn = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let turn = (*free_at).max(now.checked_sub(BURST).unwrap_or(now));
            *free_at = turn + Duration::from_secs_f64(bytes as f64 / RATE);
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn burst_goes_out_at_the_rate() {
        let pace = Pace::default();
        let began = Instant::now();
        for _ in 0..48 {
            pace.spend(1024 * 1024).await;
        }
        let took = began.elapsed();
        assert!((1_700..2_100).contains(&took.as_millis()), "{took:?}");
    }
}

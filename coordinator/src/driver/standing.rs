//! Whether this coordinator may speak for the fleet: not right after its process was stopped.
//!
//! A coordinator that was stopped (SIGSTOP, a frozen machine) for long may wake up to find reports in its streams, and another
//! coordinator in its place that counts on those workers' leases to lapse. An acknowledgement would let a worker go on that
//! the other one is about to declare over. So after a stop nothing is acknowledged until the store has been asked for the
//! term anew. If the store does not answer, this coordinator goes on as while any store is away.

use std::time::Duration;

/// See the module's documentation. Pure: the time comes in as an argument.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// A turn that comes so long after the one before tells of a stop.
    gap: Duration,
    last_turn: Duration,
    /// How many renewals of the term were started.
    renewals: u64,
    /// The first renewal whose end counts; `None` when nothing is in doubt.
    awaited: Option<u64>,
}

impl Standing {
    pub(super) fn new(gap: Duration, now: Duration) -> Self {
        Self { gap, last_turn: now, renewals: 0, awaited: None }
    }

    /// The driver takes something up.
    pub(super) fn turn(&mut self, now: Duration) {
        if now.saturating_sub(self.last_turn) >= self.gap {
            self.awaited = Some(self.renewals + 1);
        }
        self.last_turn = now;
    }

    /// A renewal of the term goes out; its number.
    pub(super) fn renewal_starts(&mut self) -> u64 {
        self.renewals += 1;
        self.renewals
    }

    /// A renewal came back, and the term is not known to be lost.
    pub(super) fn renewal_ended(&mut self, number: u64) {
        if self.awaited.is_some_and(|awaited| number >= awaited) {
            self.awaited = None;
        }
    }

    pub(super) fn may_acknowledge(&self) -> bool {
        self.awaited.is_none()
    }
}

/// The time since this machine started, its suspended times included.
pub(super) fn boot_time() -> Duration {
    // macOS's monotonic clock runs through sleep by itself.
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_millis(2_500);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn after_a_stop_only_a_renewal_that_was_sent_since_counts() {
        let mut standing = Standing::new(GAP, at(0));
        let before = standing.renewal_starts();
        standing.turn(at(2_499));
        assert!(standing.may_acknowledge());
        standing.turn(at(5_000));
        assert!(!standing.may_acknowledge());
        standing.renewal_ended(before);
        assert!(!standing.may_acknowledge(), "it went out before the stop");
        let after = standing.renewal_starts();
        standing.renewal_ended(after);
        assert!(standing.may_acknowledge());
    }
}

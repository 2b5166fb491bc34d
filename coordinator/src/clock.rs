//! The coordinator's clock: monotonic, and counting suspended time.

use std::time::Duration;

use tokio::time::Instant;

/// Counts from its start. Clones share that moment.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    started: Instant,
    booted: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), booted: boot_time() }
    }

    /// The time since the start. tokio's clock stops in a suspend, but tests can move it; so the later of the two.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed().max(boot_time().saturating_sub(self.booted))
    }
}

/// The time since this machine booted, suspended time included.
fn boot_time() -> Duration {
    // macOS's monotonic clock counts sleep already.
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

//! The coordinator's clock: monotonic, and running on while the machine is suspended.

use std::time::Duration;

use tokio::time::Instant;

/// Counts from when it was made. Clones count from the same moment.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    started: Instant,
    booted: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), booted: boot_time() }
    }

    /// The time since it was made. tokio's clock stands still in a suspend, but a test can move it; so the later one of the two.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed().max(boot_time().saturating_sub(self.booted))
    }
}

/// The time since this machine started, its suspended times included.
fn boot_time() -> Duration {
    // macOS's monotonic clock runs through sleep by itself.
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

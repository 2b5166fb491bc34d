//! The clocks of a worker. [`BootTime`] runs on while the machine is suspended or the process stopped: a worker that
//! slept past its lease must know it.

use std::time::Duration;

/// Since boot, suspends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// Now.
    pub fn now() -> Self {
        // macOS's monotonic clock runs through sleep by itself.
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(clock);
        Self(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
    }

    /// A moment so long after boot; for tests and storage.
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// Milliseconds since boot.
    pub const fn as_millis(self) -> u64 {
        self.0.as_millis() as u64
    }

    /// This moment plus `duration`.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long since an earlier moment; zero when it is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The clock of the queues.
pub(crate) fn dispatch_clock() -> Duration {
    Duration::from_millis(BootTime::now().as_millis())
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as u64
}

//! When a run that uses too much memory is replaced. Pure.
//!
//! Replacements for memory have waits of their own. They do not count as crashes: a worker that leaks must not lose its restarts.

use std::time::{Duration, Instant};

/// The shortest time between two replacements.
const FIRST_PAUSE: Duration = Duration::from_mins(1);

/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// The memory limit of one slot.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    /// Resident memory above which a run is replaced, in bytes.
    most: Option<u64>,
    /// The last replacement.
    replaced_at: Option<Instant>,
    /// The next replacement is at least this much later.
    pause: Duration,
    /// The present pause was reported.
    told: bool,
}

/// What is to be done about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryVerdict {
    Nothing,
    Replace,
    /// It uses too much again, soon after a replacement. The next one may begin after this time.
    Pause(Duration),
}

impl MemoryLimit {
    pub(super) fn new(most: Option<u64>) -> Self {
        Self { most, replaced_at: None, pause: FIRST_PAUSE, told: false }
    }

    /// Judges a measurement, in bytes. Each pause is reported once.
    pub(super) fn judge(&mut self, bytes: u64, now: Instant) -> MemoryVerdict {
        if self.most.is_none_or(|most| bytes <= most) {
            return MemoryVerdict::Nothing;
        }
        let over = self.replaced_at.map(|at| at + self.pause);
        match over.map(|over| over.saturating_duration_since(now)) {
            Some(left) if !left.is_zero() => {
                let first = !std::mem::replace(&mut self.told, true);
                if first { MemoryVerdict::Pause(left) } else { MemoryVerdict::Nothing }
            }
            _ => MemoryVerdict::Replace,
        }
    }

    /// A replacement begins. The pause after it is longer if the one before it was no help for long.
    pub(super) fn replaced(&mut self, now: Instant) {
        let helped = self.replaced_at.is_none_or(|at| now.saturating_duration_since(at) >= 2 * self.pause);
        self.pause = if helped { FIRST_PAUSE } else { (2 * self.pause).min(LONGEST_PAUSE) };
        self.replaced_at = Some(now);
        self.told = false;
    }
}

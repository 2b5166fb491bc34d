//! How often the fleet decides who runs what.
//!
//! A decision looks at every shard and worker, so it costs time in proportion to the fleet. Changes that come together, such as the reports
//! of many workers or the deaths of many, are therefore decided together. The pauses follow from the number of shards alone, so runs can
//! be replayed: a fleet with fewer shards than [`FleetRules::decided_per_ms`](super::FleetRules) decides at once; one with 25,000 decides ten times a second
//! while it changes, and once a second while it does not.

use std::time::Duration;

use super::FleetRules;

/// Without a change, the pause is this many times as long: some decisions follow from time alone.
const UNCHANGED: u32 = 10;

/// When decisions were made, and whether one is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pace {
    /// Something has changed since the last decision, or enough time has passed.
    is_pending: bool,
    pub(super) decided_at: Duration,
}

/// Returns the pause between two decisions while a fleet with this many shards changes.
fn pause(rules: &FleetRules, shards: usize) -> Duration {
    Duration::from_millis(shards as u64 / u64::from(rules.decided_per_ms.max(1)))
}

impl Pace {
    /// Notes a change.
    pub(super) fn note_change(&mut self) {
        self.is_pending = true;
    }

    /// Notes the passage of time.
    pub(super) fn note_time(&mut self, rules: &FleetRules, shards: usize, now: Duration) {
        self.is_pending |= now.saturating_sub(self.decided_at) >= pause(rules, shards) * UNCHANGED;
    }

    /// Returns whether a decision is to be made now.
    pub(super) fn take_due(&mut self, rules: &FleetRules, shards: usize, now: Duration) -> bool {
        let is_due = self.is_pending && now.saturating_sub(self.decided_at) >= pause(rules, shards);
        if is_due {
            *self = Self { is_pending: false, decided_at: now };
        }
        is_due
    }
}

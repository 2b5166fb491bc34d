//! Events that must wait, within bounds.

use std::collections::VecDeque;

use super::DispatchOutcome;
use crate::event::Arrived;

/// The most events that wait, and their bytes.
const HELD: usize = 8_192;
const HELD_BYTES: usize = 32 * 1024 * 1024;

#[derive(Default)]
pub(super) struct HeldEvents {
    events: VecDeque<Arrived>,
    bytes: usize,
}

impl HeldEvents {
    /// Adds an event.
    pub(super) fn hold(&mut self, arrived: Arrived) -> DispatchOutcome {
        let bytes = arrived.event.text.len();
        if self.events.len() >= HELD || self.bytes + bytes > HELD_BYTES {
            return DispatchOutcome::Full;
        }
        self.bytes += bytes;
        self.events.push_back(arrived);
        DispatchOutcome::Held
    }

    /// All of them, in order.
    pub(super) fn into_events(self) -> VecDeque<Arrived> {
        self.events
    }
}

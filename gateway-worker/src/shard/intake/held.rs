//! Events that must wait, within bounds.

use std::collections::VecDeque;

use fleet_model::ShardEvent;

use super::DispatchOutcome;

/// The most events that wait, and their bytes.
const HELD: usize = 8_192;
const HELD_BYTES: usize = 32 * 1024 * 1024;

#[derive(Default)]
pub(super) struct HeldEvents {
    events: VecDeque<ShardEvent>,
    bytes: usize,
}

impl HeldEvents {
    /// Adds an event.
    pub(super) fn hold(&mut self, event: ShardEvent) -> DispatchOutcome {
        if self.events.len() >= HELD || self.bytes + event.text.len() > HELD_BYTES {
            return DispatchOutcome::Full;
        }
        self.bytes += event.text.len();
        self.events.push_back(event);
        DispatchOutcome::Held
    }

    /// All of them, in order.
    pub(super) fn into_events(self) -> VecDeque<ShardEvent> {
        self.events
    }
}

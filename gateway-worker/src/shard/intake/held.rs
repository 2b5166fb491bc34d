//! Dispatches that must wait, within bounds.

use std::collections::VecDeque;

use super::{Dispatch, DispatchOutcome};

/// The most events that wait, and their bytes.
const HELD: usize = 8_192;
const HELD_BYTES: usize = 32 * 1024 * 1024;

#[derive(Default)]
pub(super) struct HeldDispatches {
    dispatches: VecDeque<Dispatch>,
    bytes: usize,
}

impl HeldDispatches {
    /// Adds a dispatch.
    pub(super) fn hold(&mut self, dispatch: Dispatch) -> DispatchOutcome {
        if self.dispatches.len() >= HELD || self.bytes + dispatch.text.len() > HELD_BYTES {
            return DispatchOutcome::Full;
        }
        self.bytes += dispatch.text.len();
        self.dispatches.push_back(dispatch);
        DispatchOutcome::Held
    }

    /// All of them, in order.
    pub(super) fn into_dispatches(self) -> VecDeque<Dispatch> {
        self.dispatches
    }
}

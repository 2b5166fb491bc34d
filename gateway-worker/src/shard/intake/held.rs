//! Dispatches that must wait, within bounds.

use std::collections::VecDeque;

use super::{Dispatch, Taken};

/// The most events that wait, and their bytes.
const HELD: usize = 8_192;
const HELD_BYTES: usize = 32 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Held {
    dispatches: VecDeque<Dispatch>,
    bytes: usize,
}

impl Held {
    /// Adds a dispatch.
    pub(super) fn hold(&mut self, dispatch: Dispatch) -> Taken {
        if self.dispatches.len() >= HELD || self.bytes + dispatch.text.len() > HELD_BYTES {
            return Taken::Full;
        }
        self.bytes += dispatch.text.len();
        self.dispatches.push_back(dispatch);
        Taken::Held
    }

    /// All of them, in order.
    pub(super) fn into_dispatches(self) -> VecDeque<Dispatch> {
        self.dispatches
    }
}

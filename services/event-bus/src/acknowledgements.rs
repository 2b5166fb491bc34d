//! Who waits for acknowledgements of which message.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use fleet_model::WorkerId;
use tokio::sync::mpsc;

/// Messages that may wait for acknowledgements at once; with one more, the oldest is given up.
const MAX_WAITS: usize = 1024;

/// Acknowledgements of one message that wait for the reader; more are dropped.
const MAX_WORKERS: usize = 4_096;

/// The open waits of one process. Each has a number, which is given out before its message is published.
#[derive(Debug, Default)]
pub(crate) struct AcknowledgementWaits {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: BTreeMap<u64, mpsc::Sender<WorkerId>>,
}

impl AcknowledgementWaits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a wait. It ends when the receiver is dropped.
    pub(crate) fn open(&self) -> (u64, mpsc::Receiver<WorkerId>) {
        let (sender, receiver) = mpsc::channel(MAX_WORKERS);
        let mut state = self.state();
        if state.open.len() >= MAX_WAITS {
            state.open.retain(|_, sender| !sender.is_closed());
        }
        if state.open.len() >= MAX_WAITS {
            state.open.pop_first();
        }
        state.last += 1;
        let number = state.last;
        state.open.insert(number, sender);
        (number, receiver)
    }

    /// Passes an acknowledgement on, if its sender still waits for it.
    pub(crate) fn acknowledge(&self, number: u64, worker: WorkerId) {
        let mut state = self.state();
        let Some(sender) = state.open.get(&number) else { return };
        if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(worker) {
            state.open.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn oldest_wait_is_dropped_at_the_limit() {
        let waits = AcknowledgementWaits::default();
        let (oldest, mut given_up) = waits.open();
        let others: Vec<_> = (0..MAX_WAITS).map(|_| waits.open()).collect();
        assert_eq!(waits.state().open.len(), MAX_WAITS);
        waits.acknowledge(oldest, "a".parse().unwrap());
        assert_eq!(given_up.recv().await, None);
        drop(others);
        let (number, mut receiver) = waits.open();
        assert_eq!(waits.state().open.len(), 1, "dropped receivers are forgotten");
        waits.acknowledge(number, "a".parse().unwrap());
        assert_eq!(receiver.recv().await.unwrap().as_str(), "a");
    }
}

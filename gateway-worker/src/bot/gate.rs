//! What fresh events wait for after a RESUME.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

/// How long fresh events wait at most for a checkpoint that covers RESUMED.
const COVER: Duration = Duration::from_millis(500);

/// Holds fresh events back after RESUMED until a checkpoint reaches as far. Discord replays RESUMED like any other dispatch: to the
/// next owner, one that no checkpoint covers looks like the end of what it must mark as replayed.
#[derive(Default)]
pub(super) struct Gate {
    /// What a checkpoint must cover; `None` while it is open.
    awaited: Mutex<Option<(u64, u64)>>,
    opened: Notify,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Option<(u64, u64)>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shut_until(&self, position: (u64, u64)) {
        *self.lock() = Some(position);
    }

    pub(super) fn covered(&self, position: (u64, u64)) {
        let mut awaited = self.lock();
        if awaited.is_some_and(|awaited| awaited <= position) {
            *awaited = None;
            self.opened.notify_waiters();
        }
    }

    /// Waits until it is open, but not for a store that is away.
    pub(super) async fn pass(&self) {
        let opened = async {
            loop {
                let mut opened = std::pin::pin!(self.opened.notified());
                opened.as_mut().enable();
                if self.lock().is_none() {
                    return;
                }
                opened.await;
            }
        };
        if tokio::time::timeout(COVER, opened).await.is_err() {
            *self.lock() = None;
            self.opened.notify_waiters();
        }
    }
}

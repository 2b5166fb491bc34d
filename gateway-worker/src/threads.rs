//! The runtimes of a worker, separate so that no work delays the lease.
//!
//! The process's main runtime runs the lease, the link and the servers, which never work for long. Shards and their relays have a separate
//! runtime, because a thousand guilds that arrive at once take seconds to parse. Handlers have another one, because bot code may block its
//! thread.

use std::{
    io,
    time::{Duration, Instant},
};

use process::OwnThreads;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A task that always has more to do gives its thread up this often, so that the others on it go on.
const SLICE: Duration = Duration::from_millis(5);

/// One task's turn on its thread.
#[derive(Debug)]
pub(crate) struct TimeSlice(Instant);

impl TimeSlice {
    /// Begins now.
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Gives the thread up when the turn has lasted long enough.
    pub(crate) async fn yield_if_over(&mut self) {
        if self.0.elapsed() >= SLICE {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}

/// The two runtimes. Everything on them ends with [`Threads::finish`].
pub(crate) struct Threads {
    shards: OwnThreads,
    handlers: OwnThreads,
    stragglers: TaskTracker,
}

impl Threads {
    /// Starts them.
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self {
            shards: OwnThreads::start("shards")?,
            handlers: OwnThreads::start("handlers")?,
            stragglers: TaskTracker::new(),
        })
    }

    /// Where shards run.
    pub(crate) fn shards(&self) -> Handle {
        self.shards.handle()
    }

    /// Where handlers run.
    pub(crate) fn handlers(&self) -> Handle {
        self.handlers.handle()
    }

    /// Has every handler that runs.
    pub(crate) fn stragglers(&self) -> TaskTracker {
        self.stragglers.clone()
    }

    /// Waits for the handlers that run, but not for ever; what is left is cut off.
    pub(crate) async fn finish(self, patience: Duration) {
        self.stragglers.close();
        if tokio::time::timeout(patience, self.stragglers.wait()).await.is_err() {
            tracing::warn!(
                handlers = self.stragglers.len(),
                "handlers did not end in time: they are cut off"
            );
        }
    }
}

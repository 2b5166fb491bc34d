//! Threads for one kind of work, separate from the main runtime's threads.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A tokio runtime with as many threads as there are cores. It may be dropped inside another runtime. The drop does not wait for
/// blocked threads.
#[derive(Debug)]
pub struct OwnThreads(Option<Runtime>);

impl OwnThreads {
    /// Starts threads with this name.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(name: &str) -> io::Result<Self> {
        Ok(Self(Some(Builder::new_multi_thread().thread_name(name).enable_all().build()?)))
    }

    /// Returns a handle that starts tasks on these threads.
    pub fn handle(&self) -> Handle {
        // `None` only during the drop.
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for OwnThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

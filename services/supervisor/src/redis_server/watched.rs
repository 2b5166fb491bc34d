//! A process that may not be a child of ours: waits for its end and signals it.
//!
//! On Linux by a pidfd, which never leads to another process that got the same id later. On other systems, and on kernels that lack
//! pidfds, by its id, asked four times a second.

use std::{io, time::Duration};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, kill_process, test_kill_process, waitpid},
};
use tokio::time::sleep;

/// A process that was alive when it was opened.
#[derive(Debug)]
pub(super) struct Watched {
    pid: Pid,
    descriptor: Option<descriptor::Descriptor>,
}

impl Watched {
    /// Nothing if there is no such process.
    pub(super) fn open(pid: i32) -> Option<Self> {
        let pid = Pid::from_raw(pid)?;
        let descriptor = descriptor::Descriptor::open(pid);
        is_alive(pid).then_some(Self { pid, descriptor })
    }

    /// Waits for the end of the process. Can be cancelled and called again.
    ///
    /// The process may be a child of an earlier program of this process, which replaced itself by `exec`: then it is reaped.
    pub(super) async fn ended(&self) {
        match &self.descriptor {
            Some(descriptor) => descriptor.ended().await,
            None => {
                while is_alive(self.pid) && !self.reap() {
                    sleep(Duration::from_millis(250)).await;
                }
            }
        }
        self.reap();
    }

    /// True if it was a child and has ended.
    fn reap(&self) -> bool {
        // ECHILD if it is no child of ours, or has been reaped.
        matches!(waitpid(Some(self.pid), WaitOptions::NOHANG), Ok(Some(_)))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process has ended, or is another user's.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match &self.descriptor {
            Some(descriptor) => descriptor.signal(signal),
            None => Ok(kill_process(self.pid, signal)?),
        }
    }
}

/// Also true for another user's process, which may not be signalled.
fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid) != Err(Errno::SRCH)
}

#[cfg(target_os = "linux")]
mod descriptor {
    use std::{io, os::fd::OwnedFd};

    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    use tokio::io::{Interest, unix::AsyncFd};

    #[derive(Debug)]
    pub(super) struct Descriptor(AsyncFd<OwnedFd>);

    impl Descriptor {
        pub(super) fn open(pid: Pid) -> Option<Self> {
            let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
            #[allow(
                deprecated,
                reason = "only types that change their descriptor make it unsound; an OwnedFd keeps its own"
            )]
            AsyncFd::with_interest(pidfd, Interest::READABLE).ok().map(Self)
        }

        pub(super) async fn ended(&self) {
            // Readable from the end of the process on. An error means that the runtime shuts down.
            let _ = self.0.readable().await;
        }

        pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
            Ok(pidfd_send_signal(&self.0, signal)?)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod descriptor {
    use std::{convert::Infallible, io};

    use rustix::process::{Pid, Signal};

    /// There is no such descriptor here.
    #[derive(Debug)]
    pub(super) struct Descriptor(Infallible);

    impl Descriptor {
        pub(super) fn open(_: Pid) -> Option<Self> {
            None
        }

        pub(super) async fn ended(&self) {
            match self.0 {}
        }

        pub(super) fn signal(&self, _: Signal) -> io::Result<()> {
            match self.0 {}
        }
    }
}

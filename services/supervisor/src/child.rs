//! One process of the fleet: started, signalled, waited for.
//!
//! A child is the leader of its own process group. Its standard input is a socket whose end tells it that the supervisor is gone
//! ([`process::supervised`]); over it the child reports that it serves. Its output is read all the time.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use process::supervised::{LOG_FOR, SERVING, SUPERVISED};
use rustix::{
    net::{RecvFlags, recv},
    process::{
        Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, kill_process_group, waitid, waitpid,
    },
};
use tokio::{
    io::Interest,
    net::{UnixStream, unix::pipe},
    sync::mpsc,
};

use crate::{
    identity::ProcessIdentity,
    output::{Output, Prefix, pass_on},
    slot::Ended,
};

/// The longest line that a child may send over the socket.
const LONGEST_REPORT: usize = 1_024;

/// Where the output of children goes.
#[derive(Clone, Debug)]
pub(crate) struct Outputs {
    pub(crate) out: Output,
    pub(crate) err: Output,
}

/// A child serves.
#[derive(Debug)]
pub(crate) struct Serving<K> {
    /// Which one.
    pub(crate) key: K,
    /// The address of its health endpoints, if it has any.
    pub(crate) health: Option<SocketAddr>,
}

/// See the module's documentation. Dropping it closes the socket, so the process stops if it still runs.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) identity: Option<ProcessIdentity>,
    socket: OwnedFd,
    out: OwnedFd,
    err: OwnedFd,
}

impl Child {
    /// Starts a command.
    pub(crate) fn spawn(mut command: Command, for_people: bool) -> io::Result<Self> {
        let (socket, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (out, their_out) = io::pipe()?;
        let (err, their_err) = io::pipe()?;
        command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(their_out))
            .stderr(Stdio::from(their_err))
            .process_group(0)
            .env(SUPERVISED, "1");
        if for_people {
            command.env(LOG_FOR, "people");
        }
        let pid = Pid::from_child(&command.spawn()?);
        let identity = ProcessIdentity::of(pid);
        Ok(Self { pid, identity, socket: socket.into(), out: out.into(), err: err.into() })
    }

    /// Takes over a child that the image before has started, with its descriptors.
    pub(crate) fn inherit(pid: Pid, [socket, out, err]: [OwnedFd; 3]) -> Self {
        Self { pid, identity: ProcessIdentity::of(pid), socket, out, err }
    }

    /// The descriptors, for the next image.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.socket.as_fd(), self.out.as_fd(), self.err.as_fd()]
    }

    /// Passes its output on and tells `serving` when it serves. The tasks end with the child.
    pub(crate) fn attend<K: Send + 'static>(
        &self,
        key: K,
        prefix: &Prefix,
        outputs: &Outputs,
        serving: mpsc::Sender<Serving<K>>,
    ) -> io::Result<()> {
        for (pipe, output) in [(&self.out, &outputs.out), (&self.err, &outputs.err)] {
            let pipe = pipe::Receiver::from_owned_fd(pipe.try_clone()?)?;
            tokio::spawn(pass_on(pipe, output.clone(), prefix.clone(), |_| {}));
        }
        let socket = std::os::unix::net::UnixStream::from(self.socket.try_clone()?);
        socket.set_nonblocking(true)?;
        let socket = UnixStream::from_std(socket)?;
        tokio::spawn(async move {
            if let Some(line) = peek_line(&socket).await
                && let Some(health) = line.trim().strip_prefix(SERVING)
            {
                // The receiver is gone when the supervisor ends.
                let _ = serving.send(Serving { key, health: health.trim().parse().ok() }).await;
            }
        });
        Ok(())
    }

    /// Sends it SIGTERM.
    pub(crate) fn terminate(&self) {
        note(self.pid, kill_process(self.pid, Signal::TERM));
    }

    /// Kills it and what it has started.
    pub(crate) fn kill(&self) {
        note(self.pid, kill_process_group(self.pid, Signal::KILL));
    }

    /// How it ended, if it has. What it has started and left behind in its process group is killed.
    pub(crate) fn ended(&self) -> Option<Ended> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid), options) {
            Ok(None) => return None,
            Ok(Some(_)) => {
                // Before the pid is given back: until then no other group can have the number.
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
            Err(_) => return Some(Ended::Unknown),
        }
        let Ok(Some((_, status))) = waitpid(Some(self.pid), WaitOptions::NOHANG) else {
            return Some(Ended::Unknown);
        };
        Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::Code(code),
            (None, Some(signal)) => Ended::Signal(signal),
            (None, None) => Ended::Unknown,
        })
    }
}

/// Waits for the first line and leaves it in the socket: an image that takes the child over later reads it too, even if this image
/// had no time to act on it. `None` when there is no such line.
async fn peek_line(socket: &UnixStream) -> Option<String> {
    let mut buffer = [0; LONGEST_REPORT];
    loop {
        let ready = socket.ready(Interest::READABLE).await.ok()?;
        let peeked = socket.try_io(Interest::READABLE, || {
            let (length, _) = recv(socket, &mut buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
            let complete = buffer[..length].iter().position(|byte| *byte == b'\n');
            // Readable only when there is more of it.
            if complete.is_none() && (1..LONGEST_REPORT).contains(&length) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(complete)
        });
        match peeked {
            Ok(line) => return Some(String::from_utf8_lossy(&buffer[..line?]).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !ready.is_read_closed() => {}
            Err(_) => return None,
        }
    }
}

fn note(pid: Pid, sent: rustix::io::Result<()>) {
    // It may just have ended.
    if let Err(error) = sent {
        tracing::debug!(pid = pid.as_raw_nonzero().get(), %error, "process not signalled");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn report_is_read_by_each_image() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let write = async {
            for piece in ["serving", " ", "127.0.0.1:3000", "\n"] {
                theirs.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (line, ()) = tokio::join!(peek_line(&ours), write);
        assert_eq!(line.as_deref(), Some("serving 127.0.0.1:3000"));
        assert_eq!(peek_line(&ours).await, line, "the next image");
    }

    #[tokio::test]
    async fn socket_without_a_line_is_left() {
        for text in [String::new(), "serving".to_owned(), "x".repeat(LONGEST_REPORT + 1)] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let write = async {
                theirs.write_all(text.as_bytes()).await.unwrap();
                drop(theirs);
            };
            assert_eq!(tokio::join!(peek_line(&ours), write).0, None, "{} bytes", text.len());
        }
    }
}

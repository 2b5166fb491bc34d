//! From one image of the supervisor to the next: `exec` keeps the pid and the children, and this keeps what the image knows about them.
//!
//! The state and the descriptors (sockets and pipes of the children, the lock of the state folder) wait as messages in a socket that the
//! next image finds on its standard input. So nothing is written to a disk, which may be full.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read as _},
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    os::unix::{net::UnixDatagram, process::CommandExt as _},
    path::Path,
    process::Command,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::{
    program::{HANDOVER, Kind},
    slot::{NameSide, Role},
};

/// Version of the state. A next image that does not know it can't take over.
pub(crate) const FORMAT: u32 = 1;

/// Descriptors in one message; Linux allows 253.
const DESCRIPTORS: usize = 100;
/// Bytes of the state in one message.
const PIECE: usize = 32 * 1024;

/// Set for a program that must check whether it can read the state on its standard input.
pub(crate) const CHECK_HANDOVER: &str = "ALTERGOLDEN_UP_CHECK_HANDOVER";

/// The most bytes of the state that are checked. The largest fleet needs far fewer.
const LONGEST_STATE: u64 = 4 << 20;

/// The last message.
const END: &[u8] = b"end";

/// What the next image takes over.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Handover {
    pub(crate) format: u32,
    /// Every process that runs.
    pub(crate) children: Vec<HandedChild>,
    /// The coordinator's address, if its port was chosen at the start.
    pub(crate) coordinator: Option<std::net::SocketAddr>,
    /// The simulator's address.
    pub(crate) simulator: Option<std::net::SocketAddr>,
    /// The number of workers that the fleet has.
    #[serde(default)]
    pub(crate) workers: u16,
    /// The settings have proved right: a fleet has started with them.
    #[serde(default)]
    pub(crate) trusts_settings: bool,
    /// A client waits for the end of the replacement; its connection is the last descriptor.
    pub(crate) has_client: bool,
}

/// A process that runs. Its descriptors are the next three.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HandedChild {
    pub(crate) kind: Kind,
    pub(crate) pid: i32,
    pub(crate) role: Role,
    pub(crate) side: NameSide,
    /// It reported that it serves.
    pub(crate) reported: bool,
}

/// The handover failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandoverError {
    #[error("cannot pass the state on: {0}")]
    Io(#[from] io::Error),
    #[error("cannot read the state that the earlier program passed on: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the earlier program passed its state on in format {0}; this one reads {FORMAT}")]
    Format(u32),
}

impl Handover {
    /// Turns this process into `program`, with the same arguments and pid. Returns only if that fails; then nothing has changed.
    pub(crate) fn exec(
        &self,
        program: &Path,
        args: &[OsString],
        drop_variables: &[String],
        descriptors: &[BorrowedFd<'_>],
    ) -> HandoverError {
        let failed = match self.offer(descriptors) {
            Ok(socket) => {
                rustix::stdio::dup2_stdin(&socket).map_err(io::Error::from).err().unwrap_or_else(|| {
                    let mut command = Command::new(program);
                    for name in drop_variables {
                        command.env_remove(name);
                    }
                    command.args(args).env(HANDOVER, "1").exec()
                })
            }
            Err(error) => return error,
        };
        close_stdin();
        failed.into()
    }

    fn offer(&self, descriptors: &[BorrowedFd<'_>]) -> Result<OwnedFd, HandoverError> {
        let (sender, receiver) = UnixDatagram::pair()?;
        sender.set_nonblocking(true)?;
        for chunk in descriptors.chunks(DESCRIPTORS) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(chunk));
            sendmsg(&sender, &[IoSlice::new(b"fds")], &mut ancillary, SendFlags::empty())
                .map_err(io::Error::from)?;
        }
        for piece in self.to_json()?.chunks(PIECE) {
            sender.send(piece)?;
        }
        sender.send(END)?;
        Ok(receiver.into())
    }

    /// The state as text, for a program that is asked whether it can read it.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, HandoverError> {
        Ok(serde_json::to_vec(self)?)
    }

    fn from_json(text: &[u8]) -> Result<Self, HandoverError> {
        /// Later formats may differ in everything else.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let Head { format } = serde_json::from_slice(text)?;
        if format == FORMAT { Ok(serde_json::from_slice(text)?) } else { Err(HandoverError::Format(format)) }
    }

    /// Takes what the image before has passed on over the standard input.
    pub(crate) fn take() -> Result<(Self, Vec<OwnedFd>), HandoverError> {
        let stdin = io::stdin();
        let taken = receive(stdin.as_fd());
        close_stdin();
        taken
    }
}

fn receive(socket: BorrowedFd<'_>) -> Result<(Handover, Vec<OwnedFd>), HandoverError> {
    let (mut text, mut descriptors, mut buffer) = (Vec::new(), Vec::new(), vec![0; PIECE]);
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        // All messages are there already: an image that finds none must not wait.
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, flags)
            .map_err(io::Error::from)?;
        let before = descriptors.len();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        match &buffer[..received.bytes] {
            _ if descriptors.len() > before => {}
            END => break,
            piece => text.extend_from_slice(piece),
        }
    }
    Ok((Handover::from_json(&text)?, descriptors))
}

/// Checks, in a program that is asked to check the settings, that it can take over from the supervisor that asks.
///
/// # Errors
/// The state is of another format, in one line.
pub fn check_handover() -> Result<(), String> {
    if std::env::var_os(CHECK_HANDOVER).is_none() {
        return Ok(());
    }
    let mut text = Vec::new();
    let read = io::stdin().lock().take(LONGEST_STATE).read_to_end(&mut text).map_err(HandoverError::from);
    let checked = read.and_then(|_| Handover::from_json(&text));
    checked.map(|_| ()).map_err(|error| format!("cannot take over: {error}"))
}

/// The supervisor needs no standard input.
fn close_stdin() {
    if let Ok(null) = File::open("/dev/null") {
        // Then it stays what it was.
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn state_and_descriptors_arrive_in_order() {
        let pipes: Vec<_> = (0..120).map(|_| io::pipe().unwrap()).collect();
        let descriptors: Vec<_> = pipes.iter().map(|(read, _)| read.as_fd()).collect();
        let child = |pid| HandedChild {
            kind: Kind::Worker(3),
            pid,
            role: Role::Serving,
            side: NameSide::B,
            reported: true,
        };
        let children = (1..500).map(child).collect();
        let handover = Handover { format: FORMAT, children, ..Handover::default() };
        let socket = handover.offer(&descriptors).unwrap();
        let (taken, received) = receive(socket.as_fd()).unwrap();
        assert_eq!(taken.children.len(), 499);
        assert_eq!(received.len(), 120);
        for (number, ((_, mut write), received)) in pipes.into_iter().zip(received).enumerate() {
            write!(write, "{number}").unwrap();
            drop(write);
            let mut text = String::new();
            File::from(received).read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn unknown_formats_are_refused() {
        let handover = Handover { format: FORMAT + 1, ..Handover::default() };
        let socket = handover.offer(&[]).unwrap();
        assert!(matches!(receive(socket.as_fd()), Err(HandoverError::Format(_))));
        // Its other fields are not read.
        assert!(matches!(
            Handover::from_json(br#"{"format":7,"children":5}"#),
            Err(HandoverError::Format(7))
        ));
        let unknown = br#"{"format":1,"children":[{"kind":"Other"}]}"#;
        assert!(matches!(Handover::from_json(unknown), Err(HandoverError::Malformed(_))));
        let (_sender, empty) = UnixDatagram::pair().unwrap();
        assert!(matches!(receive(empty.as_fd()), Err(HandoverError::Io(_))));
    }
}

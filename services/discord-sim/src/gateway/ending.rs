//! How a connection ends, and which side ends it.

use super::wire::SocketClosed;
use crate::{
    hub::{Disconnect, Hub},
    protocol::close,
};
use axum::extract::ws::CloseFrame;

/// How a connection ends.
pub(super) enum End {
    /// With this close code.
    Close(u16, String),
    /// With an empty close frame.
    CloseWithoutCode,
    /// By the simulator without a broken rule. A [switch](crate::Switches::close_frames) can suppress the close frame.
    ByServer(u16, &'static str),
    /// With a TCP reset.
    Reset,
    /// By dropping the socket, without a close frame.
    Drop,
    /// By the client.
    ByClient(Disconnect),
}

impl From<SocketClosed> for End {
    fn from(_: SocketClosed) -> Self {
        Self::ByClient(Disconnect::Resumable)
    }
}

impl End {
    pub(super) fn code(code: u16, reason: &str) -> Self {
        Self::Close(code, reason.to_owned())
    }

    pub(super) const fn superseded() -> Self {
        Self::ByServer(close::UNKNOWN_ERROR, "The session was resumed elsewhere.")
    }

    pub(super) fn timed_out(hub: &Hub) -> Self {
        Self::ByServer(hub.switches().zombie_close_code, "Session timed out.")
    }

    pub(super) fn by_client(frame: Option<&CloseFrame>) -> Self {
        let goodbye = frame.is_some_and(|frame| close::ends_session(frame.code));
        Self::ByClient(if goodbye { Disconnect::EndsSession } else { Disconnect::Resumable })
    }
}

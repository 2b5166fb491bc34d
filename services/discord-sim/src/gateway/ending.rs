//! How a connection ends, and who wanted it.

use super::wire::Gone;
use crate::{
    hub::{Departure, Hub},
    protocol::close,
};
use axum::extract::ws::CloseFrame;

/// How a connection ends.
pub(super) enum End {
    /// With this close code.
    Close(u16, String),
    /// With an empty close frame.
    CloseWithoutCode,
    /// Because the simulator wants it, by itself: a [switch](crate::Switches::close_frames) takes the close frame away.
    Unprovoked(u16, &'static str),
    /// With a TCP reset.
    Reset,
    /// Without a word.
    Drop,
    /// By the client.
    Left(Departure),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Left(Departure::Resumable)
    }
}

impl End {
    pub(super) fn code(code: u16, reason: &str) -> Self {
        Self::Close(code, reason.to_owned())
    }

    pub(super) const fn superseded() -> Self {
        Self::Unprovoked(close::UNKNOWN_ERROR, "The session was resumed elsewhere.")
    }

    pub(super) fn timed_out(hub: &Hub) -> Self {
        Self::Unprovoked(hub.switches().zombie_close_code, "Session timed out.")
    }

    pub(super) fn by_client(frame: Option<&CloseFrame>) -> Self {
        let goodbye = frame.is_some_and(|frame| close::ends_session(frame.code));
        Self::Left(if goodbye { Departure::Goodbye } else { Departure::Resumable })
    }
}

//! How far a connection has come, and how long it may take to come further. twilight sets no limit to any of this.

use std::time::Duration;

use tokio::time::Instant;

/// How long a connection may take to come to HELLO, twilight's own waits included.
const TO_HELLO: Duration = Duration::from_mins(1);
/// How long Discord may take from IDENTIFY to READY, or from one replayed event to the next.
const TO_READY: Duration = Duration::from_secs(30);

/// How far a connection has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// No HELLO yet.
    Connecting(Instant),
    /// It waits for a permit, for as long as that takes.
    Queued,
    /// IDENTIFY or RESUME went out.
    Greeted(Instant),
    /// READY or RESUMED came.
    Running,
    /// Discord asked for another connection: this one closes, and the next is made when the peer has closed too.
    Closing(Instant),
}

impl Stage {
    /// What it hangs in, if it does.
    pub(super) fn hangs(self) -> Option<&'static str> {
        match self {
            Self::Connecting(since) | Self::Closing(since) if since.elapsed() >= TO_HELLO => {
                Some("connecting")
            }
            Self::Greeted(since) if since.elapsed() >= TO_READY => Some("waiting for READY or RESUMED"),
            Self::Connecting(_) | Self::Queued | Self::Greeted(_) | Self::Running | Self::Closing(_) => None,
        }
    }
}

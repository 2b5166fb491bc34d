//! What happens to the processes of a slot, and what must be done about it.

use std::time::Duration;

/// One process of a slot. Grows with each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It could not be started.
    NotStarted,
    /// It ended while it was not watched.
    Unknown,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::NotStarted => f.write_str("could not be started"),
            Self::Unknown => f.write_str("ended unseen"),
        }
    }
}

/// Which of the slot's two names a run has: a replacement and the run that it replaces are in the fleet at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NameSide {
    /// `worker-0`.
    #[default]
    A,
    /// `worker-0b`.
    B,
}

impl NameSide {
    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start a process.
    Spawn {
        /// Its number.
        run: RunId,
        /// Its name.
        side: NameSide,
    },
    /// Send SIGTERM.
    Terminate(RunId),
    /// Send SIGKILL to its process group.
    Kill(RunId, KillReason),
    /// Report to the coordinator that it died.
    ReportExit(RunId, Ended),
    /// It died, and starts again after this wait.
    RestartIn(Duration, Ended),
    /// The replacement serves, and what it replaced has exited.
    Replaced,
    /// The replacement ended before it was complete. If the current run is left, it stays.
    ReplacementFailed(&'static str),
    /// The run is above its memory limit again soon after a replacement; the next one may begin after this time.
    MemoryStaysHigh(Duration),
    /// The first run of the slot exited because of a wrong setting.
    WrongSetting,
    /// Discord refused the token.
    TokenRefused,
}

/// Why a run is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// It has not begun to serve in time.
    NotServing,
    /// It serves, and has not answered for as long as a start may take.
    NotAnswering,
    /// It was told to stop, and has not in time.
    NotStopping,
}

/// A run as the next image of the supervisor takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Role {
    /// It serves.
    Serving,
    /// It starts.
    Starting,
    /// It was told to stop.
    Leaving,
}

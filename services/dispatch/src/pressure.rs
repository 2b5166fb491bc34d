//! What a shard does when its queue is full: a pure state machine, and the order in which it sheds.
//!
//! It owns the memory of overflows, and decides whether the shard keeps its socket open, keeps it shut, or sheds. It closes
//! nothing and drops nothing itself: the shard's task tells it what happens and does what [`Pressure::decision`] says.
//!
//! At the bound the shard closes its socket so that the session can be resumed, lets the queue run down to half, and
//! resumes: Discord keeps the events meanwhile, and none is lost. That fails when handlers are too slow for good, as each
//! resume brings back all that came in the meantime, and when they hang, as Discord keeps a session for minutes only. So:
//!
//! - Three overflows within a minute, or 30 s shut in one go, and the shard sheds: the socket is open, and events go
//!   unhandled by kind, as [`ShedOrder`] says. This ends when the queue has been at most half full for 60 s on end.
//! - What never is shed is a fresh interaction. If one finds no room while the shard sheds, the socket is shut until the
//!   queue is down to half, but for no more than 3 s: then Discord has dropped the interaction's token, and it can be shed.

use std::{collections::VecDeque, time::Duration};

mod order;
#[cfg(test)]
mod tests;

pub use order::{INTERACTION_LIFE, InvalidOrder, ShedOrder};

/// This many overflows within [`OVERFLOW_WINDOW`] make a shard shed.
pub const OVERFLOWS: usize = 3;

/// For so long an overflow is remembered.
pub const OVERFLOW_WINDOW: Duration = Duration::from_mins(1);

/// After so long shut in one go the shard sheds.
pub const LONGEST_SHUT: Duration = Duration::from_secs(30);

/// So long the queue is to be at most half full for shedding to end.
pub const CALM: Duration = Duration::from_mins(1);

/// What the shard must do with its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Be connected, and queue every event.
    Open,
    /// Close it so that the session can be resumed, and connect no more for now.
    Shut,
    /// Be connected, and leave out what [`ShedOrder::sheds`] names.
    Shed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    Shut {
        since: Duration,
    },
    Shedding {
        /// Since when the queue has been at most half full; `None` while it is not.
        calm_since: Option<Duration>,
        /// Shut until then for a fresh interaction's sake.
        shut_until: Option<Duration>,
    },
}

/// One shard's. Times are the owner's clock, and never go back.
#[derive(Clone, Debug)]
pub struct Pressure {
    mode: Mode,
    /// Overflows while open, at most [`OVERFLOWS`].
    overflows: VecDeque<Duration>,
}

impl Default for Pressure {
    fn default() -> Self {
        Self::new()
    }
}

impl Pressure {
    /// Of a shard that never was under pressure.
    pub fn new() -> Self {
        Self { mode: Mode::Open, overflows: VecDeque::with_capacity(OVERFLOWS) }
    }

    /// The queue had no room for an event that is not to be shed.
    pub fn overflowed(&mut self, now: Duration) {
        self.settle(now);
        match &mut self.mode {
            Mode::Open => {
                self.overflows.retain(|at| now.saturating_sub(*at) <= OVERFLOW_WINDOW);
                self.overflows.push_back(now);
                self.mode = if self.overflows.len() < OVERFLOWS {
                    Mode::Shut { since: now }
                } else {
                    Mode::shedding()
                };
            }
            // What the socket still delivered on its way down.
            Mode::Shut { .. } => {}
            Mode::Shedding { calm_since, shut_until } => {
                *calm_since = None;
                shut_until.get_or_insert(now + INTERACTION_LIFE);
            }
        }
    }

    /// The queue is down to half. The same as [`Pressure::observed`] with `true`.
    pub fn drained(&mut self, now: Duration) {
        self.observed(true, now);
    }

    /// Whether the queue is at most half full now. To be told at least with each event that comes while the shard sheds: a
    /// queue that filled up and ran down between two calls counts as calm.
    pub fn observed(&mut self, at_most_half: bool, now: Duration) {
        self.settle(now);
        match &mut self.mode {
            Mode::Open => {}
            Mode::Shut { .. } => {
                if at_most_half {
                    self.mode = Mode::Open;
                }
            }
            Mode::Shedding { calm_since, shut_until } => {
                if at_most_half {
                    calm_since.get_or_insert(now);
                    *shut_until = None;
                } else {
                    *calm_since = None;
                }
            }
        }
    }

    /// What the shard must do.
    pub fn decision(&self, now: Duration) -> Decision {
        match self.mode.at(now) {
            Mode::Open => Decision::Open,
            Mode::Shut { .. } | Mode::Shedding { shut_until: Some(_), .. } => Decision::Shut,
            Mode::Shedding { .. } => Decision::Shed,
        }
    }

    /// When the decision may change by time alone; `None`: not before something is told.
    pub fn next_change(&self, now: Duration) -> Option<Duration> {
        match self.mode.at(now) {
            Mode::Open => None,
            Mode::Shut { since } => Some(since + LONGEST_SHUT),
            Mode::Shedding { calm_since, shut_until } => {
                shut_until.or_else(|| calm_since.map(|since| since + CALM))
            }
        }
    }

    /// Makes true what time alone has changed.
    fn settle(&mut self, now: Duration) {
        self.mode = self.mode.at(now);
    }
}

impl Mode {
    fn shedding() -> Self {
        Self::Shedding { calm_since: None, shut_until: None }
    }

    /// What it has become by `now`.
    fn at(self, now: Duration) -> Self {
        match self {
            Self::Shut { since } if now >= since + LONGEST_SHUT => Self::shedding(),
            Self::Shedding { calm_since: Some(since), .. } if now >= since + CALM => Self::Open,
            Self::Shedding { calm_since, shut_until: Some(until) } if now >= until => {
                Self::Shedding { calm_since, shut_until: None }
            }
            mode => mode,
        }
    }
}

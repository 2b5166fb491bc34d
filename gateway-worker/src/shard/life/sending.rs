//! Commands onto the connection: one at a time, so that what twilight has in hand is known.
//!
//! twilight takes commands in a queue of its own, without a bound, and says nothing when one goes out. Its count of free sends
//! tells: a command is counted in the same step in which it is handed to the socket.

use std::time::Duration;

use tokio::time::Instant;
use twilight_gateway::{CommandRatelimiter, Shard as Connection, ShardState};

use super::{Life, Over};
use crate::{
    clock::BootTime,
    identify::PermitQueue,
    shard::{
        commands::{Commands, Due, Room},
        receive::poll_once,
    },
};

/// Timers go off up to a millisecond late.
const SLACK: Duration = Duration::from_millis(2);
/// A heartbeat that is sent so long after a command was given to twilight went out after it.
const PASSED: Duration = Duration::from_secs(1);

/// What was given to twilight, and is not known to have gone out.
pub(super) struct InHand {
    due: Due,
    before: Sends,
    since: Instant,
}

/// twilight's count of sends.
#[derive(Clone, Copy, Debug)]
struct Sends {
    free: u8,
    /// When the next one that is taken becomes free; zero when it has.
    next: Duration,
}

impl Sends {
    fn of(limiter: &CommandRatelimiter) -> Self {
        Self { free: limiter.available(), next: limiter.next_available() }
    }

    /// One more was taken since `before`.
    fn one_less_than(self, before: Self) -> bool {
        // The first that is taken after one became free, or when all were, sets a new moment.
        if before.next.is_zero() { !self.next.is_zero() } else { self.free < before.free }
    }
}

impl Life<'_> {
    /// What the connection can send now.
    pub(super) fn room(&mut self) -> Option<Room> {
        self.settle();
        if self.in_hand.is_some() || self.connection.state() != ShardState::Active {
            return None;
        }
        let Sends { free, next } = Sends::of(self.connection.ratelimiter()?);
        // Close to the moment at which one becomes free the count can't tell.
        let wait = if free == 0 || next <= SLACK && !next.is_zero() { next + SLACK } else { Duration::ZERO };
        Some(Room { free: free.max(1), from: Instant::now() + wait })
    }

    /// Sends the command whose turn it is.
    pub(super) async fn send_command(&mut self, room: Option<Room>) -> Option<Over> {
        let before = Sends::of(self.connection.ratelimiter()?);
        if before.free == 0 {
            return None;
        }
        if !self.runner.lease.is_open(BootTime::now()) {
            return Some(Over::Fenced);
        }
        let due = self.shard().commands().take(room?.free)?;
        self.connection.send(due.text().to_owned());
        self.in_hand = Some(InHand { due, before, since: Instant::now() });
        let received = poll_once(&mut self.connection).await;
        self.settle();
        self.take(received?).await
    }

    /// Says what became of the command that twilight has in hand, when that is known.
    fn settle(&mut self) {
        let commands = self.runner.shard.commands();
        if let Some(in_hand) = self.in_hand.take() {
            self.in_hand = settled(commands, &self.connection, in_hand);
        }
    }

    /// The connection is over: nothing goes out on it any more.
    pub(super) fn give_up_sending(&mut self) {
        self.settle();
        if let Some(InHand { due, .. }) = self.in_hand.take() {
            self.runner.shard.commands().was_lost(due);
        }
    }
}

fn settled(commands: &Commands, connection: &Connection<PermitQueue>, in_hand: InHand) -> Option<InHand> {
    let InHand { due, before, since } = in_hand;
    let active = connection.state() == ShardState::Active;
    let Some(limiter) = connection.ratelimiter().filter(|_| active) else {
        commands.was_lost(due);
        return None;
    };
    let passed = connection.latency().sent().is_some_and(|sent| {
        // Heartbeats go out in front of commands, so one at the same time says nothing.
        sent.elapsed() + PASSED < since.elapsed()
    });
    if passed || Sends::of(limiter).one_less_than(before) {
        commands.went_out(due);
        return None;
    }
    Some(InHand { due, before, since })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_that_was_taken_shows() {
        let sends = |free, next| Sends { free, next: Duration::from_secs(next) };
        assert!(sends(116, 60).one_less_than(sends(117, 0)), "the first");
        assert!(!sends(117, 0).one_less_than(sends(117, 0)));
        assert!(sends(115, 59).one_less_than(sends(116, 59)), "another");
        assert!(!sends(116, 58).one_less_than(sends(116, 59)));
        assert!(sends(30, 7).one_less_than(sends(30, 0)), "one became free, and one was taken");
    }
}

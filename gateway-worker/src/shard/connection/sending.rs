//! Sends commands one at a time, and answers each once it is flushed.

use tokio::time::Instant;

use super::{Connection, ConnectionEnd, stage::Stage};
use crate::{clock::BootTime, shard::commands::SendRoom};

impl Connection<'_> {
    /// What the connection can send now.
    pub(super) fn room(&mut self) -> Option<SendRoom> {
        self.settle();
        if self.in_hand.is_some() || !matches!(self.stage, Stage::Running) {
            return None;
        }
        let (free, wait) = self.socket.free_sends();
        Some(SendRoom { free: free.max(1), from: Instant::now() + wait })
    }

    /// Sends the next command.
    pub(super) async fn send_command(&mut self, room: Option<SendRoom>) -> Option<ConnectionEnd> {
        if self.socket.free_sends().0 == 0 {
            return None;
        }
        if !self.parts.lease.is_open(BootTime::now()) {
            return Some(ConnectionEnd::Fenced);
        }
        let due = self.parts.commands.take(room?.free)?;
        self.socket.send(due.text().to_owned());
        self.in_hand = Some(due);
        let received = self.socket.poll_once().await;
        self.settle();
        self.take(received?)
    }

    /// Answers the current command once it is flushed.
    fn settle(&mut self) {
        if self.socket.is_flushed()
            && let Some(due) = self.in_hand.take()
        {
            self.parts.commands.went_out(due);
        }
    }

    /// Answers the current command when the connection ends.
    pub(super) fn give_up_sending(&mut self) {
        self.settle();
        if let Some(due) = self.in_hand.take() {
            self.parts.commands.was_lost(due);
        }
    }
}

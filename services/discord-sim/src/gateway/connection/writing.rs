//! Writing while reading on.
//!
//! While a write waits for a slow reader, frames and orders are still read, into bounded queues, so a slow reader that beats
//! its heart stays connected, one that does not is cut off, and either can be closed.

use super::Connection;
use crate::{
    event::Event,
    gateway::ending::End,
    hub::{Departure, Order},
    odd::Moment,
    protocol::{Payload, close},
    report::ViolationKind,
    session::Taken,
};
use axum::extract::ws::Message;
use futures_util::StreamExt;
use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// Events written before the socket is looked at again.
const BATCH: usize = 64;
/// Frames read ahead while a write waits; more stay in the socket.
const READ_AHEAD: usize = 128;
/// Nothing is late for longer.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// What is written, while the connection goes on reading.
pub(super) enum Outgoing<'a> {
    /// `handed` becomes the last sequence that the socket took.
    Events {
        events: &'a [(u64, Event)],
        handed: &'a AtomicU64,
    },
    Payload(Vec<u8>),
    /// A repeated text.
    Texts {
        text: &'a str,
        times: u64,
    },
    /// Repeated raw bytes outside the WebSocket.
    Around {
        bytes: &'a [u8],
        times: u64,
    },
    /// A payload that inflates to about this many bytes.
    Inflating(u64),
    /// Nothing, for so long.
    Pause(Duration),
}

impl Connection {
    pub(super) async fn send(&mut self, payload: Vec<u8>) -> Result<(), End> {
        self.write(Outgoing::Payload(payload)).await
    }

    /// Writes while reading on, so that a client that does not read is still told apart and can still be closed.
    pub(super) async fn write(&mut self, outgoing: Outgoing<'_>) -> Result<(), End> {
        let shard = self.shard();
        let (wire, hub, joined, tap) = (&mut self.wire, &self.hub, self.joined.as_ref(), &self.tap);
        let mut writing = pin!(async move {
            match (outgoing, joined) {
                (Outgoing::Payload(payload), _) => wire.send(payload).await,
                (Outgoing::Texts { text, times }, _) => wire.send_often(text, times).await,
                (Outgoing::Around { bytes, times }, _) => wire.write_around(tap, bytes, times).await,
                (Outgoing::Inflating(bytes), _) => wire.inflate(bytes).await,
                (Outgoing::Events { events, handed }, Some(joined)) => {
                    wire.send_events(hub, &joined.sight, events, handed).await
                }
                (Outgoing::Events { .. }, None) => Ok(()),
                (Outgoing::Pause(time), _) => {
                    sleep(time.min(LONGEST_PAUSE)).await;
                    Ok(())
                }
            }
        });
        loop {
            tokio::select! {
                biased;
                // A write that goes through does so even at a shutdown: then the loop says why it closes.
                written = &mut writing => return Ok(written?),
                () = self.stop.cancelled() => return Err(End::Drop),
                Some(order) = self.orders.recv() => match order {
                    Order::Close { code, reason } => return Err(End::Close(code, reason)),
                    Order::Superseded => return Err(End::superseded()),
                    Order::Abort => return Err(End::Reset),
                    other => self.postponed.push_back(other),
                },
                frame = self.stream.next(), if self.read_ahead.len() < READ_AHEAD => match frame {
                    Some(Ok(Message::Close(frame))) => return Err(End::by_client(frame.as_ref())),
                    Some(Ok(frame)) => {
                        // Handled when the write is done; a heartbeat proves life already.
                        if is_heartbeat(&frame) {
                            self.beat_by = Instant::now() + self.hub.config.heartbeat_interval * 2;
                        }
                        self.read_ahead.push_back((self.tap.arrived(), frame));
                    }
                    Some(Err(_)) | None => return Err(End::Left(Departure::Resumable)),
                },
                () = sleep_until(self.beat_by) => {
                    self.hub.violation(
                        ViolationKind::MissedHeartbeat,
                        self.id,
                        shard,
                        "no heartbeat, and nothing read, for twice the interval".into(),
                    );
                    return Err(End::timed_out(&self.hub));
                }
            }
        }
    }

    /// Sends what the session has for this connection, one batch.
    pub(super) async fn send_events(&mut self) -> Result<(), End> {
        let Some(joined) = &mut self.joined else { return Ok(()) };
        let taken = joined.cell.lock().take(self.id, BATCH);
        let (events, replay_until) = match taken {
            Taken::Events { events, replay_until } => (events, replay_until),
            // An ended session's connection is told so; one that was taken over has an order coming.
            Taken::NotYours if !joined.cell.lock().has_ended() => return Err(End::superseded()),
            Taken::NotYours => return Err(End::code(close::NOT_AUTHENTICATED, "The session has ended.")),
            Taken::Overrun => {
                return Err(End::code(close::UNKNOWN_ERROR, "Too far behind."));
            }
        };
        let Some(from) = events.first().map(|(sequence, _)| *sequence) else { return Ok(()) };
        // There may be more; the loop looks at the socket first.
        joined.bell.mark_changed();
        let cell = Arc::clone(&joined.cell);
        let handed = AtomicU64::new(0);
        let written = self.write(Outgoing::Events { events: &events, handed: &handed }).await;
        let to = handed.into_inner();
        if to >= from {
            cell.lock().record_sent(self.id, from, to, replay_until);
        }
        written?;
        for (_, event) in &events {
            match event {
                Event::Ready(_) => self.run_script(Moment::Ready).await?,
                Event::Resumed => self.run_script(Moment::Resumed).await?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_heartbeat(frame: &Message) -> bool {
    let bytes = match frame {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => return false,
    };
    matches!(Payload::parse(bytes), Payload::Heartbeat(_))
}

//! Writes without blocking reads.
//!
//! While a write waits for a slow client, frames and commands are still read into bounded queues. A slow client that sends heartbeats
//! stays connected, one that does not is closed, and the control API can close either.

use super::Connection;
use crate::{
    event::Event,
    gateway::ending::End,
    hub::{ConnectionCommand, Disconnect},
    odd::Moment,
    protocol::{Payload, close},
    report::ViolationKind,
    session::NextEvents,
};
use axum::extract::ws::Message;
use futures_util::StreamExt;
use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// Events written before the connection checks its socket again: few, so that heartbeats are acknowledged between large guilds.
const BATCH: usize = 8;
/// Frames read during a write; more stay in the socket.
const READ_AHEAD: usize = 128;
/// Longest delay of anything sent.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// What to write.
pub(super) enum Outgoing<'a> {
    /// `handed` is set to the last sequence that the socket accepted.
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
    RawBytes {
        bytes: &'a [u8],
        times: u64,
    },
    /// A payload that inflates to about this many bytes.
    Inflating(u64),
    /// Nothing, for this long.
    Pause(Duration),
}

impl Connection {
    pub(super) async fn send(&mut self, payload: Vec<u8>) -> Result<(), End> {
        self.write(Outgoing::Payload(payload)).await
    }

    /// Writes while reading, so that heartbeats, their timeout and commands still work when the client does not read.
    pub(super) async fn write(&mut self, outgoing: Outgoing<'_>) -> Result<(), End> {
        let shard = self.shard();
        let (wire, hub, session, raw) = (&mut self.wire, &self.hub, self.session.as_ref(), &self.raw);
        let mut writing = pin!(async move {
            match (outgoing, session) {
                (Outgoing::Payload(payload), _) => wire.send(payload).await,
                (Outgoing::Texts { text, times }, _) => wire.send_often(text, times).await,
                (Outgoing::RawBytes { bytes, times }, _) => wire.write_raw(raw, bytes, times).await,
                (Outgoing::Inflating(bytes), _) => wire.inflate(bytes).await,
                (Outgoing::Events { events, handed }, Some(session)) => {
                    wire.send_events(hub, &session.params, events, handed).await
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
                // A write that completes does so even during shutdown, so that the loop can send a close frame.
                written = &mut writing => return Ok(written?),
                () = self.stop.cancelled() => return Err(End::Drop),
                Some(command) = self.commands.recv() => match command {
                    ConnectionCommand::Close { code, reason } => return Err(End::Close(code, reason)),
                    ConnectionCommand::Superseded => return Err(End::superseded()),
                    ConnectionCommand::Abort => return Err(End::Reset),
                    other => self.postponed.push_back(other),
                },
                frame = self.stream.next(), if self.read_ahead.len() < READ_AHEAD => match frame {
                    Some(Ok(Message::Close(frame))) => return Err(End::by_client(frame.as_ref())),
                    Some(Ok(frame)) => {
                        // Frames are handled after the write; a heartbeat counts at once.
                        if is_heartbeat(&frame) {
                            self.beat_by = Instant::now() + self.hub.config.heartbeat_interval * 2;
                        }
                        self.read_ahead.push_back((self.raw.arrived(), frame));
                    }
                    Some(Err(_)) | None => return Err(End::ByClient(Disconnect::Resumable)),
                },
                () = sleep_until(self.beat_by) => {
                    self.hub.violation(
                        ViolationKind::MissedHeartbeat,
                        self.id,
                        shard,
                        "no heartbeat for twice the interval while the client did not read".into(),
                    );
                    return Err(End::timed_out(&self.hub));
                }
            }
        }
    }

    /// Sends one batch of the session's events.
    pub(super) async fn send_events(&mut self) -> Result<(), End> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let taken = session.cell.lock().next_events(self.id, BATCH);
        let (events, replay_until) = match taken {
            NextEvents::Events { events, replay_until } => (events, replay_until),
            // The hub sends a command to connections that lost their session to another; an ended session is closed here.
            NextEvents::Detached if !session.cell.lock().has_ended() => return Err(End::superseded()),
            NextEvents::Detached => {
                return Err(End::code(close::NOT_AUTHENTICATED, "The session has ended."));
            }
            NextEvents::Overrun => {
                return Err(End::code(close::UNKNOWN_ERROR, "Too far behind."));
            }
        };
        let Some(from) = events.first().map(|(sequence, _)| *sequence) else { return Ok(()) };
        // More events may be waiting; the loop checks the socket first.
        session.updates.mark_changed();
        let cell = Arc::clone(&session.cell);
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

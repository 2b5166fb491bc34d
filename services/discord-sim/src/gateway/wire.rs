//! The sending half of a connection: bodies are written, compressed and handed to the socket one at a time.

use super::{compression::Codec, envelope};
use crate::{event::Event, event::Sight, hub::Hub, net::Tap};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{SinkExt, stream::SplitSink};
use std::sync::atomic::{AtomicU64, Ordering};

/// The socket is gone.
#[derive(Debug)]
pub(crate) struct Gone;

impl From<axum::Error> for Gone {
    fn from(_: axum::Error) -> Self {
        Self
    }
}

/// Where a connection writes.
pub(crate) struct Wire {
    sink: SplitSink<WebSocket, Message>,
    codec: Codec,
}

impl Wire {
    pub(crate) fn new(sink: SplitSink<WebSocket, Message>, codec: Codec) -> Self {
        Self { sink, codec }
    }

    /// From here on large payloads are compressed, unless the transport is.
    pub(crate) fn compress_payloads(&mut self) {
        self.codec.compress_payloads();
    }

    /// Sends one payload.
    pub(crate) async fn send(&mut self, payload: Vec<u8>) -> Result<(), Gone> {
        let message = self.codec.encode(payload);
        Ok(self.sink.send(message).await?)
    }

    /// Sends events. Only one body exists at a time; the socket takes each before the next is written, and `handed`
    /// becomes the sequence of the last one that it took.
    pub(crate) async fn send_events(
        &mut self,
        hub: &Hub,
        sight: &Sight,
        events: &[(u64, Event)],
        handed: &AtomicU64,
    ) -> Result<(), Gone> {
        for (sequence, event) in events {
            let (payload, copies) = envelope::dispatch(hub, sight, *sequence, event);
            for _ in 1..copies {
                let message = self.codec.encode(payload.clone());
                self.sink.feed(message).await?;
            }
            if copies > 0 {
                let message = self.codec.encode(payload);
                self.sink.feed(message).await?;
            }
            handed.store(*sequence, Ordering::Relaxed);
        }
        Ok(self.sink.flush().await?)
    }

    /// Sends a text `times` times.
    pub(crate) async fn send_often(&mut self, text: &str, times: u64) -> Result<(), Gone> {
        for _ in 0..times {
            let message = self.codec.encode(text.as_bytes().to_vec());
            self.sink.feed(message).await?;
        }
        Ok(self.sink.flush().await?)
    }

    /// Writes raw bytes outside the WebSocket, `times` times.
    pub(crate) async fn write_around(&mut self, tap: &Tap, bytes: &[u8], times: u64) -> Result<(), Gone> {
        for _ in 0..times {
            tap.write_around(bytes);
            // Each flush waits for the socket, so only one piece is in memory.
            self.sink.flush().await?;
        }
        Ok(())
    }

    /// Sends a payload that inflates to about `bytes` bytes.
    pub(crate) async fn inflate(&mut self, bytes: u64) -> Result<(), Gone> {
        let message = self.codec.encode_inflating(bytes).await;
        Ok(self.sink.send(message).await?)
    }

    /// Sends a close frame; without a code it is empty.
    pub(crate) async fn close(&mut self, close: Option<(u16, String)>) -> Result<(), Gone> {
        let frame = close.map(|(code, reason)| CloseFrame { code, reason: reason.into() });
        Ok(self.sink.send(Message::Close(frame)).await?)
    }
}

//! The sending half of a connection: bodies are written, compressed and handed to the socket one at a time.

use super::{compression::Codec, envelope};
use crate::{event::Event, event::Sight, hub::Hub};
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
            let payload = envelope::dispatch(hub, sight, *sequence, event);
            let message = self.codec.encode(payload);
            self.sink.feed(message).await?;
            handed.store(*sequence, Ordering::Relaxed);
        }
        Ok(self.sink.flush().await?)
    }

    /// Sends a close frame.
    pub(crate) async fn close(&mut self, code: u16, reason: String) -> Result<(), Gone> {
        Ok(self.sink.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await?)
    }
}

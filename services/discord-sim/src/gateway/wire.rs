//! The sending half of a connection: writes, compresses and sends one body at a time.

use super::{compression::Codec, envelope};
use crate::{event::Event, event::SessionParams, hub::Hub, net::RawSocket};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{SinkExt, stream::SplitSink};
use std::sync::atomic::{AtomicU64, Ordering};

/// The socket is closed.
#[derive(Debug)]
pub(crate) struct SocketClosed;

impl From<axum::Error> for SocketClosed {
    fn from(_: axum::Error) -> Self {
        Self
    }
}

/// The sending half of a WebSocket.
pub(crate) struct Wire {
    sink: SplitSink<WebSocket, Message>,
    codec: Codec,
}

impl Wire {
    pub(crate) fn new(sink: SplitSink<WebSocket, Message>, codec: Codec) -> Self {
        Self { sink, codec }
    }

    /// Compresses large payloads from now on, unless the transport is compressed.
    pub(crate) fn compress_payloads(&mut self) {
        self.codec.compress_payloads();
    }

    /// Sends one payload.
    pub(crate) async fn send(&mut self, payload: Vec<u8>) -> Result<(), SocketClosed> {
        let message = self.codec.encode(payload);
        Ok(self.sink.send(message).await?)
    }

    /// Sends events, holding one body in memory at a time. `handed` is set to the last sequence that the socket accepted.
    pub(crate) async fn send_events(
        &mut self,
        hub: &Hub,
        params: &SessionParams,
        events: &[(u64, Event)],
        handed: &AtomicU64,
    ) -> Result<(), SocketClosed> {
        for (sequence, event) in events {
            let (payload, copies) = envelope::dispatch(hub, params, *sequence, event);
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
    pub(crate) async fn send_often(&mut self, text: &str, times: u64) -> Result<(), SocketClosed> {
        for _ in 0..times {
            let message = self.codec.encode(text.as_bytes().to_vec());
            self.sink.feed(message).await?;
        }
        Ok(self.sink.flush().await?)
    }

    /// Writes raw bytes outside the WebSocket, `times` times.
    pub(crate) async fn write_raw(
        &mut self,
        raw: &RawSocket,
        bytes: &[u8],
        times: u64,
    ) -> Result<(), SocketClosed> {
        for _ in 0..times {
            raw.write_raw(bytes);
            // Each flush waits for the socket, so one copy is in memory at a time.
            self.sink.flush().await?;
        }
        Ok(())
    }

    /// Sends a payload that inflates to about `bytes` bytes.
    pub(crate) async fn inflate(&mut self, bytes: u64) -> Result<(), SocketClosed> {
        let message = self.codec.encode_inflating(bytes).await;
        Ok(self.sink.send(message).await?)
    }

    /// Sends a close frame; without a code it is empty.
    pub(crate) async fn close(&mut self, close: Option<(u16, String)>) -> Result<(), SocketClosed> {
        let frame = close.map(|(code, reason)| CloseFrame { code, reason: reason.into() });
        Ok(self.sink.send(Message::Close(frame)).await?)
    }
}

//! One WebSocket connection to Discord's gateway: heartbeats, compression, and limits.
//!
//! A socket never reconnects: [`Socket::dial`] takes a [`DialGrant`], which comes after the wait, and a
//! [`GatewayAddress`], which may get the token. [`connection`](super::connection) interprets the messages. No input makes a socket
//! panic; a frame, a message with all its fragments and a decompressed message are each bounded to 32 MiB ([`LARGEST`]), the
//! answer to the upgrade to 16 KiB.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Sink as _, Stream as _};
use outside_text::printable;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep},
};
use tokio_websockets::{
    ClientBuilder, CloseCode, Connector, Error, Limits, MaybeTlsStream, Message, WebSocketStream,
};

use self::{inflate::Inflate, pulse::Pulse, sends::Sends, upgrade::Upgraded};
use super::{dialing::DialGrant, protocol::GatewayCompression, silence::NOT_ACKNOWLEDGED};
use crate::gateway_address::GatewayAddress;

mod inflate;
mod pulse;
mod sends;
mod upgrade;

/// Time limit for TCP, TLS and the upgrade together.
const CONNECT: Duration = Duration::from_secs(10);
/// Time limit for the closing handshake.
const CLOSE: Duration = Duration::from_millis(200);
/// The largest frame, the largest message of all its fragments, and the largest decompressed message. Guilds with all members and
/// presences stay below it.
const LARGEST: usize = 32 * 1024 * 1024;

/// Input from the connection.
#[derive(Debug)]
pub(super) enum Received {
    Text(String),
    /// A close frame; `None` without a code.
    Closed(Option<(u16, String)>),
    /// The connection ended without a close frame: why.
    Lost(String),
    /// Bytes that are no gateway messages, or larger than [`LARGEST`]: what is wrong. The connection cannot be used any more.
    Malformed(String),
}

type Stream = WebSocketStream<Upgraded<MaybeTlsStream<TcpStream>>>;

pub(super) struct Socket {
    stream: Stream,
    inflate: Inflate,
    /// Set by HELLO.
    pulse: Option<Pulse>,
    sends: Sends,
    timer: Pin<Box<Sleep>>,
    /// The sequence of the last dispatch, for the heartbeats.
    sequence: Option<u64>,
    /// Whether something is not flushed yet.
    unsent: bool,
}

impl Socket {
    /// Opens a connection.
    ///
    /// # Errors
    /// The reason, as text.
    pub(super) async fn dial(
        address: &GatewayAddress,
        compression: GatewayCompression,
        _: DialGrant,
    ) -> Result<Self, String> {
        let stream = match tokio::time::timeout(CONNECT, open(address, compression)).await {
            Ok(connected) => connected?,
            Err(_) => return Err(format!("no answer within {} s", CONNECT.as_secs())),
        };
        Ok(Self {
            stream,
            inflate: Inflate::new(compression)?,
            pulse: None,
            sends: Sends::new(Duration::from_mins(1)),
            timer: Box::pin(tokio::time::sleep_until(Instant::now())),
            sequence: None,
            unsent: false,
        })
    }

    /// Starts heartbeats after HELLO. `jitter` from 0 to 1 spreads the first one.
    pub(super) fn begin_heartbeats(&mut self, interval: Duration, jitter: f64) {
        self.sends = Sends::new(interval);
        self.pulse = Some(Pulse::begin(interval, jitter, Instant::now()));
    }

    /// Brings the next heartbeat forward, as Discord asked for one (op 1).
    pub(super) fn asked_for_heartbeat(&mut self) {
        if let Some(pulse) = &mut self.pulse {
            pulse.asked(Instant::now());
        }
    }

    /// Notes that a heartbeat was acknowledged (op 11).
    pub(super) fn acknowledged(&mut self) {
        if let Some(pulse) = &mut self.pulse {
            pulse.acknowledged(Instant::now());
        }
    }

    /// Sets the sequence that heartbeats carry.
    pub(super) fn set_sequence(&mut self, sequence: u64) {
        self.sequence = Some(sequence);
    }

    /// Returns how long the oldest heartbeat without an acknowledgement has been out.
    pub(super) fn unacknowledged(&self) -> Option<Duration> {
        self.pulse.as_ref()?.unacknowledged(Instant::now())
    }

    /// Returns the average round trip to Discord.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.pulse.as_ref()?.latency()
    }

    /// Returns how many messages may be sent now, and when that is 0, the wait for the next.
    pub(super) fn free_sends(&mut self) -> (u8, Duration) {
        self.sends.free(Instant::now())
    }

    /// Queues a message for the next poll. Callers check `free_sends` first.
    pub(super) fn send(&mut self, text: String) {
        self.sends.spend(Instant::now());
        self.queue(text);
    }

    /// Whether everything queued is flushed.
    pub(super) fn is_flushed(&self) -> bool {
        !self.unsent
    }

    /// Waits for the next message, sending what is due. Cancel safe.
    pub(super) async fn receive(&mut self) -> Received {
        poll_fn(|context| self.poll_receive(context)).await
    }

    /// Sends what can be sent at once, and returns input if there is any.
    pub(super) async fn poll_once(&mut self) -> Option<Received> {
        poll_fn(|context| {
            Poll::Ready(match self.poll_receive(context) {
                Poll::Ready(received) => Some(received),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// Closes with a code, and waits briefly for the peer. Any code but 1000 and 1001 keeps the session.
    pub(super) async fn close(mut self, code: u16) {
        if let Ok(code) = CloseCode::try_from(code) {
            // Rejected if already closed; then only the answer to the peer's close frame is left to send.
            let _ = Pin::new(&mut self.stream).start_send(Message::close(Some(code), ""));
        }
        let closing = poll_fn(|context| {
            let _ = Pin::new(&mut self.stream).poll_flush(context);
            // Further messages are dropped: a RESUME brings them again.
            while let Some(Ok(_)) = ready!(Pin::new(&mut self.stream).poll_next(context)) {}
            Poll::Ready(())
        });
        let _ = tokio::time::timeout(CLOSE, closing).await;
    }

    fn queue(&mut self, text: String) {
        self.unsent = true;
        // Rejected if the connection is closed, which the next poll reports.
        let _ = Pin::new(&mut self.stream).start_send(Message::text(text));
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Received> {
        loop {
            let now = Instant::now();
            if self.pulse.as_ref().is_some_and(|pulse| pulse.is_dead(now)) {
                return Poll::Ready(Received::Lost(NOT_ACKNOWLEDGED.to_owned()));
            }
            self.beat(now);
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(Ok(())) => self.unsent = false,
                Poll::Ready(Err(error)) => return Poll::Ready(ended(&error)),
                // A peer that does not read is not read from: each ping would queue an answer.
                Poll::Pending => return Poll::Pending,
            }
            let message = match Pin::new(&mut self.stream).poll_next(context) {
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(ended(&error)),
                Poll::Ready(None) => {
                    return Poll::Ready(Received::Lost("closed without a close frame".to_owned()));
                }
                // The timer is needed only here: heartbeats that were due have been sent above.
                Poll::Pending if self.is_beat_due(context) => continue,
                Poll::Pending => return Poll::Pending,
            };
            if let Some(pulse) = &mut self.pulse {
                pulse.heard();
            }
            if let Some((code, reason)) = message.as_close() {
                let close = (code != CloseCode::NO_STATUS_RECEIVED).then(|| (code.into(), reason.to_owned()));
                return Poll::Ready(Received::Closed(close));
            }
            if message.is_binary() {
                match self.inflate.message(message.as_payload()) {
                    Ok(Some(text)) => return Poll::Ready(Received::Text(text)),
                    Ok(None) => continue,
                    Err(why) => return Poll::Ready(Received::Malformed(why.to_owned())),
                }
            }
            if let Some(text) = message.as_text() {
                // Copied: it is a part of the read buffer, which an event must not keep.
                return Poll::Ready(Received::Text(text.to_owned()));
            }
        }
    }

    /// Whether the next heartbeat is due. If not, the task is woken at the time of the heartbeat.
    fn is_beat_due(&mut self, context: &mut Context<'_>) -> bool {
        let Some(pulse) = &self.pulse else { return false };
        if self.timer.deadline() != pulse.due() {
            self.timer.as_mut().reset(pulse.due());
        }
        self.timer.as_mut().poll(context).is_ready()
    }

    /// Queues the heartbeats that are due.
    fn beat(&mut self, now: Instant) {
        let Some(pulse) = self.pulse.as_mut().filter(|pulse| pulse.due() <= now) else { return };
        if pulse.beat(now) && self.sends.free(now).0 > 0 {
            // The reserve is for scheduled heartbeats.
            self.sends.spend(now);
        }
        let sequence = self.sequence.map_or("null".to_owned(), |sequence| sequence.to_string());
        self.queue(format!(r#"{{"op":1,"d":{sequence}}}"#));
    }
}

/// Connects by TCP and TLS, and upgrades to a WebSocket.
async fn open(address: &GatewayAddress, compression: GatewayCompression) -> Result<Stream, String> {
    let url = address.with_query(compression.query());
    let builder = ClientBuilder::new().uri(&url).map_err(|error| error.to_string())?;
    let builder = builder.limits(Limits::default().max_payload_len(Some(LARGEST)));
    let (host, port, is_tls) = address.server();
    let upgraded = async {
        let stream = TcpStream::connect((host, port)).await?;
        let connector = if is_tls { Connector::new()? } else { Connector::Plain };
        let stream = connector.wrap(host, stream).await?;
        builder.connect_on(Upgraded::new(stream)).await
    };
    let (mut stream, _) = upgraded.await.map_err(|error| in_words(&error))?;
    stream.get_mut().lift();
    Ok(stream)
}

/// How an error ended the connection.
fn ended(error: &Error) -> Received {
    match error {
        Error::Protocol(_) | Error::PayloadTooLong { .. } => Received::Malformed(in_words(error)),
        _ => Received::Lost(in_words(error)),
    }
}

/// Describes an error; for HTTP errors only the status, nothing else of the response.
fn in_words(error: &Error) -> String {
    printable(&error.to_string()).to_string()
}

//! An accepted connection, with the deadlines that the protocols above it lack.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use super::{places::Place, wire::Wire};
use crate::credentials::{Credentials, Peer};

/// See [`super::Limits`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) greeting: usize,
    pub(crate) greeting_within: Duration,
    pub(crate) write_stall: Duration,
}

/// A connection that ends with [`io::ErrorKind::TimedOut`] when the client sends too little at first, or stops reading, and with
/// [`io::ErrorKind::PermissionDenied`] when its certificate is revoked. A client that has proven nothing gives its place up when it is needed:
/// [`io::ErrorKind::ConnectionAborted`].
#[derive(Debug)]
pub struct Connection {
    stream: Wire,
    peer: Peer,
    credentials: Credentials,
    greeting: Option<Greeting>,
    write_stall: Duration,
    /// Runs while the client reads nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Resolves when the place of an unproven client is needed.
    place_needed: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _place: Place,
}

/// Why a connection whose client has proven nothing ends.
pub(super) fn place_needed() -> io::Error {
    let why = "the port is full: connections without a certificate or token are closed first";
    io::Error::new(io::ErrorKind::ConnectionAborted, why)
}

/// The bytes still expected of the client, and the deadline.
#[derive(Debug)]
struct Greeting {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Connection {
    pub(super) fn new(
        stream: Wire,
        peer: Peer,
        credentials: Credentials,
        place: Place,
        deadlines: Deadlines,
    ) -> Self {
        let Deadlines { greeting, greeting_within, write_stall } = deadlines;
        let greeting = (greeting > 0)
            .then(|| Greeting { missing: greeting, deadline: Box::pin(sleep(greeting_within)) });
        let place_needed = place.proof().map(|proof| Box::pin(proof.ended().clone().cancelled_owned()));
        Self { stream, peer, credentials, greeting, write_stall, stalled: None, place_needed, _place: place }
    }

    /// Fails when the client has lost the right to its connection.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.peer.certificate.as_ref().is_some_and(|certificate| self.credentials.is_revoked(certificate))
        {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the certificate was revoked"));
        }
        if self.place_needed.as_mut().is_some_and(|needed| needed.as_mut().poll(cx).is_ready()) {
            self.place_needed = None;
            return Err(place_needed());
        }
        Ok(())
    }

    /// How the client connected.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Passes `written` on; fails when the client has read nothing for too long.
    fn poll_stall<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let wait = self.write_stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(wait)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some(greeting) = &mut self.greeting else { return read };
        if read.is_ready() {
            greeting.missing = greeting.missing.saturating_sub(buf.filled().len() - before);
            if greeting.missing == 0 {
                self.greeting = None;
            }
            return read;
        }
        ready!(greeting.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client sent no complete greeting")))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.poll_stall(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.poll_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.poll_stall(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.poll_stall(cx, closed)
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

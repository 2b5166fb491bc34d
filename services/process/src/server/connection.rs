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
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;

use super::wire::Wire;
use crate::credentials::{Credentials, Peer};

/// See [`super::Limits`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) greeting: usize,
    pub(crate) greeting_within: Duration,
    pub(crate) write_stall: Duration,
}

/// A connection that ends with [`io::ErrorKind::TimedOut`] when the client sends too little at first, or stops reading, and with
/// [`io::ErrorKind::PermissionDenied`] when its certificate is revoked.
#[derive(Debug)]
pub struct Connection {
    stream: Wire,
    peer: Peer,
    credentials: Credentials,
    greeting: Option<Greeting>,
    write_stall: Duration,
    /// Runs while the client reads nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
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
        place: OwnedSemaphorePermit,
        deadlines: Deadlines,
    ) -> Self {
        let Deadlines { greeting, greeting_within, write_stall } = deadlines;
        let greeting = (greeting > 0)
            .then(|| Greeting { missing: greeting, deadline: Box::pin(sleep(greeting_within)) });
        Self { stream, peer, credentials, greeting, write_stall, stalled: None, _place: place }
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
        if self.peer.certificate.as_ref().is_some_and(|certificate| self.credentials.is_revoked(certificate))
        {
            let revoked = io::Error::new(io::ErrorKind::PermissionDenied, "the certificate was revoked");
            return Poll::Ready(Err(revoked));
        }
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
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.poll_stall(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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

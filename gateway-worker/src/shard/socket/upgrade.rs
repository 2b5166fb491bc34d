//! The stream below a WebSocket, with a bound on the answer to the upgrade: tokio-websockets has none, and parses the
//! answer from its start with each read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes until the upgrade is answered.
const LARGEST_ANSWER: usize = 16 * 1024;

/// A stream whose reads are limited until [`Upgraded::lift`].
pub(super) struct Upgraded<S> {
    stream: S,
    /// Bytes that may still be read; `None` without a limit.
    left: Option<usize>,
}

impl<S> Upgraded<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, left: Some(LARGEST_ANSWER) }
    }

    /// Ends the limit: the upgrade was answered.
    pub(super) fn lift(&mut self) {
        self.left = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Upgraded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if let Some(left) = self.left {
            let read = buffer.filled().len() - before;
            let left = left.checked_sub(read).ok_or_else(|| {
                io::Error::other(format!("the answer to the upgrade is larger than {LARGEST_ANSWER} bytes"))
            })?;
            self.left = Some(left);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Upgraded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

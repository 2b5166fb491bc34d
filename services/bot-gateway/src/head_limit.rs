//! Bounds what a client may send before its WebSocket handshake is complete: the library reads a head of any size.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The largest head, in bytes.
const LARGEST_HEAD: usize = 16 * 1024;

/// The bytes that a client may still send.
#[derive(Clone, Debug)]
pub(crate) struct HeadLimit(Arc<AtomicUsize>);

impl Default for HeadLimit {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(LARGEST_HEAD)))
    }
}

impl HeadLimit {
    /// A stream that fails beyond the limit.
    pub(crate) fn over<S>(&self, stream: S) -> LimitedHead<S> {
        LimitedHead { stream, left: self.0.clone() }
    }

    /// The handshake is complete.
    pub(crate) fn lift(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }
}

/// See [`HeadLimit::over`].
#[derive(Debug)]
pub(crate) struct LimitedHead<S> {
    stream: S,
    left: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for LimitedHead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let left = self.left.load(Ordering::Relaxed);
        if left == usize::MAX {
            return Poll::Ready(Ok(()));
        }
        let Some(left) = left.checked_sub(buf.filled().len() - before) else {
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the request's head is too large",
            )));
        };
        self.left.store(left, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LimitedHead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn head_is_limited_until_the_handshake_is_complete() {
        let limit = HeadLimit::default();
        let text = vec![b'x'; LARGEST_HEAD + 1];
        let mut read = Vec::new();
        let error = limit.over(io::Cursor::new(&text)).read_to_end(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let limit = HeadLimit::default();
        let mut stream = limit.over(io::Cursor::new(&text));
        let mut head = [0; 100];
        stream.read_exact(&mut head).await.unwrap();
        limit.lift();
        assert_eq!(stream.read_to_end(&mut read).await.unwrap(), LARGEST_HEAD - 99);
    }
}

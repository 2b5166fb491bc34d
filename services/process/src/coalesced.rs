//! Joins the writes of an HTTP/2 connection into one packet. HTTP/2 writes a call as its head and then its body, and a long answer as head
//! and body and then its trailers. With TCP_NODELAY each write is a packet, and each packet wakes the peer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// The most bytes that are held back.
const MOST_WAITING: usize = 16 * 1024;
/// Capacity of the buffer that is kept while it is empty.
const KEPT: usize = 4 * 1024;

/// A connection that puts off the first flush after a write by one turn of the connection's task. By then, other ready tasks have written
/// too. Needs a protocol that flushes whenever its task is woken, as HTTP/2 does.
#[derive(Debug)]
pub(crate) struct Coalesced<S> {
    stream: S,
    /// Written bytes. Those from `sent` on are not sent yet.
    waiting: Vec<u8>,
    sent: usize,
    /// The flush was put off once.
    is_put_off: bool,
}

impl<S> Coalesced<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, waiting: Vec::new(), sent: 0, is_put_off: false }
    }

    #[cfg(test)]
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    /// Sends the waiting bytes.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.sent = 0;
        self.is_put_off = false;
        self.waiting.clear();
        self.waiting.shrink_to(KEPT);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if self.waiting.len() + bytes > MOST_WAITING {
            ready!(self.poll_send(cx))?;
        }
        if bytes > MOST_WAITING {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        }
        for part in parts {
            self.waiting.extend_from_slice(part);
        }
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() && !self.is_put_off {
            self.is_put_off = true;
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: Connected> Connected for Coalesced<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Accepts a few bytes at a time, and counts the writes.
    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        writes: usize,
        most: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes += 1;
            if self.writes.is_multiple_of(3) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let taken = bytes.len().min(self.most);
            self.taken.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn coalesced(most: usize) -> Coalesced<Slow> {
        Coalesced::new(Slow { most, ..Slow::default() })
    }

    #[test]
    fn writes_of_two_turns_are_joined() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut connection = coalesced(usize::MAX);
        for part in ["head", "body"] {
            assert!(Pin::new(&mut connection).poll_write(&mut cx, part.as_bytes()).is_ready());
            assert!(Pin::new(&mut connection).poll_flush(&mut cx).is_ready());
        }
        assert_eq!((connection.stream.writes, connection.stream.taken.as_slice()), (1, &b"headbody"[..]));
    }

    #[tokio::test]
    async fn every_byte_is_sent_in_order() {
        for most in [1, 7, 5_000, usize::MAX] {
            let mut connection = coalesced(most);
            let mut expected = Vec::new();
            for (number, length) in
                [1, 100, MOST_WAITING, 0, MOST_WAITING + 1, 9, 20_000, 3].into_iter().enumerate()
            {
                let part = vec![number as u8; length];
                connection.write_all(&part).await.unwrap();
                expected.extend(part);
                if number % 2 == 0 {
                    connection.flush().await.unwrap();
                }
                assert!(connection.waiting.len() <= MOST_WAITING);
            }
            connection.flush().await.unwrap();
            connection.flush().await.unwrap();
            assert!(connection.stream.taken == expected && connection.waiting.is_empty(), "{most}");
        }
    }

    #[tokio::test]
    async fn shutdown_sends_the_rest() {
        let mut connection = coalesced(2);
        connection.write_all(b"goodbye").await.unwrap();
        connection.shutdown().await.unwrap();
        assert_eq!(connection.stream.taken, b"goodbye");
    }

    #[tokio::test]
    async fn flush_that_is_put_off_wakes_its_task() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut connection = Coalesced::new(near);
        let task = tokio::spawn(async move {
            connection.write_all(b"word").await.unwrap();
            // Like a protocol: flushes each time the task is woken, and never ends.
            poll_fn(|cx| {
                let _ = Pin::new(&mut connection).poll_flush(cx);
                Poll::<()>::Pending
            })
            .await;
        });
        let mut word = [0; 4];
        far.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"word");
        task.abort();
    }
}

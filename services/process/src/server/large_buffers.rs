//! The memory of large messages in long answers.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Frames with more bytes have their buffer freed. tonic's first buffer is half as large.
const LARGE: usize = 16 * 1024;

/// The body of an answer, whose encoder lets go of each large buffer.
///
/// tonic encodes all messages of an answer into one buffer. It uses the buffer again as soon as the connection has sent what was in it, so an
/// answer would keep the memory of its largest message until it ends. An encoder can't use a buffer again while somebody else refers to it: this
/// body does, until the encoder has filled the buffer and begun another one.
#[derive(Debug, Default)]
pub(super) struct FreeLargeBuffers<B> {
    body: B,
    /// The last frame out of a large buffer.
    held: Option<Bytes>,
}

impl<B> FreeLargeBuffers<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, held: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for FreeLargeBuffers<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            let follows = |held: &Bytes| held.as_ptr_range().end == data.as_ptr();
            let is_large = data.len() > LARGE || self.held.as_ref().is_some_and(follows);
            self.held = is_large.then(|| data.clone());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use http_body_util::BodyExt as _;
    use tonic::{
        Status,
        codec::{Codec as _, EncodeBody},
    };
    use tonic_prost::ProstCodec;

    use super::*;

    /// Sends messages of these sizes as a server does, each frame dropped when it is sent; returns the size of the last frame's buffer.
    async fn last_buffer(sizes: &[usize], is_freed: bool) -> usize {
        let (sender, mut messages) = tokio::sync::mpsc::unbounded_channel();
        let messages = futures_util::stream::poll_fn(move |cx| messages.poll_recv(cx));
        let encoder = ProstCodec::<Vec<u8>, ()>::default().encoder();
        let body = EncodeBody::new_server(
            encoder,
            messages.map(Ok::<_, Status>),
            None,
            tonic::codec::SingleMessageCompressionOverride::Disable,
            None,
        );
        let plain = tonic::body::Body::new(body);
        let mut body = if is_freed { tonic::body::Body::new(FreeLargeBuffers::new(plain)) } else { plain };
        let mut last = Bytes::new();
        for size in sizes {
            drop(last);
            sender.send(vec![7_u8; *size]).unwrap();
            last = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(last.len() > *size);
        }
        drop(body);
        last.try_into_mut().expect("nothing else refers to it").capacity()
    }

    #[tokio::test]
    async fn memory_of_a_large_message_is_freed_by_the_next() {
        for large in [LARGE, 81_000, 3_000_000] {
            for sizes in [
                &[large, 10, 10][..],
                &[10, large, 10, 10],
                &[large, large, 10, 3_000, 10],
                &[10, 10, large, 10, 8_192, 10],
            ] {
                let kept = last_buffer(sizes, true).await;
                assert!(kept <= 2 * LARGE, "{sizes:?}: {kept} bytes");
            }
        }
        let kept = last_buffer(&[81_000, 10, 10], false).await;
        assert!(kept > 2 * LARGE, "tonic frees the buffer by itself: {kept} bytes");
    }
}

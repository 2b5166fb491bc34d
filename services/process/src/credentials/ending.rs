//! The answer to a call that a token admitted: it ends when the token is no longer in the access list.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// A body that ends early when its caller loses the right to it.
#[derive(Debug)]
pub struct Ending<B> {
    /// `None` once it has ended early.
    body: Option<B>,
    lost: Option<RightLost>,
}

/// Resolves when the caller of an open answer has lost the right to it.
pub(crate) struct RightLost {
    pub(super) lost: BoxFuture<'static, ()>,
    /// The last frame says why. HTTP/1 answers just end.
    pub(super) is_grpc: bool,
}

impl std::fmt::Debug for RightLost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RightLost").field("is_grpc", &self.is_grpc).finish_non_exhaustive()
    }
}

impl<B> Ending<B> {
    /// A body for a caller that keeps the right to it while its connection lasts.
    pub(super) fn never(body: B) -> Self {
        Self { body: Some(body), lost: None }
    }

    /// A body that ends when the right is lost.
    pub(crate) fn on(lost: RightLost, body: B) -> Self {
        Self { body: Some(body), lost: Some(lost) }
    }
}

impl<B: Default> Default for Ending<B> {
    fn default() -> Self {
        Self::never(B::default())
    }
}

impl<B: Body + Unpin> Body for Ending<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(right) = &mut self.lost
            && right.lost.poll_unpin(cx).is_ready()
        {
            let is_grpc = right.is_grpc;
            // The service sees the end of the stream.
            (self.lost, self.body) = (None, None);
            let mut trailers = HeaderMap::new();
            let status = Status::unauthenticated("the bearer token was removed from the access list");
            let said = is_grpc && status.add_header(&mut trailers).is_ok();
            return Poll::Ready(said.then(|| Ok(Frame::trailers(trailers))));
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.lost) {
            (Some(body), None) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

//! Bodies on their way through: small ones are kept, so that they can be sent again; others stream. Bounded in size, and in how long
//! nothing may come.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, timeout},
};

use crate::{
    class::BODY_START,
    upstream::{Body, BodyError},
};

/// The largest body that is kept.
const KEPT: u64 = 256 * 1024;
/// What all kept bodies take together, in KiB.
const ROOM: usize = 64 * 1024;
/// The largest body at all. Discord takes 25 MiB from most bots, and 100 MiB where a server is boosted
/// ([Discord](https://discord.com/developers/docs/reference#uploading-files)).
const LARGEST: u64 = 128 * 1024 * 1024;
/// How long nothing may come.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// Time limit for reading the start of an answer's body.
const START_WITHIN: Duration = Duration::from_secs(2);

/// Room for bodies that are kept.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ROOM))
}

/// What a caller sent.
pub(super) enum CallerBody {
    /// It can be sent as often as needed.
    Kept(Bytes, #[allow(dead_code, reason = "held for as long as the body is")] Option<OwnedSemaphorePermit>),
    /// It can be sent once.
    Streamed(Incoming),
    /// It was.
    Gone,
}

/// A body that is not taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum BodyRefused {
    TooLarge,
    Slow,
    Broken,
}

impl BodyRefused {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::TooLarge => "the body is larger than 128 MiB",
            Self::Slow => "the body did not come in time",
            Self::Broken => "the body ended early or has malformed chunks",
        }
    }

    /// Its name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "size",
            Self::Slow => "slow",
            Self::Broken => "broken",
        }
    }
}

impl CallerBody {
    /// Takes a body, and keeps it where it is small and there is room.
    pub(super) async fn of(body: Incoming, room: &Arc<Semaphore>) -> Result<Self, BodyRefused> {
        match body.size_hint().exact() {
            Some(0) => Ok(Self::Kept(Bytes::new(), None)),
            Some(size) if size > LARGEST => Err(BodyRefused::TooLarge),
            Some(size) if size <= KEPT => {
                // KEPT / 1024 fits.
                let Ok(room) = room.clone().try_acquire_many_owned((size / 1024) as u32 + 1) else {
                    return Ok(Self::Streamed(body));
                };
                let whole = timeout(SILENT_FOR, body.collect()).await.map_err(|_| BodyRefused::Slow)?;
                let whole = whole.map_err(|_| BodyRefused::Broken)?;
                Ok(Self::Kept(whole.to_bytes(), Some(room)))
            }
            _ => Ok(Self::Streamed(body)),
        }
    }

    /// It can be sent again.
    pub(super) const fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(..))
    }

    /// The body to send; `None` when it was sent and can't be again.
    pub(super) fn take(&mut self) -> Option<Outgoing> {
        let cut_off = CutOffReason::default();
        let body = match self {
            Self::Kept(bytes, _) => Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync(),
            Self::Streamed(_) => match std::mem::replace(self, Self::Gone) {
                Self::Streamed(body) => {
                    let noted = cut_off.clone();
                    let body = Limited::new(PacedBody::new(body), LARGEST as usize);
                    body.map_err(move |error| noted.note(error)).boxed_unsync()
                }
                _ => return None,
            },
            Self::Gone => return None,
        };
        Some(Outgoing { body, is_kept: self.is_kept(), cut_off })
    }
}

/// A body to send to Discord.
pub(super) struct Outgoing {
    pub(super) body: Body,
    /// Complete in memory.
    pub(super) is_kept: bool,
    /// Why reading it failed.
    pub(super) cut_off: CutOffReason,
}

/// Why the caller's body ended early, if it did. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct CutOffReason(Arc<OnceLock<BodyRefused>>);

impl CutOffReason {
    pub(super) fn why(&self) -> Option<BodyRefused> {
        self.0.get().copied()
    }

    fn note(&self, error: BodyError) -> BodyError {
        let why = if error.is::<LengthLimitError>() {
            BodyRefused::TooLarge
        } else if error.is::<BodyTimeout>() {
            BodyRefused::Slow
        } else {
            BodyRefused::Broken
        };
        // The first error is the cause.
        let _ = self.0.set(why);
        error
    }
}

/// Discord's body, on its way to the caller.
pub(super) fn paced(body: Incoming) -> Body {
    PacedBody::new(body).boxed_unsync()
}

/// Reads the start of Discord's body: at most [`BODY_START`] bytes, or what arrives in time. Returns it with the whole body.
pub(super) async fn peek(mut body: Incoming) -> (Bytes, Body) {
    let (mut start, mut error) = (BytesMut::new(), None);
    let reading = async {
        while start.len() < BODY_START {
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        start.extend_from_slice(&data);
                    }
                }
                Some(Err(broken)) => {
                    error = Some(broken.into());
                    return;
                }
                None => return,
            }
        }
    };
    let _ = timeout(START_WITHIN, reading).await;
    let start = start.freeze();
    let looked_at = start.slice(..start.len().min(BODY_START));
    (looked_at, PeekedBody { start: Some(start), error, rest: PacedBody::new(body) }.boxed_unsync())
}

/// A body whose start has been read.
struct PeekedBody {
    start: Option<Bytes>,
    /// The error that ended it early.
    error: Option<BodyError>,
    rest: PacedBody<Incoming>,
}

impl HttpBody for PeekedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(start) = self.start.take().filter(|start| !start.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        Pin::new(&mut self.rest).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.start.as_ref().is_none_or(Bytes::is_empty) && self.error.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (start, rest) = (self.start.as_ref().map_or(0, Bytes::len) as u64, self.rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(start));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(start));
        }
        hint
    }
}

/// Breaks off when nothing comes for long.
struct PacedBody<B> {
    body: B,
    silence: Pin<Box<Sleep>>,
}

impl<B> PacedBody<B> {
    fn new(body: B) -> Self {
        Self { body, silence: Box::pin(sleep(SILENT_FOR)) }
    }
}

/// Nothing came for so long.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {} s", SILENT_FOR.as_secs())]
struct BodyTimeout;

impl<B: HttpBody + Unpin> HttpBody for PacedBody<B>
where
    B::Error: Into<BodyError>,
    B::Data: Into<Bytes>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                self.silence.as_mut().reset(Instant::now() + SILENT_FOR);
                let frame = frame.map(|frame| match frame {
                    Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
                    Err(error) => Err(error.into()),
                });
                Poll::Ready(frame)
            }
            Poll::Pending => match self.silence.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(BodyTimeout.into()))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

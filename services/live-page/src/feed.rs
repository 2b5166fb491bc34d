//! Makes a frame of data each second while a page is open, and shares its bytes among all pages.
//!
//! A page that reads slowly skips frames: it gets the newest one in full. A page that reads nothing is disconnected by its connection
//! (`process::server::Limits`). So memory is bounded: one frame, and one being sent to each of [`MOST_PAGES`].

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{PageSource, document::Document, rates::Rates};

/// The most pages that are fed at once.
pub const MOST_PAGES: usize = 64;

/// The time between two frames.
const EVERY: Duration = Duration::from_secs(1);

/// The data of one second.
#[derive(Debug)]
struct Frame {
    sequence: u64,
    document: Document,
    /// What differs from the frame before.
    changes: Bytes,
    /// Everything; made when a page first needs it.
    full: OnceLock<Bytes>,
}

impl Frame {
    fn full(&self) -> Bytes {
        let make = || event("full", &self.document.full(self.sequence));
        self.full.get_or_init(make).clone()
    }
}

/// One server-sent event. The data is JSON and has no line breaks.
fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// What the feed keeps from second to second.
#[derive(Debug, Default)]
struct Maker {
    sequence: u64,
    rates: Rates,
    last: Option<Arc<Frame>>,
}

impl Maker {
    fn next(mut self, source: &dyn PageSource) -> (Self, Arc<Frame>) {
        let fleet = source.fleet();
        self.rates.observe(&fleet.shards);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_unix_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        let document = Document::new(&fleet, &self.rates, now_unix_ms);
        self.sequence += 1;
        let changes = match &self.last {
            Some(last) => event("changes", &document.changes(self.sequence, &last.document)),
            None => Bytes::new(),
        };
        let frame = Arc::new(Frame { sequence: self.sequence, document, changes, full: OnceLock::new() });
        self.last = Some(frame.clone());
        (self, frame)
    }
}

/// Feeds the open pages; clones share the frames.
#[derive(Clone)]
pub(crate) struct Feed {
    source: Arc<dyn PageSource>,
    frames: Arc<watch::Sender<Option<Arc<Frame>>>>,
    places: Arc<Semaphore>,
    opened: Arc<Notify>,
    stop: CancellationToken,
}

impl Feed {
    pub(crate) fn new(source: Arc<dyn PageSource>, stop: CancellationToken) -> Self {
        Self {
            source,
            frames: Arc::new(watch::Sender::new(None)),
            places: Arc::new(Semaphore::new(MOST_PAGES)),
            opened: Arc::default(),
            stop,
        }
    }

    /// Makes frames while pages are open, until it is stopped.
    pub(crate) async fn run(self) {
        let mut maker = Maker::default();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.opened.notified() => {}
            }
            let mut tick = interval(EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while self.frames.receiver_count() > 0 {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    _ = tick.tick() => {}
                }
                let (source, sequence) = (self.source.clone(), maker.sequence);
                // 25,000 shards take milliseconds, which the coordinator's tasks must not wait for.
                let making = tokio::task::spawn_blocking(move || maker.next(source.as_ref()));
                match making.await {
                    Ok((next, frame)) => {
                        maker = next;
                        self.frames.send_replace(Some(frame));
                    }
                    Err(error) => {
                        tracing::error!(%error, "live page frame failed");
                        maker = Maker { sequence, ..Maker::default() };
                    }
                }
            }
            // Nothing is kept without a page; the numbers go on.
            self.frames.send_replace(None);
            maker = Maker { sequence: maker.sequence, ..Maker::default() };
        }
    }

    /// Returns the events for one more page; `None` when [`MOST_PAGES`] are open.
    pub(crate) fn open(&self) -> Option<impl Stream<Item = Result<Bytes, Infallible>> + Send + use<>> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let mut frames = self.frames.subscribe();
        frames.mark_changed();
        self.opened.notify_one();
        let page = Page { frames, sent: 0, stop: self.stop.clone(), _place: place };
        Some(stream::unfold(page, Page::next))
    }
}

/// One open page.
struct Page {
    frames: watch::Receiver<Option<Arc<Frame>>>,
    /// The number of the frame that was sent last; 0 before the first.
    sent: u64,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Page {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.frames.changed() => changed.ok()?,
            }
            let Some(frame) = self.frames.borrow_and_update().clone() else { continue };
            if frame.sequence == self.sent {
                continue;
            }
            let follows = self.sent > 0 && frame.sequence == self.sent + 1 && !frame.changes.is_empty();
            let bytes = if follows { frame.changes.clone() } else { frame.full() };
            self.sent = frame.sequence;
            return Some((Ok(bytes), self));
        }
    }
}

#[cfg(test)]
mod tests;

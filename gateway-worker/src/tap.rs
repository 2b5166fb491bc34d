//! Taps: a sample of the events of this worker's shards, for operators who watch them.
//!
//! A shard offers each event that it takes. While no tap is open, that is one load of a number. An event that a tap wants is
//! shared with it, not copied; [`show`] makes the text that leaves the worker in the tap's own task, without tokens. Nothing
//! here ever waits: a tap that is read too slowly loses events, and counts them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use fleet_model::{ShardEvent, ShardSlot};
use tokio::sync::mpsc;

pub(crate) mod filter;
pub(crate) mod show;

pub(crate) use filter::TapFilter;

/// The most taps of a worker.
const MOST_TAPS: usize = 8;

/// The most events of a second that one tap shows.
pub(crate) const MOST_PER_SECOND: u32 = 1_000;

/// The most bytes of payloads that one tap reads in a second: the task that reads them shares its threads with the heartbeats.
const MOST_BYTES_PER_SECOND: usize = 2 * 1024 * 1024;

/// Events that wait in one tap.
const WAITING_EVENTS: usize = 256;

/// Bytes of the payloads that wait in one tap.
const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// The taps of a worker. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taps(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    open: AtomicUsize,
    taps: ArcSwap<Vec<Arc<Tap>>>,
    /// Held while the list changes.
    changing: Mutex<()>,
}

#[derive(Debug)]
struct Tap {
    filter: TapFilter,
    per_second: u32,
    events: mpsc::Sender<TappedEvent>,
    waiting_bytes: AtomicUsize,
    opened: Instant,
    rate: Mutex<Rate>,
    dropped: AtomicU64,
}

/// What was taken in the current second of a tap.
#[derive(Debug, Default)]
struct Rate {
    second: u64,
    events: u32,
    bytes: usize,
}

/// An event on its way to an operator.
#[derive(Debug)]
pub(crate) struct TappedEvent {
    pub(crate) shard: ShardSlot,
    /// With session and time.
    pub(crate) event: ShardEvent,
}

/// There are too many taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this worker has {MOST_TAPS} open taps, the maximum: end one of them")]
pub(crate) struct TooManyTaps;

impl Taps {
    /// Whether no tap is open: the usual case.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) == 0
    }

    /// Shares an event with the taps that want it. It lacks its session and time while it is not known whether a handler
    /// wants it.
    pub(crate) fn offer(&self, shard: ShardSlot, event: &ShardEvent, session: u64, received_at_unix_ms: u64) {
        if self.is_idle() {
            return;
        }
        for tap in self.0.taps.load().iter() {
            if tap.filter.wants(shard, event, session) {
                tap.take(shard, event, session, received_at_unix_ms);
            }
        }
    }

    /// Opens a tap, which shows at most this many events of a second.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn open(&self, filter: TapFilter, per_second: u32) -> Result<OpenTap, TooManyTaps> {
        let (sender, events) = mpsc::channel(WAITING_EVENTS);
        let tap = Arc::new(Tap {
            filter,
            per_second: per_second.clamp(1, MOST_PER_SECOND),
            events: sender,
            waiting_bytes: AtomicUsize::new(0),
            opened: Instant::now(),
            rate: Mutex::default(),
            dropped: AtomicU64::new(0),
        });
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taps = Vec::clone(&self.0.taps.load());
        if taps.len() >= MOST_TAPS {
            return Err(TooManyTaps);
        }
        taps.push(tap.clone());
        self.set(taps);
        Ok(OpenTap { taps: self.clone(), tap, events })
    }

    fn close(&self, tap: &Arc<Tap>) {
        let _changing = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taps = Vec::clone(&self.0.taps.load());
        taps.retain(|open| !Arc::ptr_eq(open, tap));
        self.set(taps);
    }

    fn set(&self, taps: Vec<Arc<Tap>>) {
        let open = taps.len();
        self.0.taps.store(Arc::new(taps));
        self.0.open.store(open, Ordering::Relaxed);
    }
}

impl Tap {
    fn take(&self, shard: ShardSlot, event: &ShardEvent, session: u64, received_at_unix_ms: u64) {
        let bytes = event.text.len();
        let fits = self.waiting_bytes.load(Ordering::Relaxed).saturating_add(bytes) <= WAITING_BYTES;
        if !fits || !self.is_within_rate(bytes) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut event = event.clone();
        event.position.session = session;
        event.received_at_unix_ms = received_at_unix_ms;
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.events.try_send(TappedEvent { shard, event }).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an event of this moment; false when the second is used up.
    fn is_within_rate(&self, bytes: usize) -> bool {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.takes(self.opened.elapsed(), bytes, self.per_second)
    }
}

impl Rate {
    /// Counts an event `since` the tap was opened, unless its second is used up. The first event of a second may be large.
    fn takes(&mut self, since: Duration, bytes: usize, per_second: u32) -> bool {
        if since.as_secs() > self.second {
            *self = Self { second: since.as_secs(), ..Self::default() };
        }
        let fits = self.events == 0 || self.bytes.saturating_add(bytes) <= MOST_BYTES_PER_SECOND;
        if !fits || self.events >= per_second {
            return false;
        }
        self.events += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }
}

/// An open tap. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct OpenTap {
    taps: Taps,
    tap: Arc<Tap>,
    events: mpsc::Receiver<TappedEvent>,
}

impl OpenTap {
    /// Waits for the next event.
    pub(crate) async fn next(&mut self) -> Option<TappedEvent> {
        let next = self.events.recv().await?;
        self.tap.waiting_bytes.fetch_sub(next.event.text.len(), Ordering::Relaxed);
        Some(next)
    }

    /// Returns how many events were dropped since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.tap.dropped.swap(0, Ordering::Relaxed)
    }
}

impl Drop for OpenTap {
    fn drop(&mut self) {
        self.taps.close(&self.tap);
    }
}

#[cfg(test)]
mod tests;

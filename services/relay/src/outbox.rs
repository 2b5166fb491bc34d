//! A shard's events on their way into the streams.
//!
//! Owns what the store has not taken yet, in order of positions, and the one task that sends it. It sends nothing before
//! [`Outbox::begin`]: what was pending on an owner before comes before what is new, whichever arrives first here.

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fleet_model::{Epoch, ShardEvent, ShardKey};
use tokio::{runtime, sync::Notify, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Position, RelayMetrics, RelayStatus, RelayStore};

mod queue;
mod sender;
mod tail;

use queue::Queue;
use sender::Sender;

/// The shortest time between two batches of a shard, unless a batch is full. A batch costs as much as ten events. Batches that are sent together
/// share their writes and reads, so all shards send at the same moments. After a longer pause an event is sent at once.
const INTERVAL: Duration = Duration::from_millis(5);

/// Returns the time until all shards send their next batches.
fn until_next_interval() -> Duration {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let since = FIRST.elapsed().as_nanos() % INTERVAL.as_nanos();
    INTERVAL.saturating_sub(Duration::from_nanos(since as u64))
}

/// How much may wait. Zero counts as 1 in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Events.
    pub events: usize,
    /// Their size together, in bytes. A single larger one is let in alone.
    pub bytes: usize,
}

/// What an outbox is made of.
pub struct OutboxParts {
    /// Where the streams are.
    pub store: Arc<dyn RelayStore>,
    /// How much may wait.
    pub bounds: Bounds,
    /// Counts for all of them.
    pub metrics: RelayMetrics,
    /// Of all of them.
    pub status: RelayStatus,
    /// The shard.
    pub shard: ShardKey,
    /// The epoch under which it runs here.
    pub epoch: Epoch,
    /// Where the task runs.
    pub runtime: runtime::Handle,
}

/// See the module's documentation. Clones are the same; with the last the task ends where it is.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    stop: Arc<DropGuard>,
}

struct Shared {
    state: Mutex<State>,
    /// There may be something to send.
    wake: Notify,
    /// Something was taken by the store.
    taken: Notify,
    metrics: RelayMetrics,
    status: RelayStatus,
    shard: ShardKey,
}

struct State {
    queue: Queue,
    begun: bool,
    closed: bool,
    /// The task waits for a full batch.
    is_gathering: bool,
    /// Another worker relays the shard: nothing is kept here.
    outranked: bool,
    /// Up to here events were pending on a previous owner, which may have relayed them.
    restored_up_to: Option<Position>,
    /// The position that the store last reported.
    reached: Option<Position>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for [`Outbox::begin`].
    async fn begun(&self) {
        loop {
            let mut wake = std::pin::pin!(self.wake.notified());
            wake.as_mut().enable();
            if self.lock().begun {
                return;
            }
            wake.await;
        }
    }

    /// Waits for events, and returns the next batch without removing it. `since`: time since the previous batch was made.
    async fn next_batch(&self, since: Duration) -> Vec<Arc<ShardEvent>> {
        if since < INTERVAL {
            self.lock().is_gathering = true;
            // The result does not matter: the code below looks at the queue.
            let _ = tokio::time::timeout(until_next_interval(), self.woken_when(Queue::has_full_batch)).await;
            self.lock().is_gathering = false;
        }
        self.woken_when(|queue| !queue.is_empty()).await;
        self.lock().queue.batch()
    }

    async fn woken_when(&self, holds: impl Fn(&Queue) -> bool) {
        loop {
            let mut wake = std::pin::pin!(self.wake.notified());
            wake.as_mut().enable();
            if holds(&self.lock().queue) {
                return;
            }
            wake.await;
        }
    }

    /// The store has these.
    fn took(&self, positions: impl IntoIterator<Item = Position>) {
        let mut state = self.lock();
        let before = state.queue.len();
        for position in positions {
            state.queue.remove(position);
        }
        let fewer = before - state.queue.len();
        drop(state);
        self.metrics.waiting(-(fewer as i64));
        self.taken.notify_waiters();
    }

    /// The newer owner of the shard has these events too.
    fn outranked(&self) {
        self.lock().outranked = true;
        let positions: Vec<Position> = self.lock().queue.iter().map(|event| event.position).collect();
        self.took(positions);
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let mut taken = std::pin::pin!(self.taken.notified());
            taken.as_mut().enable();
            if holds(&self.lock()) {
                return;
            }
            taken.await;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let left = self.lock().queue.len();
        self.metrics.waiting(-(left as i64));
        self.status.works(self.shard);
    }
}

impl Outbox {
    /// An empty one, whose task waits for [`Outbox::begin`].
    pub fn start(parts: OutboxParts) -> Self {
        let state = State {
            queue: Queue::new(parts.bounds),
            begun: false,
            closed: false,
            is_gathering: false,
            outranked: false,
            restored_up_to: None,
            reached: None,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wake: Notify::new(),
            taken: Notify::new(),
            metrics: parts.metrics.clone(),
            status: parts.status.clone(),
            shard: parts.shard,
        });
        let stop = CancellationToken::new();
        let runtime = parts.runtime.clone();
        let sending = Sender::new(parts, shared.clone()).run();
        let stopped = stop.clone();
        runtime.spawn(async move { stopped.run_until_cancelled(sending).await });
        Self { shared, stop: Arc::new(stop.drop_guard()) }
    }

    /// Everything that was pending before is here: from now on it is sent.
    pub fn begin(&self) {
        let mut state = self.shared.lock();
        if !state.begun {
            state.begun = true;
            state.restored_up_to = state.queue.last();
        }
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Adds an event, room or not. Nothing happens when it is closed: what comes then is not received.
    pub fn push(&self, event: impl Into<Arc<ShardEvent>>) {
        let mut state = self.shared.lock();
        if state.closed || state.outranked || !state.queue.push(event.into()) {
            return;
        }
        let wakes = !state.is_gathering || state.queue.has_full_batch();
        drop(state);
        self.shared.metrics.waiting(1);
        if wakes {
            self.shared.wake.notify_one();
        }
    }

    /// The position that the store has reached, once known: the next session's positions must be above it.
    pub fn reached(&self) -> Option<Position> {
        self.shared.lock().reached
    }

    /// There is room for an event of `bytes` bytes.
    pub fn has_room(&self, bytes: usize) -> bool {
        let state = self.shared.lock();
        !state.closed && state.queue.has_room(bytes)
    }

    /// How full it would be with one more event of `bytes` bytes; above 1.0 there is no room for it.
    pub fn fill_with(&self, bytes: usize) -> f64 {
        self.shared.lock().queue.fill_with(bytes)
    }

    /// It is at most half full.
    pub fn at_most_half(&self) -> bool {
        self.shared.lock().queue.at_most_half()
    }

    /// Waits until it is at most half full.
    pub async fn drained_to_half(&self) {
        self.shared.until(|state| state.queue.at_most_half()).await;
    }

    /// Shows what the store has not taken, in order. `with` runs under the lock: it should copy and return.
    pub fn pending<R>(&self, with: impl FnOnce(&mut dyn Iterator<Item = &ShardEvent>) -> R) -> R {
        with(&mut self.shared.lock().queue.iter().map(|event| &**event))
    }

    /// Takes nothing more, and sends what it has, for so long at most. What the store has not taken by then, for all that is known.
    pub async fn close(&self, patience: Duration) -> Vec<Arc<ShardEvent>> {
        let begun = {
            let mut state = self.shared.lock();
            state.closed = true;
            state.begun
        };
        if begun {
            // Late or not, the queue says what is left.
            let _ = tokio::time::timeout(patience, self.shared.until(|state| state.queue.is_empty())).await;
        }
        self.abandon();
        self.shared.lock().queue.iter().cloned().collect()
    }

    /// Sends nothing more.
    pub fn abandon(&self) {
        self.shared.lock().closed = true;
        // The guard is shared by the clones: its token ends them all.
        self.stop.token().cancel();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("waiting", &self.shared.lock().queue.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! The streams of one process: for `altergolden dev` and for tests.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use fleet_model::{Epoch, ShardKey, ShardSlot};
use tokio::{sync::Notify, time::Instant};

use crate::{
    Appended, Entry, EntryId, EventNames, NewEntry, Page, Position, RelayError, RelayStore, store::Caps,
};

/// Entries of one page.
const PAGE: usize = 128;

/// Streams in this process's memory: one queue holds the entries of all, so the caps are for all together. Clones are the same.
#[derive(Clone, Debug)]
pub struct MemoryRelay {
    caps: Caps,
    state: Arc<Mutex<State>>,
    grown: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    generation: u64,
    bytes: u64,
    last: EntryId,
    /// The last entry that was cut.
    cut: Option<EntryId>,
    fences: HashMap<ShardKey, Fence>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fence {
    epoch: Epoch,
    reached: Option<Position>,
}

impl MemoryRelay {
    /// Empty streams.
    pub fn new(caps: Caps) -> Self {
        // Entries of an earlier process had the same numbers.
        let state = State { generation: now_ms(), ..State::default() };
        Self { caps, state: Arc::new(Mutex::new(state)), grown: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, shard: ShardKey, entry: &NewEntry) {
        let now = now_ms();
        self.last = EntryId { ms: self.last.ms.max(now), number: self.last.number + 1 };
        self.bytes += entry.data.len() as u64;
        self.entries.push_back(Entry { id: self.last, shard: shard.slot(), content: entry.clone() });
    }

    fn trim(&mut self, caps: &Caps) -> u64 {
        let oldest = now_ms().saturating_sub(caps.age.as_millis() as u64);
        let mut cut = 0;
        while let Some(first) = self.entries.front()
            && (self.entries.len() as u64 > caps.length || self.bytes > caps.bytes || first.id.ms < oldest)
        {
            self.bytes -= first.content.data.len() as u64;
            self.cut = Some(first.id);
            self.entries.pop_front();
            cut += 1;
        }
        cut
    }

    fn page(&self, names: &EventNames, after: EntryId) -> Page {
        if self.last < after {
            let generation = self.generation;
            return Page { next: self.last, cut: true, generation, entries: Vec::new() };
        }
        let from = self.entries.partition_point(|entry| entry.id <= after);
        let wanted = self.entries.range(from..).filter(|entry| names.has(&entry.content.name));
        let entries: Vec<Entry> = wanted.take(PAGE).cloned().collect();
        let next = if entries.len() < PAGE { self.last.max(after) } else { entries[PAGE - 1].id };
        let cut = self.cut.is_some_and(|cut| after < cut);
        Page { entries, next, cut, generation: self.generation }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[async_trait]
impl RelayStore for MemoryRelay {
    async fn append(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        believed: Option<Position>,
        entries: &[NewEntry],
    ) -> Result<Appended, RelayError> {
        let mut state = self.lock();
        let fence = state.fences.entry(shard).or_default();
        if fence.epoch > epoch {
            return Ok(Appended::Outranked(fence.epoch));
        }
        fence.epoch = epoch;
        let mut reached = fence.reached;
        if believed > reached {
            // Numbers that were given out may be given to other entries.
            state.generation += 1;
            return Ok(Appended::Lost { reached });
        }
        let mut appended = 0;
        for entry in entries {
            if Some(entry.position) > reached {
                state.push(shard, entry);
                reached = Some(entry.position);
                appended += 1;
            }
        }
        state.fences.insert(shard, Fence { epoch, reached });
        let cut = state.trim(&self.caps);
        drop(state);
        self.grown.notify_waiters();
        Ok(Appended::Done { reached, appended, cut })
    }

    async fn rewind(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        seen: Position,
        to: Position,
    ) -> Result<Appended, RelayError> {
        let mut state = self.lock();
        let fence = state.fences.entry(shard).or_default();
        if fence.epoch > epoch {
            return Ok(Appended::Outranked(fence.epoch));
        }
        fence.epoch = epoch;
        if fence.reached == Some(seen) {
            fence.reached = Some(to);
        }
        Ok(Appended::Done { reached: fence.reached, appended: 0, cut: 0 })
    }

    fn reader(&self) -> Arc<dyn RelayStore> {
        Arc::new(self.clone())
    }

    async fn newest(&self) -> Result<EntryId, RelayError> {
        Ok(self.lock().last)
    }

    async fn generation(&self) -> Result<u64, RelayError> {
        Ok(self.lock().generation)
    }

    async fn reached(&self, shards: &[ShardSlot]) -> Result<Vec<Option<Position>>, RelayError> {
        let state = self.lock();
        let of = |slot: &ShardSlot| {
            state.fences.iter().find(|(shard, _)| shard.slot() == *slot).and_then(|(_, fence)| fence.reached)
        };
        Ok(shards.iter().map(of).collect())
    }

    async fn locate(&self, number: u64) -> Result<EntryId, RelayError> {
        let state = self.lock();
        let behind = state.entries.partition_point(|entry| entry.id.number <= number);
        Ok(behind.checked_sub(1).map_or(EntryId::default(), |last| state.entries[last].id))
    }

    async fn read(&self, names: &EventNames, after: EntryId, wait: Duration) -> Result<Page, RelayError> {
        let until = Instant::now() + wait;
        loop {
            let mut grown = std::pin::pin!(self.grown.notified());
            grown.as_mut().enable();
            let page = self.lock().page(names, after);
            if !page.entries.is_empty() || page.cut || tokio::time::timeout_at(until, grown).await.is_err() {
                return Ok(page);
            }
        }
    }
}

//! Lines about many shards joined into one: `shards assigned worker.id=a count=12 shards=0-11`.
//!
//! An INFO event of our own crates with the field `batch = true` is not written. Events from the same place in the code about the
//! same workers and of the same kind are collected for [`WINDOW`] and become one line. A program without this layer writes each
//! event.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use fleet_model::{ShardSlot, in_ranges};
use tracing::{callsite::Identifier, field::display};

/// How long events are collected.
pub(super) const WINDOW: Duration = Duration::from_millis(500);
/// The most batches at once. Events beyond them are written one by one.
const MOST: usize = 1_024;
/// The target of the joined lines.
pub(super) const TARGET: &str = "log_batches";

/// Batches that are being collected.
#[derive(Debug, Default)]
pub(super) struct Batches(HashMap<(Identifier, BatchGroup), Batch>);

/// What the events of a batch have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct BatchGroup {
    pub(super) worker: Option<String>,
    pub(super) to: Option<String>,
    pub(super) kind: Option<String>,
}

#[derive(Debug)]
struct Batch {
    began: Instant,
    message: String,
    shards: BTreeSet<ShardSlot>,
}

/// A collected batch: one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BatchLine {
    message: String,
    group: BatchGroup,
    shards: BTreeSet<ShardSlot>,
}

impl Batches {
    /// Adds an event; false when there is no room for another batch.
    pub(super) fn add(
        &mut self,
        place: Identifier,
        group: &BatchGroup,
        shard: ShardSlot,
        message: &str,
        now: Instant,
    ) -> bool {
        let key = (place, group.clone());
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            return false;
        }
        let new = || Batch { began: now, message: message.to_owned(), shards: BTreeSet::new() };
        self.0.entry(key).or_insert_with(new).shards.insert(shard);
        true
    }

    /// Removes batches that are at least a [`WINDOW`] old, and returns them, oldest first.
    pub(super) fn take_ended(&mut self, now: Instant) -> Vec<BatchLine> {
        let ended = self.0.extract_if(|_, batch| now.saturating_duration_since(batch.began) >= WINDOW);
        let mut ended: Vec<_> = ended.collect();
        ended.sort_by_key(|(_, batch)| batch.began);
        let line = |((_, group), Batch { message, shards, .. })| BatchLine { message, group, shards };
        ended.into_iter().map(line).collect()
    }
}

impl BatchLine {
    pub(super) fn write(self) {
        let Self { message, group: BatchGroup { worker, to, kind }, shards } = self;
        let (count, shards) = (shards.len(), in_ranges(shards));
        let [worker, to, kind] = [worker, to, kind].map(|text| text.map(display));
        tracing::info!(target: TARGET, { worker.id = worker, to.id = to, kind, count, %shards }, "{message}");
    }
}

//! What the store has not taken: pure.

use std::{collections::BTreeMap, sync::Arc};

use fleet_model::ShardEvent;

use super::Bounds;
use crate::Position;

/// Events of one batch, and their bytes.
const BATCH: usize = 128;
const BATCH_BYTES: usize = 512 * 1024;

/// In order of positions, even when events come out of order.
#[derive(Debug)]
pub(super) struct Queue {
    bounds: Bounds,
    waiting: BTreeMap<Position, Arc<ShardEvent>>,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { events: bounds.events.max(1), bytes: bounds.bytes.max(1) };
        Self { bounds, waiting: BTreeMap::new(), bytes: 0 }
    }

    /// False when it is here already.
    pub(super) fn push(&mut self, event: Arc<ShardEvent>) -> bool {
        if self.waiting.contains_key(&event.position) {
            return false;
        }
        self.bytes += event.text.len();
        self.waiting.insert(event.position, event);
        true
    }

    pub(super) fn remove(&mut self, position: Position) {
        if let Some(event) = self.waiting.remove(&position) {
            self.bytes -= event.text.len();
        }
    }

    /// The first ones, as far as they are of one session.
    pub(super) fn batch(&self) -> Vec<Arc<ShardEvent>> {
        let mut bytes = 0;
        let mut session = None;
        let fits = |event: &&Arc<ShardEvent>| {
            let first = session.is_none();
            let same_session = *session.get_or_insert(event.position.session) == event.position.session;
            bytes += event.text.len();
            first || same_session && bytes <= BATCH_BYTES
        };
        self.waiting.values().take(BATCH).take_while(fits).cloned().collect()
    }

    /// Whether the next batch has reached its largest size.
    pub(super) fn has_full_batch(&self) -> bool {
        self.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ShardEvent>> {
        self.waiting.values()
    }

    /// The last position.
    pub(super) fn last(&self) -> Option<Position> {
        self.waiting.last_key_value().map(|(position, _)| *position)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.is_empty()
            || self.len() < self.bounds.events && self.bytes.saturating_add(bytes) <= self.bounds.bytes
    }

    pub(super) fn fill_with(&self, bytes: usize) -> f64 {
        let bytes =
            if self.is_empty() { bytes.min(self.bounds.bytes) } else { self.bytes.saturating_add(bytes) };
        let events = (self.len() + 1) as f64 / self.bounds.events as f64;
        events.max(bytes as f64 / self.bounds.bytes as f64)
    }

    pub(super) fn at_most_half(&self) -> bool {
        self.len() <= self.bounds.events / 2 && self.bytes <= self.bounds.bytes / 2
    }
}

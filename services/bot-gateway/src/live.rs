//! An entry of the relay as clients get it. What all clients need of it is made once.

use std::sync::OnceLock;

use fleet_model::{Position, ShardSlot};
use relay::{Entry, EntryId};
use serde_json::Value;

/// An entry.
pub(crate) struct LiveEvent {
    pub(crate) id: EntryId,
    /// The generation of its number.
    pub(crate) generation: u64,
    pub(crate) shard: ShardSlot,
    pub(crate) position: Position,
    pub(crate) name: std::sync::Arc<str>,
    pub(crate) guild: Option<u64>,
    entry: Entry,
    data: OnceLock<Option<Box<str>>>,
    value: OnceLock<Option<Value>>,
}

impl LiveEvent {
    pub(crate) fn new(entry: Entry, generation: u64) -> Self {
        Self {
            id: entry.id,
            generation,
            shard: entry.shard,
            position: entry.content.position,
            name: entry.content.name.clone(),
            guild: entry.content.guild,
            entry,
            data: OnceLock::new(),
            value: OnceLock::new(),
        }
    }

    /// The text of `d`; `None` when somebody else wrote the entry.
    pub(crate) fn data(&self) -> Option<&str> {
        self.data.get_or_init(|| self.entry.content.data_text().ok().map(Into::into)).as_deref()
    }

    /// `d` as a value.
    pub(crate) fn value(&self) -> Option<&Value> {
        self.value.get_or_init(|| serde_json::from_str(self.data()?).ok()).as_ref()
    }

    /// Approximate bytes in memory.
    pub(crate) fn size(&self) -> usize {
        // The text is about as large as the entry's data, and few events are made values.
        2 * self.entry.content.data.len() + 256
    }
}

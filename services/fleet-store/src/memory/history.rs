//! The history in memory. `redis/scripts/append_history.lua` says the same in Lua.

use std::{
    collections::VecDeque,
    sync::PoisonError,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use fleet_model::Incarnation;

use super::FleetMemoryStore;
use crate::{
    FleetStoreError, HISTORY_BYTES, HISTORY_ENTRIES, HistoryId, HistoryStore, HistoryText, StoredHistory,
    history::LOOKED_BACK,
};

/// The entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<StoredHistory>,
    bytes: usize,
}

impl History {
    fn append(&mut self, writer: &Incarnation, repeated: bool, entries: &[HistoryText], ms: u64) {
        let is_theirs = |stored: &&StoredHistory| stored.writer == writer.as_str();
        let known = self.entries.iter().rev().take(LOOKED_BACK).find(is_theirs);
        let known = known.filter(|_| repeated).map(|stored| stored.entry.number);
        for entry in entries.iter().filter(|entry| known.is_none_or(|known| entry.number > known)) {
            let id = match self.entries.back().map(|last| last.id) {
                Some(last) if last.ms >= ms => HistoryId { sequence: last.sequence + 1, ..last },
                _ => HistoryId { ms, sequence: 0 },
            };
            self.bytes += entry.text.len();
            self.entries.push_back(StoredHistory { id, writer: writer.to_string(), entry: entry.clone() });
        }
        while self.entries.len() > HISTORY_ENTRIES || self.bytes > HISTORY_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.entry.text.len();
        }
    }

    fn read(&self, before: Option<HistoryId>, most: usize) -> Vec<StoredHistory> {
        let newest = self.entries.iter().rev();
        let older = newest.skip_while(|stored| before.is_some_and(|before| stored.id >= before));
        older.take(most).cloned().collect()
    }
}

#[async_trait]
impl HistoryStore for FleetMemoryStore {
    async fn append_history(
        &self,
        writer: &Incarnation,
        repeated: bool,
        entries: &[HistoryText],
    ) -> Result<(), FleetStoreError> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.append(writer, repeated, entries, since_epoch.as_millis() as u64);
        Ok(())
    }

    async fn read_history(
        &self,
        before: Option<HistoryId>,
        most: usize,
    ) -> Result<Vec<StoredHistory>, FleetStoreError> {
        Ok(self.history.lock().unwrap_or_else(PoisonError::into_inner).read(before, most))
    }
}

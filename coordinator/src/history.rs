//! The history of the fleet in this coordinator: takes entries from anywhere, writes them to the store beside the driver, and
//! answers questions about it.
//!
//! Recording never waits. One task writes what [`HistoryLog`] has ready. While the store is away entries wait there, up to its
//! bounds; questions are then answered from memory, and say so. Several coordinators may write: entries carry their term.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleet_model::{HistoryEntry, HistoryFilter, Incarnation};
use fleet_store::{FleetStore, FleetStoreError, HistoryId, HistoryText, StoredHistory};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, metrics::CoordinatorMetrics};
use fleet::{Now, history::HistoryLog};

/// The most entries of one write.
const WRITTEN_AT_ONCE: usize = 256;

/// The longest wait before a write that failed is repeated. The first one is a second.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Entries that are read at once.
const PAGE: usize = 500;

/// Pages that one question reads at most; its answer says where older entries go on.
const PAGES: usize = 4;

/// The longest text that is read as an entry.
const LONGEST_TEXT: usize = 64 * 1024;

/// See the module's documentation. Clones share the entries.
#[derive(Clone)]
pub(crate) struct History {
    shared: Arc<Shared>,
}

struct Shared {
    log: Mutex<HistoryLog>,
    /// An entry was recorded.
    recorded: Notify,
    store: Arc<dyn FleetStore>,
    writer: Incarnation,
    clock: Clock,
    metrics: CoordinatorMetrics,
}

/// A question about the history.
#[derive(Debug)]
pub(crate) struct HistoryQuestion {
    pub(crate) filter: HistoryFilter,
    /// Only entries older than this one.
    pub(crate) before: Option<HistoryId>,
    /// The most entries of the answer.
    pub(crate) limit: usize,
    pub(crate) deadline: Duration,
}

/// The answer, newest entries first.
#[derive(Debug, Default)]
pub(crate) struct HistoryAnswer {
    pub(crate) entries: Vec<HistoryEntry>,
    /// Where older entries go on; `None` at the end.
    pub(crate) next: Option<HistoryId>,
    /// Why entries are missing, if some are.
    pub(crate) missing: Option<String>,
    /// When the oldest entry happened, once the end is reached.
    pub(crate) begins_unix_ms: Option<u64>,
}

impl History {
    pub(crate) fn new(
        store: Arc<dyn FleetStore>,
        writer: Incarnation,
        clock: Clock,
        metrics: CoordinatorMetrics,
    ) -> Self {
        let (log, recorded) = (Mutex::default(), Notify::new());
        Self { shared: Arc::new(Shared { log, recorded, store, writer, clock, metrics }) }
    }

    /// Returns this moment on both clocks.
    pub(crate) fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.shared.clock.now(), unix_ms: unix.as_millis() as u64 }
    }

    /// Adds an entry. One that finds no room is dropped and counted.
    pub(crate) fn record(&self, entry: HistoryEntry) {
        let mut log = self.log();
        let lost = log.lost_count();
        log.add(entry, self.now());
        self.shared.metrics.count_history_lost(log.lost_count() - lost);
        self.shared.metrics.set_history_unwritten(log.unwritten_count());
        drop(log);
        self.shared.recorded.notify_one();
    }

    fn log(&self) -> MutexGuard<'_, HistoryLog> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes entries until `ended`, then tries once to write all that are left.
    pub(crate) async fn write(self, ended: CancellationToken) {
        let mut repeated = false;
        let mut wait = Duration::from_secs(1);
        loop {
            let due = self.log().next_close();
            let closes = async {
                match due {
                    Some(due) => sleep(due.saturating_sub(self.shared.clock.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ended.cancelled() => break,
                () = self.shared.recorded.notified() => continue,
                () = closes => {}
            }
            while let Err(error) = self.write_closed(false, repeated).await {
                if !repeated {
                    tracing::warn!(%error, "cannot write the history to the store; entries wait");
                }
                repeated = true;
                tokio::select! {
                    () = ended.cancelled() => break,
                    () = sleep(wait) => {}
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            if ended.is_cancelled() {
                break;
            }
            if std::mem::take(&mut repeated) {
                tracing::info!("the history is written to the store again");
                wait = Duration::from_secs(1);
            }
        }
        if let Err(error) = self.write_closed(true, repeated).await {
            let entries = self.log().unwritten_count();
            tracing::warn!(%error, entries, "entries of the history were not written");
        }
    }

    /// Writes the entries that are closed, or all of them.
    async fn write_closed(&self, all: bool, mut repeated: bool) -> Result<(), FleetStoreError> {
        loop {
            let entries = {
                let mut log = self.log();
                log.close(all, self.now());
                self.shared.metrics.set_history_unwritten(log.unwritten_count());
                log.to_write(WRITTEN_AT_ONCE)
            };
            if entries.is_empty() {
                return Ok(());
            }
            let text = |entry: &HistoryEntry| {
                serde_json::to_string(entry).expect("names, numbers and texts are always JSON")
            };
            let texts: Vec<HistoryText> = entries
                .iter()
                .map(|numbered| HistoryText { number: numbered.number, text: text(&numbered.entry) })
                .collect();
            self.shared.store.append_history(&self.shared.writer, repeated, &texts).await?;
            // What comes next was never sent.
            repeated = false;
            let mut log = self.log();
            log.mark_written(entries.len());
            self.shared.metrics.count_history_written(entries.len() as u64);
            self.shared.metrics.set_history_unwritten(log.unwritten_count());
        }
    }

    /// Answers a question, by its deadline.
    pub(crate) async fn answer(&self, question: &HistoryQuestion) -> HistoryAnswer {
        let by = Instant::now() + question.deadline;
        let mut answer = HistoryAnswer::default();
        let mut place = question.before;
        let mut from_memory = BTreeSet::new();
        let (mut unreadable, mut oldest) = (0_u64, None);
        for page in 0..PAGES {
            let reading = timeout_at(by, self.shared.store.read_history(place, PAGE)).await;
            let late = |_| Err(FleetStoreError::Away("no answer by the deadline".to_owned()));
            let stored = match reading.unwrap_or_else(late) {
                Ok(stored) => stored,
                Err(error) => {
                    let is_first = page == 0 && question.before.is_none();
                    if is_first {
                        self.add_from_memory(None, question, &mut answer);
                    }
                    let memory = if is_first {
                        "; these are the entries that this coordinator has in memory"
                    } else {
                        ""
                    };
                    answer.missing = Some(format!("{error}{memory}"));
                    return answer;
                }
            };
            if page == 0 && question.before.is_none() {
                // After the page was read: an entry that is written in between is in memory still.
                let known =
                    stored.iter().find(|stored| self.is_ours(stored)).map(|stored| stored.entry.number);
                from_memory = self.add_from_memory(Some(known.unwrap_or(0)), question, &mut answer);
            }
            for StoredHistory { id, writer, entry } in &stored {
                place = Some(*id);
                if writer == self.shared.writer.as_str() && from_memory.contains(&entry.number) {
                    continue;
                }
                let Some(entry) = read_entry(&entry.text) else {
                    unreadable += 1;
                    continue;
                };
                oldest = Some(entry.at_unix_ms);
                if question.filter.matches(&entry) {
                    answer.entries.push(entry);
                }
                if answer.entries.len() >= question.limit {
                    answer.next = place;
                    return answer.with_unreadable(unreadable);
                }
            }
            if stored.len() < PAGE {
                let oldest = oldest.or_else(|| answer.entries.iter().map(|entry| entry.at_unix_ms).min());
                answer.begins_unix_ms = oldest;
                return answer.with_unreadable(unreadable);
            }
            if Instant::now() >= by {
                break;
            }
        }
        answer.next = place;
        answer.with_unreadable(unreadable)
    }

    fn is_ours(&self, stored: &StoredHistory) -> bool {
        stored.writer == self.shared.writer.as_str()
    }

    /// Adds the entries that are not in the store: open ones, and those with numbers above `known`, or all that are in memory.
    /// Returns their numbers.
    fn add_from_memory(
        &self,
        known: Option<u64>,
        question: &HistoryQuestion,
        answer: &mut HistoryAnswer,
    ) -> BTreeSet<u64> {
        let log = self.log();
        let mut numbers = BTreeSet::new();
        let mut entries: Vec<HistoryEntry> = log.open().cloned().collect();
        for numbered in log.numbered().filter(|numbered| known.is_none_or(|known| numbered.number > known)) {
            numbers.insert(numbered.number);
            entries.push(numbered.entry.clone());
        }
        drop(log);
        entries.retain(|entry| question.filter.matches(entry));
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.at_unix_ms));
        let beyond = entries.len().saturating_sub(question.limit);
        entries.truncate(question.limit);
        if beyond > 0 {
            let why = format!(
                "{beyond} entries that are not in the store yet are omitted: ask for a shorter range of time"
            );
            answer.missing = Some(why);
        }
        answer.entries.extend(entries);
        numbers
    }
}

impl HistoryAnswer {
    fn with_unreadable(mut self, unreadable: u64) -> Self {
        if unreadable > 0 {
            let why = format!("{unreadable} entries cannot be read: another version or program wrote them");
            self.missing.get_or_insert(why);
        }
        self
    }
}

fn read_entry(text: &str) -> Option<HistoryEntry> {
    if text.len() > LONGEST_TEXT {
        return None;
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests;

//! Whether the streams take what is sent, for a health report.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fleet_model::ShardKey;

/// What is wrong with the relay, if anything is. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct RelayStatus(Arc<Mutex<BTreeMap<ShardKey, String>>>);

impl RelayStatus {
    /// The problem, in words: the problem of the first shard that has one.
    pub fn problem(&self) -> Option<String> {
        self.lock().values().next().cloned()
    }

    /// Whether this is news.
    pub(crate) fn failed(&self, shard: ShardKey, why: &str) -> bool {
        let mut problems = self.lock();
        let is_news = problems.is_empty();
        problems.insert(shard, why.to_owned());
        is_news
    }

    /// The shard's events are taken, or it has none any more. Whether this is news.
    pub(crate) fn works(&self, shard: ShardKey) -> bool {
        let mut problems = self.lock();
        problems.remove(&shard).is_some() && problems.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ShardKey, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

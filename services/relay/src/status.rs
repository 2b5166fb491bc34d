//! Whether the streams take what is sent, for a health report.

use std::sync::{Arc, Mutex, PoisonError};

/// What is wrong with the relay, if anything is. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct RelayStatus(Arc<Mutex<Option<String>>>);

impl RelayStatus {
    /// The problem, in words.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this is news.
    pub(crate) fn failed(&self, why: &str) -> bool {
        let mut problem = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = problem.is_none();
        *problem = Some(why.to_owned());
        is_news
    }

    /// Whether this is news.
    pub(crate) fn works(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

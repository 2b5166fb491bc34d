//! Bounded lists of records, such as violations and IDENTIFYs.

use crate::report::Listed;
use std::collections::VecDeque;

/// Records kept.
const KEPT: usize = 10_000;

/// The newest records, and the number of dropped ones.
#[derive(Debug)]
pub(crate) struct RecentRecords<T> {
    items: VecDeque<T>,
    dropped: u64,
}

impl<T> Default for RecentRecords<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), dropped: 0 }
    }
}

impl<T: Clone> RecentRecords<T> {
    pub(crate) fn push(&mut self, item: T) {
        if self.items.len() == KEPT {
            self.items.pop_front();
            self.dropped += 1;
        }
        self.items.push_back(item);
    }

    pub(crate) fn listed(&self) -> Listed<T> {
        Listed { items: self.items.iter().cloned().collect(), dropped: self.dropped }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_records_are_dropped_and_counted() {
        let mut newest = RecentRecords::default();
        (0..KEPT + 5).for_each(|item| newest.push(item));
        let listed = newest.listed();
        assert_eq!((listed.items.len(), listed.dropped, listed.items[0]), (KEPT, 5, 5));
    }
}

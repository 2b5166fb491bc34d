//! Bounded records of what clients did wrong and when they identified.

use crate::report::Listed;
use std::collections::VecDeque;

/// Entries kept.
const KEPT: usize = 10_000;

/// The newest entries, and a count of those dropped.
#[derive(Debug)]
pub(crate) struct Newest<T> {
    items: VecDeque<T>,
    dropped: u64,
}

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), dropped: 0 }
    }
}

impl<T: Clone> Newest<T> {
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
    fn the_oldest_go_and_are_counted() {
        let mut newest = Newest::default();
        (0..KEPT + 5).for_each(|item| newest.push(item));
        let listed = newest.listed();
        assert_eq!((listed.items.len(), listed.dropped, listed.items[0]), (KEPT, 5, 5));
    }
}

//! A set of shards as ranges: what happens to many shards at once takes a few bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ShardSlot;

/// A set of shards, as ranges of slots in order. Touching ranges are one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotRanges(Vec<(ShardSlot, ShardSlot)>);

impl SlotRanges {
    /// Adds a shard. Returns false when it is there already.
    pub fn insert(&mut self, slot: impl Into<ShardSlot>) -> bool {
        let slot = slot.into();
        // The first range that ends at the shard before this one, or later.
        let at = self.0.partition_point(|(_, last)| last.0.saturating_add(1) < slot.0);
        match self.0.get_mut(at) {
            Some((first, last)) if *first <= slot && slot <= *last => return false,
            Some((_, last)) if last.0.checked_add(1) == Some(slot.0) => {
                *last = slot;
                if let Some(&(next, end)) = self.0.get(at + 1)
                    && slot.0.checked_add(1) == Some(next.0)
                {
                    self.0[at].1 = end;
                    self.0.remove(at + 1);
                }
            }
            Some((first, _)) if slot.0.checked_add(1) == Some(first.0) => *first = slot,
            _ => self.0.insert(at, (slot, slot)),
        }
        true
    }

    /// Adds all shards of another set.
    pub fn extend(&mut self, other: &Self) {
        for slot in other.slots() {
            self.insert(slot);
        }
    }

    /// Returns whether a shard is in it.
    pub fn contains(&self, slot: ShardSlot) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }

    /// Returns how many shards are in it.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| u64::from(last.0.saturating_sub(first.0)) + 1).sum()
    }

    /// Returns whether no shard is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges: first and last shard of each, in order.
    pub fn ranges(&self) -> &[(ShardSlot, ShardSlot)] {
        &self.0
    }

    /// The shards, in order.
    pub fn slots(&self) -> impl Iterator<Item = ShardSlot> {
        self.0.iter().flat_map(|(first, last)| first.0..=last.0).map(ShardSlot)
    }
}

impl<S: Into<ShardSlot>> FromIterator<S> for SlotRanges {
    fn from_iter<I: IntoIterator<Item = S>>(slots: I) -> Self {
        let mut ranges = Self::default();
        for slot in slots {
            ranges.insert(slot);
        }
        ranges
    }
}

/// `0-3, 7`.
impl fmt::Display for SlotRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn touching_ranges_are_one() {
        let ranges: SlotRanges = [7, 0, 2, 1, 9, 8].map(ShardSlot).into_iter().collect();
        assert_eq!((ranges.to_string(), ranges.len()), ("0-2, 7-9".to_owned(), 6));
        assert_eq!(ranges.ranges().len(), 2);
        let last: SlotRanges = [u32::MAX, u32::MAX - 1].map(ShardSlot).into_iter().collect();
        assert_eq!(last.ranges().len(), 1);
    }

    proptest! {
        #[test]
        fn ranges_are_the_same_set(slots in proptest::collection::vec(0_u32..40, 0..60)) {
            let mut ranges = SlotRanges::default();
            let mut set = BTreeSet::new();
            for slot in slots {
                prop_assert_eq!(ranges.insert(ShardSlot(slot)), set.insert(ShardSlot(slot)));
            }
            prop_assert_eq!(ranges.slots().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(ranges.len(), set.len() as u64);
            prop_assert!((0..45).map(ShardSlot).all(|slot| ranges.contains(slot) == set.contains(&slot)));
            let gaps = ranges.ranges().windows(2).all(|pair| pair[0].1.0 + 1 < pair[1].0.0);
            prop_assert!(gaps, "two ranges touch: {}", ranges);
        }
    }
}

//! Ranges and assignments.

use std::collections::BTreeMap;

use fleet_model::{Assignment, Epoch, ShardNumber, ShardRange};

use super::{MAX_SHARDS, Malformed};
use crate::v1;

impl From<ShardRange> for v1::ShardRange {
    fn from(range: ShardRange) -> Self {
        Self { first: range.first.0, last: range.last.0, epoch: range.epoch.0 }
    }
}

impl TryFrom<v1::ShardRange> for ShardRange {
    type Error = Malformed;

    fn try_from(range: v1::ShardRange) -> Result<Self, Malformed> {
        let v1::ShardRange { first, last, epoch } = range;
        if first > last || last >= MAX_SHARDS {
            return Err(Malformed::Range { first, last });
        }
        Ok(Self { first: ShardNumber(first), last: ShardNumber(last), epoch: Epoch(epoch) })
    }
}

/// Shards as ranges.
pub(super) fn pack(shards: &BTreeMap<ShardNumber, Epoch>) -> Vec<v1::ShardRange> {
    ShardRange::pack(shards).into_iter().map(Into::into).collect()
}

/// Ranges as shards; a shard named twice keeps the higher epoch.
pub(super) fn unpack(ranges: Vec<v1::ShardRange>) -> Result<BTreeMap<ShardNumber, Epoch>, Malformed> {
    let mut shards = BTreeMap::new();
    for range in ranges {
        for (shard, epoch) in ShardRange::try_from(range)?.unpack() {
            let known = shards.entry(shard).or_insert(epoch);
            *known = epoch.max(*known);
        }
    }
    Ok(shards)
}

impl From<&Assignment> for v1::Assignment {
    fn from(assignment: &Assignment) -> Self {
        Self {
            revision: assignment.revision,
            shards: pack(&assignment.shards),
            shard_total: assignment.shard_total,
        }
    }
}

impl TryFrom<v1::Assignment> for Assignment {
    type Error = Malformed;

    fn try_from(assignment: v1::Assignment) -> Result<Self, Malformed> {
        let v1::Assignment { revision, shard_total, shards } = assignment;
        let shards = unpack(shards)?;
        // A shard beyond the total is none that a gateway connection can be made for.
        match shards.last_key_value() {
            Some((&ShardNumber(last), _)) if last >= shard_total => {
                Err(Malformed::Beyond { last, shard_total })
            }
            _ => Ok(Self { revision, shard_total, shards }),
        }
    }
}

/// The running shards of a registration.
///
/// # Errors
/// [`Malformed::Range`] for a range that is none.
pub fn running_shards(request: &v1::RegisterRequest) -> Result<BTreeMap<ShardNumber, Epoch>, Malformed> {
    unpack(request.running.clone())
}

/// Shards as the ranges of a registration.
pub fn running_ranges(shards: &BTreeMap<ShardNumber, Epoch>) -> Vec<v1::ShardRange> {
    pack(shards)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn assignments_survive_the_wire(
            shards in prop::collection::btree_map(0u32..100, 1u64..4, 0..40),
            revision: u64,
        ) {
            let shards = shards.into_iter().map(|(s, e)| (ShardNumber(s), Epoch(e))).collect();
            let there = Assignment { revision, shard_total: 100, shards };
            let back = Assignment::try_from(v1::Assignment::from(&there)).unwrap();
            prop_assert_eq!(back, there);
        }
    }

    #[test]
    fn a_shard_beyond_the_total_is_refused() {
        let shards = vec![v1::ShardRange { first: 3, last: 4, epoch: 1 }];
        let assignment = v1::Assignment { revision: 1, shards, shard_total: 4 };
        let refused = Assignment::try_from(assignment);
        assert_eq!(refused, Err(Malformed::Beyond { last: 4, shard_total: 4 }));
    }

    #[test]
    fn a_lying_range_is_refused() {
        for (first, last) in [(3, 2), (0, u32::MAX), (0, MAX_SHARDS)] {
            let range = v1::ShardRange { first, last, epoch: 1 };
            assert_eq!(ShardRange::try_from(range), Err(Malformed::Range { first, last }));
        }
    }
}

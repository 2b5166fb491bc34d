//! Ranges and assignments.

use std::collections::BTreeMap;

use fleet_model::{Arriving, Assignment, Epoch, ShardRange, ShardSlot};

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
        Ok(Self { first: ShardSlot(first), last: ShardSlot(last), epoch: Epoch(epoch) })
    }
}

/// Shards as ranges.
pub(super) fn pack(shards: &BTreeMap<ShardSlot, Epoch>) -> Vec<v1::ShardRange> {
    ShardRange::pack(shards).into_iter().map(Into::into).collect()
}

/// Ranges as shards; a shard named twice keeps the higher epoch.
pub(super) fn unpack(ranges: Vec<v1::ShardRange>) -> Result<BTreeMap<ShardSlot, Epoch>, Malformed> {
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
            arriving: assignment.arriving.iter().map(arriving).collect(),
            handed_over: shard_epochs(assignment.handed_over.iter().map(|(shard, epoch)| (*shard, *epoch))),
            careful: assignment.careful.iter().map(|shard| shard.0).collect(),
            ran_before: assignment.ran_before.iter().map(|shard| shard.0).collect(),
            suspected: assignment.suspected.iter().map(|shard| shard.0).collect(),
            killed: shard_epochs(assignment.killed.iter().copied()),
            checkpoint_format: assignment.checkpoint_format.into(),
        }
    }
}

fn arriving((shard, arriving): (&ShardSlot, &Arriving)) -> v1::Arriving {
    v1::Arriving {
        shard_id: shard.0,
        epoch: arriving.epoch.0,
        worker_id: arriving.from.to_string(),
        url: arriving.url.clone(),
    }
}

/// Shards with their epochs, one by one.
pub(super) fn shard_epochs(shards: impl IntoIterator<Item = (ShardSlot, Epoch)>) -> Vec<v1::ShardEpoch> {
    shards.into_iter().map(|(shard, epoch)| v1::ShardEpoch { shard_id: shard.0, epoch: epoch.0 }).collect()
}

/// Shards with their epochs, one by one; a map keeps the last of two for one shard.
pub(super) fn epochs_of_shards<T: FromIterator<(ShardSlot, Epoch)>>(shards: Vec<v1::ShardEpoch>) -> T {
    shards.into_iter().map(|one| (ShardSlot(one.shard_id), Epoch(one.epoch))).collect()
}

impl TryFrom<v1::Assignment> for Assignment {
    type Error = Malformed;

    fn try_from(assignment: v1::Assignment) -> Result<Self, Malformed> {
        let v1::Assignment {
            revision,
            shard_total,
            shards,
            arriving,
            handed_over,
            careful,
            ran_before,
            suspected,
            killed,
            checkpoint_format,
        } = assignment;
        let shards = unpack(shards)?;
        let arriving = arriving.into_iter().map(|one| {
            let v1::Arriving { shard_id, epoch, worker_id, url } = one;
            Ok((ShardSlot(shard_id), Arriving { epoch: Epoch(epoch), from: worker_id.parse()?, url }))
        });
        let arriving: BTreeMap<_, _> = arriving.collect::<Result<_, Malformed>>()?;
        // A format number too large for `u16` is newer than any format known here: write the oldest, which every version reads.
        let checkpoint_format = u16::try_from(checkpoint_format).unwrap_or(1);
        // No gateway connection can be made for a shard beyond the total.
        match shards.last_key_value() {
            Some((&ShardSlot(last), _)) if last >= shard_total => {
                Err(Malformed::Beyond { last, shard_total })
            }
            _ => Ok(Self {
                revision,
                shard_total,
                shards,
                arriving,
                handed_over: epochs_of_shards(handed_over),
                careful: careful.into_iter().map(ShardSlot).collect(),
                ran_before: ran_before.into_iter().map(ShardSlot).collect(),
                suspected: suspected.into_iter().map(ShardSlot).collect(),
                killed: epochs_of_shards(killed),
                checkpoint_format,
            }),
        }
    }
}

/// The running shards of a registration.
///
/// # Errors
/// [`Malformed::Range`] for an invalid range.
pub fn running_shards(request: &v1::RegisterRequest) -> Result<BTreeMap<ShardSlot, Epoch>, Malformed> {
    unpack(request.running.clone())
}

/// Shards as the ranges of a registration.
pub fn running_ranges(shards: &BTreeMap<ShardSlot, Epoch>) -> Vec<v1::ShardRange> {
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
            arriving in prop::collection::btree_map(0u32..100, 1u64..4, 0..10),
            careful in prop::collection::btree_set(0u32..100, 0..10),
            ran_before in prop::collection::btree_set(0u32..100, 0..10),
            killed in prop::collection::btree_set((0u32..100, any::<u64>()), 0..10),
            revision: u64,
            checkpoint_format: u16,
        ) {
            let numbered = |all: BTreeMap<u32, u64>| all.into_iter().map(|(s, e)| (ShardSlot(s), Epoch(e)));
            let shards: BTreeMap<_, _> = numbered(shards).collect();
            let arriving = numbered(arriving).map(|(shard, epoch)| {
                (shard, Arriving { epoch, from: "w".parse().unwrap(), url: "http://w".to_owned() })
            });
            let there = Assignment {
                revision,
                shard_total: 100,
                arriving: arriving.collect(),
                handed_over: shards.clone(),
                shards,
                careful: careful.into_iter().map(ShardSlot).collect(),
                suspected: ran_before.iter().rev().copied().map(ShardSlot).collect(),
                ran_before: ran_before.into_iter().map(ShardSlot).collect(),
                killed: killed.into_iter().map(|(shard, epoch)| (ShardSlot(shard), Epoch(epoch))).collect(),
                checkpoint_format,
            };
            let back = Assignment::try_from(v1::Assignment::from(&there)).unwrap();
            prop_assert_eq!(back, there);
        }
    }

    #[test]
    fn a_shard_beyond_the_total_is_refused() {
        let shards = vec![v1::ShardRange { first: 3, last: 4, epoch: 1 }];
        let assignment = v1::Assignment { revision: 1, shards, shard_total: 4, ..v1::Assignment::default() };
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

//! The shards that one worker must run.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};

use crate::{CopyTicket, Epoch, HeadSigning, ShardKey, ShardSlot, WorkerId};

/// Consecutive shards under one epoch, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRange {
    /// The first shard.
    pub first: ShardSlot,
    /// The last shard.
    pub last: ShardSlot,
    /// Their epoch.
    pub epoch: Epoch,
}

/// The whole set of shards that one worker must run, never a change to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Grows with each change to this worker's set.
    pub revision: u64,
    /// How many shards the bot has.
    pub shard_total: u32,
    /// The shards with their epochs.
    pub shards: BTreeMap<ShardKey, Epoch>,
    /// Shards that are to be handed over to this worker, and are to be copied now.
    pub arriving: BTreeMap<ShardKey, Arriving>,
    /// Of `shards`, those that another worker copies now, because they are to be handed over to it.
    pub departing: BTreeMap<ShardKey, Departing>,
    /// Of `shards`, those that the owner before handed over, with its epoch: a copy of that epoch is good to go on from.
    pub handed_over: BTreeMap<ShardKey, Epoch>,
    /// Of `shards`, those whose owners died lately: what may be to blame is handled one at a time.
    pub careful: BTreeSet<ShardKey>,
    /// Of `shards`, those that another worker ran before, or may have: a missing checkpoint is then a gap.
    pub ran_before: BTreeSet<ShardKey>,
    /// Of `shards`, those whose previous owner died recently: handled as `careful`, for a few seconds at most.
    pub suspected: BTreeSet<ShardKey>,
    /// Of `shards`, previous owners that were killed from outside: the events in their handlers are not suspected.
    pub killed: BTreeSet<(ShardKey, Epoch)>,
    /// The format to write checkpoints in: the newest that every worker reads. 0: as before, and 1 at first.
    pub checkpoint_format: u16,
    /// How the heads of checkpoints are signed.
    pub head_signing: HeadSigning,
    /// W3C `traceparent` of each shard that this worker gives away, copies or starts, where that is traced. No decision depends on it.
    pub traces: BTreeMap<ShardKey, String>,
}

/// A shard that another worker runs and is to hand over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arriving {
    /// The epoch under which the other runs it.
    pub epoch: Epoch,
    /// The other worker.
    pub from: WorkerId,
    /// Where that one's gRPC server answers.
    pub url: String,
    /// What the other asks for before it gives the copy; `None` from an older coordinator.
    pub ticket: Option<CopyTicket>,
}

/// A shard that this worker runs and is to hand over to another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Departing {
    /// The epoch under which this worker runs it.
    pub epoch: Epoch,
    /// The other worker.
    pub to: WorkerId,
    /// What the other presents.
    pub ticket: Option<CopyTicket>,
}

impl ShardRange {
    /// Packs shards into as few ranges as their slots and epochs allow.
    pub fn pack<'a, S: Borrow<ShardSlot> + 'a>(
        shards: impl IntoIterator<Item = (&'a S, &'a Epoch)>,
    ) -> Vec<ShardRange> {
        let mut ranges: Vec<ShardRange> = Vec::new();
        for (shard, &epoch) in shards {
            let shard = *shard.borrow();
            match ranges.last_mut() {
                Some(range) if range.last.0.checked_add(1) == Some(shard.0) && range.epoch == epoch => {
                    range.last = shard;
                }
                _ => ranges.push(ShardRange { first: shard, last: shard, epoch }),
            }
        }
        ranges
    }

    /// The shards of the range, each with its epoch. A range that ends before it begins has none.
    pub fn unpack(self) -> impl Iterator<Item = (ShardSlot, Epoch)> {
        (self.first.0..=self.last.0).map(move |shard| (ShardSlot(shard), self.epoch))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packing_loses_nothing(shards in prop::collection::btree_map(0u32..40, 1u64..3, 0..30)) {
            let shards: BTreeMap<_, _> = shards.into_iter().map(|(s, e)| (ShardSlot(s), Epoch(e))).collect();
            let ranges = ShardRange::pack(&shards);
            let unpacked: BTreeMap<_, _> = ranges.iter().flat_map(|range| range.unpack()).collect();
            prop_assert_eq!(&unpacked, &shards);
            for pair in ranges.windows(2) {
                let touching = pair[0].last.0 + 1 == pair[1].first.0 && pair[0].epoch == pair[1].epoch;
                prop_assert!(!touching, "two ranges could be one");
            }
        }
    }
}

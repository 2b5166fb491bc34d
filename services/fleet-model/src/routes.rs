//! Who runs what: enough for any process to ask the right worker.

use std::collections::BTreeMap;

use crate::{Epoch, ShardKey, ShardSlot, Term, WorkerId};

/// One worker in the routing table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where its gRPC server answers.
    pub url: String,
    /// The shards that it runs.
    pub shards: BTreeMap<ShardKey, Epoch>,
    /// It is giving its shards away: nothing is given to it.
    pub draining: bool,
}

/// The owner of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The worker.
    pub worker: &'a WorkerId,
    /// Where it answers.
    pub url: &'a str,
    /// The epoch it runs the shard under.
    pub epoch: Epoch,
}

/// The routing table. Newer is decided by term first, then by revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Term of the coordinator that made it.
    pub term: Term,
    /// Grows with each change within the term.
    pub revision: u64,
    /// How many shards the bot has; 0 before that is settled.
    pub shard_total: u32,
    /// The live workers, in the order of their names.
    workers: Vec<(WorkerId, Route)>,
    /// For each slot: the owner's index in `workers`, and its epoch.
    owners: Vec<Option<(u32, Epoch)>>,
}

impl Routes {
    /// Creates the table of these live workers, with term 0 and revision 0.
    pub fn new(shard_total: u32, workers: BTreeMap<WorkerId, Route>) -> Self {
        let workers: Vec<_> = workers.into_iter().collect();
        let slots = workers.iter().filter_map(|(_, route)| route.shards.last_key_value());
        let slots = slots.map(|(shard, _)| shard.slot().0 as usize + 1).max().unwrap_or(0);
        let mut owners: Vec<Option<(u32, Epoch)>> = vec![None; slots];
        for (place, (_, route)) in (0_u32..).zip(&workers) {
            for (shard, epoch) in &route.shards {
                let owner = &mut owners[shard.slot().0 as usize];
                if owner.is_none_or(|(_, known)| known <= *epoch) {
                    *owner = Some((place, *epoch));
                }
            }
        }
        Self { shard_total, workers, owners, ..Self::default() }
    }

    /// Returns the live workers, in the order of their names.
    pub fn workers(&self) -> &[(WorkerId, Route)] {
        &self.workers
    }

    /// Returns the worker that runs a shard. If two workers claim the shard, the one with the higher epoch.
    pub fn owner(&self, shard: impl Into<ShardSlot>) -> Option<Owner<'_>> {
        let (place, epoch) = (*self.owners.get(shard.into().0 as usize)?)?;
        let (worker, route) = self.workers.get(place as usize)?;
        Some(Owner { worker, url: &route.url, epoch })
    }

    /// Whether this table is newer than another.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.term, self.revision) > (other.term, other.revision)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Finds the owner by a scan of all workers: the highest epoch, and of equal epochs the last name.
    fn scanned(workers: &BTreeMap<WorkerId, Route>, shard: ShardSlot) -> Option<(&WorkerId, &str, Epoch)> {
        workers
            .iter()
            .filter_map(|(worker, route)| Some((worker, route.url.as_str(), *route.shards.get(&shard)?)))
            .max_by_key(|(_, _, epoch)| *epoch)
    }

    proptest! {
        #[test]
        fn owner_equals_a_scan_of_all_workers(
            total in 1_u32..12,
            claims in prop::collection::btree_map(0_u8..6, prop::collection::btree_map(0_u32..12, 0_u64..4, 0..8), 0..6),
        ) {
            let route = |(number, epochs): (u8, BTreeMap<u32, u64>)| {
                let shards = epochs.into_iter().map(|(shard, epoch)| (ShardKey::new(shard % total, total), Epoch(epoch)));
                let route = Route { url: format!("http://w{number}"), shards: shards.collect(), draining: false };
                (format!("w{number}").parse::<WorkerId>().unwrap(), route)
            };
            let workers: BTreeMap<WorkerId, Route> = claims.into_iter().map(route).collect();
            let routes = Routes::new(total, workers.clone());
            for slot in (0..total + 2).map(ShardSlot) {
                let owner = routes.owner(slot).map(|owner| (owner.worker, owner.url, owner.epoch));
                prop_assert_eq!(owner, scanned(&workers, slot));
            }
            prop_assert!(routes.workers().iter().map(|(worker, route)| (worker, route)).eq(&workers));
        }
    }
}

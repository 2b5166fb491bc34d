//! Who runs what: enough for any process to ask the right worker.

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;

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

/// How the routing table has changed, or all of it.
#[derive(Clone, Debug, Default)]
pub struct RoutesUpdate {
    /// Term of the coordinator that made the table.
    pub term: Term,
    /// The revision that this update continues; `None`: it is the whole table.
    pub continues: Option<u64>,
    /// The revision that it leads to.
    pub revision: u64,
    /// How many shards the bot has.
    pub shard_total: u32,
    /// Workers that are new or have changed.
    pub changed: BTreeMap<WorkerId, Route>,
    /// Workers that are gone.
    pub gone: Vec<WorkerId>,
    /// The update on the wire, which is the same for all workers: see [`RoutesUpdate::encoded`].
    pub encoded: OnceLock<Bytes>,
}

/// An update continues another revision than the one that is known: at least one update is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an update of the routing table is missing")]
pub struct MissedUpdate;

/// The encoded form follows from the rest.
impl PartialEq for RoutesUpdate {
    fn eq(&self, other: &Self) -> bool {
        let content = |update: &Self| (update.term, update.continues, update.revision, update.shard_total);
        content(self) == content(other) && self.changed == other.changed && self.gone == other.gone
    }
}

impl Eq for RoutesUpdate {}

impl RoutesUpdate {
    /// Returns the update on the wire, encoded by the first caller.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(self)).clone()
    }
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

    /// Returns the update from an earlier table to this one: the whole table if that one is of another term or shard total. Shards of
    /// different totals compare as equal.
    pub fn update_since(&self, before: &Self) -> RoutesUpdate {
        if (self.term, self.shard_total) != (before.term, before.shard_total) {
            return self.whole();
        }
        let known: BTreeMap<&WorkerId, &Route> =
            before.workers.iter().map(|(name, route)| (name, route)).collect();
        let is_changed =
            |(name, route): &&(WorkerId, Route)| known.get(name).is_none_or(|known| *known != route);
        let is_gone = |(name, _): &&(WorkerId, Route)| {
            self.workers.binary_search_by(|(listed, _)| listed.cmp(name)).is_err()
        };
        RoutesUpdate {
            continues: Some(before.revision),
            changed: self.workers.iter().filter(is_changed).cloned().collect(),
            gone: before.workers.iter().filter(is_gone).map(|(name, _)| name.clone()).collect(),
            ..self.update()
        }
    }

    /// Returns this table as an update.
    pub fn whole(&self) -> RoutesUpdate {
        RoutesUpdate { changed: self.workers.iter().cloned().collect(), ..self.update() }
    }

    fn update(&self) -> RoutesUpdate {
        let Self { term, revision, shard_total, .. } = *self;
        RoutesUpdate { term, revision, shard_total, ..RoutesUpdate::default() }
    }

    /// Returns the table after an update; `None` if the update is not newer than this table.
    ///
    /// # Errors
    /// The update continues another table.
    pub fn updated(&self, update: RoutesUpdate) -> Result<Option<Self>, MissedUpdate> {
        if (update.term, update.revision) <= (self.term, self.revision) {
            return Ok(None);
        }
        let workers = match update.continues {
            None => update.changed,
            Some(revision) if (update.term, revision) == (self.term, self.revision) => {
                let mut workers: BTreeMap<_, _> = self.workers.iter().cloned().collect();
                for gone in &update.gone {
                    workers.remove(gone);
                }
                workers.extend(update.changed);
                workers
            }
            Some(_) => return Err(MissedUpdate),
        };
        let mut routes = Self::new(update.shard_total, workers);
        (routes.term, routes.revision) = (update.term, update.revision);
        Ok(Some(routes))
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

        #[test]
        fn updates_lead_to_the_table_that_they_were_made_for(
            tables in prop::collection::vec(
                prop::collection::btree_map(0_u8..6, prop::collection::btree_map(0_u32..12, 0_u64..4, 0..8), 0..6), 2..6),
            lost in prop::option::of(1_usize..5),
            next_term in 1_usize..8,
            next_total in 1_usize..8,
            repeated in prop::collection::vec(any::<bool>(), 6),
        ) {
            // Some tables have the claims of the one before.
            let mut tables = tables;
            for number in 1..tables.len() {
                if repeated[number] {
                    tables[number] = tables[number - 1].clone();
                }
            }
            let table = |(number, claims): (usize, &BTreeMap<u8, BTreeMap<u32, u64>>)| {
                let total = if number < next_total { 12 } else { 24 };
                let route = |(number, epochs): (&u8, &BTreeMap<u32, u64>)| {
                    let shards = epochs.iter().map(|(shard, epoch)| (ShardKey::new(*shard, total), Epoch(*epoch)));
                    let route = Route { url: format!("http://w{number}"), shards: shards.collect(), draining: false };
                    (format!("w{number}").parse().unwrap(), route)
                };
                let mut table = Routes::new(total, claims.iter().map(route).collect());
                table.term = Term(if number < next_term { 1 } else { 2 });
                table.revision = 7 + number as u64;
                table
            };
            let tables: Vec<Routes> = tables.iter().enumerate().map(table).collect();
            let mut known = tables[0].clone();
            for (number, pair) in tables.windows(2).enumerate() {
                let update = pair[1].update_since(&pair[0]);
                if lost == Some(number + 1) {
                    continue;
                }
                let continues = update.continues.is_none_or(|revision| revision == known.revision);
                if let Ok(next) = known.updated(update) {
                    prop_assert!(continues);
                    known = next.unwrap();
                } else {
                    prop_assert!(!continues);
                    known = known.updated(pair[1].whole()).unwrap().unwrap();
                }
                prop_assert_eq!(&known, &pair[1]);
                let keys = known.workers().iter().flat_map(|(_, route)| route.shards.keys());
                prop_assert!(keys.into_iter().all(|shard| shard.total() == known.shard_total));
                // The same once more, or late.
                prop_assert_eq!(known.updated(pair[1].update_since(&pair[0])), Ok(None));
            }
        }
    }
}

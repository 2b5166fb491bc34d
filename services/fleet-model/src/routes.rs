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
    /// The live workers.
    pub workers: BTreeMap<WorkerId, Route>,
}

impl Routes {
    /// The worker that runs a shard. Of two that claim it, the one with the higher epoch.
    pub fn owner(&self, shard: impl Into<ShardSlot>) -> Option<Owner<'_>> {
        let shard = shard.into();
        self.workers
            .iter()
            .filter_map(|(worker, route)| {
                let epoch = *route.shards.get(&shard)?;
                Some(Owner { worker, url: &route.url, epoch })
            })
            .max_by_key(|owner| owner.epoch)
    }

    /// Whether this table is newer than another.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.term, self.revision) > (other.term, other.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_epoch_owns() {
        let route = |url: &str, epoch| Route {
            url: url.to_owned(),
            shards: BTreeMap::from([(ShardKey::new(0, 1), Epoch(epoch))]),
            draining: false,
        };
        let workers = [("a", route("http://a", 7)), ("b", route("http://b", 9))]
            .map(|(name, route)| (name.parse().unwrap(), route));
        let routes = Routes { shard_total: 1, workers: BTreeMap::from(workers), ..Routes::default() };
        assert_eq!(routes.owner(ShardSlot(0)).unwrap().worker.as_str(), "b");
        assert_eq!(routes.owner(ShardSlot(1)), None);
    }
}

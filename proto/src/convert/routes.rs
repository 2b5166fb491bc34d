//! The routing table.

use std::collections::BTreeMap;

use fleet_model::{Route, Routes, Term};

use super::{MAX_SHARDS, Malformed, assignment};
use crate::v1;

impl From<&Routes> for v1::RoutingTable {
    fn from(routes: &Routes) -> Self {
        Self {
            revision: routes.revision,
            shard_total: routes.shard_total,
            term: routes.term.0,
            routes: routes
                .workers()
                .iter()
                .map(|(worker, route)| v1::Route {
                    worker_id: worker.to_string(),
                    url: route.url.clone(),
                    shards: assignment::pack(&route.shards),
                    draining: route.draining,
                })
                .collect(),
        }
    }
}

impl TryFrom<v1::RoutingTable> for Routes {
    type Error = Malformed;

    fn try_from(table: v1::RoutingTable) -> Result<Self, Malformed> {
        if table.shard_total > MAX_SHARDS {
            return Err(Malformed::Range { first: 0, last: table.shard_total });
        }
        let mut workers = BTreeMap::new();
        for route in table.routes {
            let shards = assignment::all_in_total(assignment::unpack(route.shards)?, table.shard_total)?;
            workers.insert(
                route.worker_id.try_into()?,
                Route { url: route.url, shards, draining: route.draining },
            );
        }
        let mut routes = Self::new(table.shard_total, workers);
        (routes.term, routes.revision) = (Term(table.term), table.revision);
        Ok(routes)
    }
}

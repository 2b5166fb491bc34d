//! The routing table.

use std::collections::BTreeMap;

use bytes::Bytes;
use fleet_model::{Route, Routes, RoutesUpdate, Term, WorkerId};
use prost::Message as _;

use super::{MAX_SHARDS, Malformed, assignment};
use crate::v1;

impl From<&Routes> for v1::RoutingTable {
    fn from(routes: &Routes) -> Self {
        Self {
            revision: routes.revision,
            shard_total: routes.shard_total,
            term: routes.term.0,
            routes: routes.workers().iter().map(|(worker, route)| to_wire(worker, route)).collect(),
        }
    }
}

impl TryFrom<v1::RoutingTable> for Routes {
    type Error = Malformed;

    fn try_from(table: v1::RoutingTable) -> Result<Self, Malformed> {
        let workers = from_wire(table.routes, table.shard_total)?;
        let mut routes = Self::new(table.shard_total, workers);
        (routes.term, routes.revision) = (Term(table.term), table.revision);
        Ok(routes)
    }
}

/// Encodes an update of the routing table.
pub(super) fn encode_update(update: &RoutesUpdate) -> Bytes {
    let message = v1::RoutingUpdate {
        term: update.term.0,
        continues: update.continues,
        revision: update.revision,
        shard_total: update.shard_total,
        changed: update.changed.iter().map(|(worker, route)| to_wire(worker, route)).collect(),
        gone: update.gone.iter().map(ToString::to_string).collect(),
    };
    message.encode_to_vec().into()
}

/// Reads an update of the routing table.
///
/// # Errors
/// It is no such message, or has invalid names or shards.
pub(crate) fn read_update(encoded: Bytes) -> Result<RoutesUpdate, Malformed> {
    let update = v1::RoutingUpdate::decode(encoded).map_err(|error| Malformed::Encoded(error.to_string()))?;
    let gone: Result<_, _> = update.gone.into_iter().map(WorkerId::try_from).collect();
    Ok(RoutesUpdate {
        term: Term(update.term),
        continues: update.continues,
        revision: update.revision,
        shard_total: update.shard_total,
        changed: from_wire(update.changed, update.shard_total)?,
        gone: gone?,
        ..RoutesUpdate::default()
    })
}

fn to_wire(worker: &WorkerId, route: &Route) -> v1::Route {
    v1::Route {
        worker_id: worker.to_string(),
        url: route.url.clone(),
        shards: assignment::pack(&route.shards),
        draining: route.draining,
    }
}

fn from_wire(routes: Vec<v1::Route>, shard_total: u32) -> Result<BTreeMap<WorkerId, Route>, Malformed> {
    if shard_total > MAX_SHARDS {
        return Err(Malformed::Range { first: 0, last: shard_total });
    }
    let mut workers = BTreeMap::new();
    for route in routes {
        let shards = assignment::all_in_total(assignment::unpack(route.shards)?, shard_total)?;
        workers
            .insert(route.worker_id.try_into()?, Route { url: route.url, shards, draining: route.draining });
    }
    Ok(workers)
}

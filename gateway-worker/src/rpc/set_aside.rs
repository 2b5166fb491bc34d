//! Replays events that were set aside.

use altergolden_proto::{
    convert::{self, refusal},
    v1::{ReplaySetAsideRequest, ReplaySetAsideResponse},
};
use checkpoint::{Position, SetAsideStore};
use fleet_model::{ErrorClass, ShardSlot};
use tonic::Status;

use crate::shards::RunningShards;

/// Queues the event for its handler.
pub(super) async fn replay(
    shards: &RunningShards,
    store: &dyn SetAsideStore,
    request: ReplaySetAsideRequest,
) -> Result<ReplaySetAsideResponse, Status> {
    let ReplaySetAsideRequest { shard_id, session, sequence } = request;
    let slot = ShardSlot(shard_id);
    let Some(shard) = shards.get(slot) else {
        return Err(refusal(ErrorClass::NotFound, format!("shard {slot} does not run here")));
    };
    let event = store
        .get_aside(slot, Position { session, sequence })
        .await
        .map_err(|error| convert::status(&error))?;
    let Some(event) = event else {
        return Err(refusal(
            ErrorClass::NotFound,
            format!("no event {slot}/{session}/{sequence} is set aside"),
        ));
    };
    shard.replay(event).map_err(|refused| convert::status(&refused))?;
    Ok(ReplaySetAsideResponse {})
}

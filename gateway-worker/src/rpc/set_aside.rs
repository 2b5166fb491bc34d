//! Replays events that were set aside.

use altergolden_proto::v1::{ReplaySetAsideRequest, ReplaySetAsideResponse};
use checkpoint::{Position, SetAsideStore};
use fleet_model::ShardNumber;
use tonic::Status;

use crate::{bot::ReplayRefused, shards::RunningShards};

/// Queues the event for its handler.
pub(super) async fn replay(
    shards: &RunningShards,
    store: &dyn SetAsideStore,
    request: ReplaySetAsideRequest,
) -> Result<ReplaySetAsideResponse, Status> {
    let ReplaySetAsideRequest { shard_id, session, sequence } = request;
    let number = ShardNumber(shard_id);
    let Some(shard) = shards.get(number) else {
        return Err(Status::not_found(format!("shard {number} does not run here")));
    };
    let event = store
        .get_aside(number, Position { session, sequence })
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let Some(event) = event else {
        return Err(Status::not_found(format!("no event {number}/{session}/{sequence} is set aside")));
    };
    shard.replay(event).map_err(|refused| match refused {
        ReplayRefused::Waits => Status::already_exists(refused.to_string()),
        ReplayRefused::Full => Status::resource_exhausted(refused.to_string()),
        ReplayRefused::Closed => Status::unavailable(refused.to_string()),
        ReplayRefused::Garbled => Status::data_loss(refused.to_string()),
    })?;
    Ok(ReplaySetAsideResponse {})
}

//! Commands of other processes for shards of this worker.

use std::time::Duration;

use altergolden_proto::v1;
use fleet_model::ShardSlot;
use shard_bridge::{CommandRefused, GatewayCommand, LocalShards as _};
use tokio::time::Instant;
use tonic::Status;

use crate::shards::RunningShards;

/// The longest wait of a caller: calls are ended after this anyway.
const LONGEST: Duration = Duration::from_secs(55);

pub(super) async fn send(
    shards: &RunningShards,
    request: v1::SendCommandRequest,
) -> Result<v1::SendCommandResponse, Status> {
    let v1::SendCommandRequest { shard_id, payload, wait_ms } = request;
    let command = GatewayCommand::from_text(&payload)?;
    let until = Instant::now() + Duration::from_millis(wait_ms.into()).min(LONGEST);
    match shards.send_command(ShardSlot(shard_id), command, until).await {
        Ok(()) => Ok(v1::SendCommandResponse { not_mine: false }),
        Err(CommandRefused::NotMine) => Ok(v1::SendCommandResponse { not_mine: true }),
        Err(refused) => Err(refused.into()),
    }
}

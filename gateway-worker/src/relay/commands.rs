//! Commands that bots publish for the gateway, on their way to the worker that runs the shard.

use ::relay::commands::{CommandFailed, SendCommand};
use async_trait::async_trait;
use fleet_model::{ErrorClass, ShardSlot};
use serde_json::Value;
use shard_bridge::Bridge;
use tokio::time::Instant;

/// Sends commands over the bridge.
pub(crate) struct BridgeSender(pub(crate) Bridge);

#[async_trait]
impl SendCommand for BridgeSender {
    async fn send(&self, shard: ShardSlot, payload: Value, until: Instant) -> Result<(), CommandFailed> {
        let sent = self.0.send_gateway_payload(shard, payload, until).await;
        sent.map_err(|error| match error.class() {
            ErrorClass::Unavailable | ErrorClass::TooLate | ErrorClass::TooBusy => {
                CommandFailed::ForNow(error.to_string())
            }
            // Invalid, for a shard that does not exist, or replaced by a newer one.
            _ => CommandFailed::ForGood(error.to_string()),
        })
    }
}

//! Objects out of the caches, from the worker that runs the guild's shard.

use std::time::Duration;

use fleet_model::ShardKey;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tonic::Status;

use super::{Bridge, REROUTE, owner::OwnerQuestion};
use crate::{
    answer::BridgeError,
    local::LocalShards,
    object::{FoundObject, ObjectQuery, ObjectRefused},
    peers::PeerLane,
    worker_client::WorkerClient,
};

impl OwnerQuestion for ObjectQuery {
    type Answer = FoundObject;

    const ASKED_AGAIN: bool = true;

    fn lane(&self) -> PeerLane {
        PeerLane::Questions
    }

    fn local<'a>(
        &'a self,
        local: &'a dyn LocalShards,
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<FoundObject>, BridgeError>> {
        Box::pin(async move {
            match local.object(self) {
                Ok(found) => Ok(Some(found)),
                Err(ObjectRefused::NotMine) => Ok(None),
                Err(refused) => Err(refused.into()),
            }
        })
    }

    fn remote(
        &self,
        client: WorkerClient,
        left: Duration,
    ) -> BoxFuture<'_, Result<Option<FoundObject>, Status>> {
        Box::pin(client.object(self, left))
    }
}

impl Bridge {
    /// An object out of the cache of the worker that runs its guild's shard, and that shard.
    ///
    /// # Errors
    /// `NotFound`: it does not exist. `Unavailable`: unknown for now. `NotPermitted`: it is not cached, by a setting.
    /// `TooBusy`: it is too large for an answer.
    pub async fn object(
        &self,
        query: &ObjectQuery,
        until: Instant,
    ) -> Result<(FoundObject, ShardKey), BridgeError> {
        self.first_table(until).await;
        let shard = self.shard_of(query.guild)?;
        let patience = until.min(Instant::now() + REROUTE);
        let found = self.ask_owner_of(shard.slot(), query, patience, until).await?;
        Ok((found, shard))
    }
}

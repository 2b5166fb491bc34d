//! Snapshots of shards' guilds, from the workers that run them.

use std::time::Duration;

use futures_util::{StreamExt as _, future::BoxFuture};
use tokio::time::Instant;
use tonic::Status;

use super::{Bridge, REROUTE, owner::OwnerQuestion};
use crate::{
    answer::BridgeError,
    command::MembersQuery,
    local::LocalShards,
    peers::PeerLane,
    snapshot::{MemberChunks, SnapshotParts, SnapshotQuery},
    worker_client::WorkerClient,
};

impl OwnerQuestion for SnapshotQuery {
    type Answer = SnapshotParts;

    const ASKED_AGAIN: bool = true;

    fn lane(&self) -> PeerLane {
        PeerLane::Snapshots
    }

    fn local<'a>(
        &'a self,
        local: &'a dyn LocalShards,
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<SnapshotParts>, BridgeError>> {
        Box::pin(async { Ok(local.snapshot(self)?.map(|parts| parts.map(Ok).boxed())) })
    }

    fn remote(
        &self,
        client: WorkerClient,
        _: Duration,
    ) -> BoxFuture<'_, Result<Option<SnapshotParts>, Status>> {
        Box::pin(client.snapshot(self))
    }
}

impl OwnerQuestion for MembersQuery {
    type Answer = MemberChunks;

    const ASKED_AGAIN: bool = true;

    fn lane(&self) -> PeerLane {
        PeerLane::Snapshots
    }

    fn local<'a>(
        &'a self,
        local: &'a dyn LocalShards,
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<MemberChunks>, BridgeError>> {
        Box::pin(async { Ok(local.cached_members(self).map(|chunks| chunks.map(Ok).boxed())) })
    }

    fn remote(
        &self,
        client: WorkerClient,
        _: Duration,
    ) -> BoxFuture<'_, Result<Option<MemberChunks>, Status>> {
        Box::pin(client.cached_members(self))
    }
}

impl Bridge {
    /// Members of a guild out of the cache of its owner, as the data of GUILD_MEMBERS_CHUNK events without a nonce. None come when the
    /// cache may lack one of them.
    ///
    /// # Errors
    /// As [`Bridge::snapshot`].
    pub async fn cached_members(
        &self,
        query: &MembersQuery,
        until: Instant,
    ) -> Result<MemberChunks, BridgeError> {
        self.first_table(until).await;
        let shard = self.shard_of(query.guild)?.slot();
        let patience = until.min(Instant::now() + REROUTE);
        self.ask_owner_of(shard, query, patience, until).await
    }

    /// A shard's guilds, from the worker that runs it. The call ends when the first part can come; the caller watches over the rest.
    ///
    /// # Errors
    /// `Unavailable`: no worker that runs the shard could be asked, or the shard has no session yet.
    pub async fn snapshot(
        &self,
        query: &SnapshotQuery,
        until: Instant,
    ) -> Result<SnapshotParts, BridgeError> {
        self.first_table(until).await;
        let patience = until.min(Instant::now() + REROUTE);
        self.ask_owner_of(query.shard, query, patience, until).await
    }

    /// How many shards the fleet has; 0 while that is not settled.
    pub fn fleet_shards(&self) -> u32 {
        self.routes.borrow().shard_total
    }
}

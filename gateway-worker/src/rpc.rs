//! The gRPC service for the coordinator and the other workers.

use std::sync::Arc;

use altergolden_proto::{
    convert::{self, refusal},
    v1::{self, gateway_worker_server},
};
use arc_swap::ArcSwap;
use checkpoint::SetAsideStore;
use fleet_model::{Epoch, ErrorClass, Incarnation, ShardSlot, WorkerId};
use process::credentials::{Caller, Credentials};
use shard_bridge::LocalShards as _;
use tokio::runtime::Handle;
use tonic::{Request, Response, Status};

use crate::{checkpoints::WrittenFormat, shards::RunningShards, tap::Taps};

mod asked;
mod commands;
mod copy_shard;
mod objects;
mod set_aside;
mod snapshot;
mod tap;

/// The most ids that one call may ask about.
const MOST_IDS: usize = 1_000;

/// The gRPC server.
pub(crate) type WorkerServer = gateway_worker_server::GatewayWorkerServer<WorkerService>;

/// Serves the fleet.
#[derive(Clone)]
pub(crate) struct WorkerService {
    pub(crate) worker: WorkerId,
    pub(crate) incarnation: Arc<ArcSwap<Incarnation>>,
    pub(crate) shards: RunningShards,
    /// Where shards run.
    pub(crate) runtime: Handle,
    /// What they are copied in.
    pub(crate) format: WrittenFormat,
    pub(crate) set_aside: Arc<dyn SetAsideStore>,
    pub(crate) taps: Taps,
    pub(crate) credentials: Credentials,
}

fn check(ids: &[u64]) -> Result<(), Status> {
    if ids.len() > MOST_IDS {
        return Err(refusal(
            ErrorClass::InvalidInput,
            format!("{} ids are over the limit of {MOST_IDS}", ids.len()),
        ));
    }
    Ok(())
}

#[tonic::async_trait]
impl gateway_worker_server::GatewayWorker for WorkerService {
    async fn identity(
        &self,
        _: Request<v1::IdentityRequest>,
    ) -> Result<Response<v1::IdentityResponse>, Status> {
        Ok(Response::new(v1::IdentityResponse {
            worker_id: self.worker.to_string(),
            incarnation: self.incarnation.load().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn get_shards(
        &self,
        _: Request<v1::GetShardsRequest>,
    ) -> Result<Response<v1::GetShardsResponse>, Status> {
        let shards = self.shards.shards().into_iter().map(Into::into).collect();
        Ok(Response::new(v1::GetShardsResponse { shards }))
    }

    async fn look_up_guilds(
        &self,
        request: Request<v1::LookUpGuildsRequest>,
    ) -> Result<Response<v1::LookUpGuildsResponse>, Status> {
        let ids = request.into_inner().guild_ids;
        check(&ids)?;
        let guilds = self.shards.guilds(&ids).into_iter().map(Into::into).collect();
        Ok(Response::new(v1::LookUpGuildsResponse { guilds }))
    }

    async fn look_up_users(
        &self,
        request: Request<v1::LookUpUsersRequest>,
    ) -> Result<Response<v1::LookUpUsersResponse>, Status> {
        let ids = request.into_inner().user_ids;
        check(&ids)?;
        Ok(Response::new(self.shards.users(&ids).into()))
    }

    type CopyShardStream = copy_shard::CopyStream;

    async fn copy_shard(
        &self,
        request: Request<v1::CopyShardRequest>,
    ) -> Result<Response<Self::CopyShardStream>, Status> {
        let caller = Caller::of(&request);
        let v1::CopyShardRequest { shard_id, epoch, worker_id, ticket } = request.into_inner();
        if !caller.may_be_worker(&worker_id) {
            return Err(refusal(ErrorClass::Forbidden, "the certificate is not for this worker_id"));
        }
        let shard = self.shards.get(ShardSlot(shard_id)).filter(|shard| shard.epoch() == Epoch(epoch));
        let shard = shard.ok_or_else(|| {
            refusal(ErrorClass::NotFound, format!("shard {shard_id} does not run here at epoch {epoch}"))
        })?;
        if let Err(refused) = shard.copy_slot().admit(&ticket, self.credentials.is_enforced()) {
            tracing::info!(shard.id = shard_id, peer = %caller, "copy refused: ticket missing or invalid");
            return Err(convert::status(&refused));
        }
        let copying = shard.copy_slot().begin(shard.state(), self.format.now());
        let copying = copying.map_err(|refused| convert::status(&refused))?;
        tracing::debug!(shard.id = shard_id, to.id = worker_id, "the shard is being copied");
        Ok(Response::new(copy_shard::send(&shard, copying, &self.runtime)))
    }

    async fn replay_set_aside(
        &self,
        request: Request<v1::ReplaySetAsideRequest>,
    ) -> Result<Response<v1::ReplaySetAsideResponse>, Status> {
        set_aside::replay(&self.shards, &*self.set_aside, request.into_inner()).await.map(Response::new)
    }

    async fn send_command(
        &self,
        request: Request<v1::SendCommandRequest>,
    ) -> Result<Response<v1::SendCommandResponse>, Status> {
        commands::send(&self.shards, request.into_inner()).await.map(Response::new)
    }

    async fn get_object(
        &self,
        request: Request<v1::GetObjectRequest>,
    ) -> Result<Response<v1::GetObjectResponse>, Status> {
        objects::get(&self.shards, request.into_inner()).map(Response::new)
    }

    async fn deliver_message(
        &self,
        request: Request<v1::DeliverMessageRequest>,
    ) -> Result<Response<v1::DeliverMessageResponse>, Status> {
        asked::deliver(&self.shards, request).await.map(Response::new)
    }

    async fn ask_shards(
        &self,
        request: Request<v1::AskShardsRequest>,
    ) -> Result<Response<v1::AskShardsResponse>, Status> {
        asked::ask(&self.shards, request).await.map(Response::new)
    }

    type SnapshotShardStream = snapshot::SnapshotStream;

    async fn snapshot_shard(
        &self,
        request: Request<v1::SnapshotShardRequest>,
    ) -> Result<Response<Self::SnapshotShardStream>, Status> {
        snapshot::begin(&self.shards, request.into_inner()).map(Response::new)
    }

    type CachedMembersStream = snapshot::MembersStream;

    async fn cached_members(
        &self,
        request: Request<v1::CachedMembersRequest>,
    ) -> Result<Response<Self::CachedMembersStream>, Status> {
        snapshot::members(&self.shards, request.into_inner()).map(Response::new)
    }

    type TapStream = tap::TapStream;

    async fn tap(&self, request: Request<v1::TapRequest>) -> Result<Response<Self::TapStream>, Status> {
        tap::open(&self.taps, request.into_inner()).map(Response::new)
    }
}

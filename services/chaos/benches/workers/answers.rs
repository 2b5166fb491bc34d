//! What a simulated worker answers: who it is, and its shards.

use std::sync::{Arc, Mutex, PoisonError};

use altergolden_proto::v1::{self, IdentityRequest, gateway_worker_server::GatewayWorker};
use tonic::{Request, Response, Status};

use super::simulated::Seen;

/// Serves one worker.
pub(crate) struct Answers {
    pub(crate) worker: String,
    pub(crate) incarnation: String,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

#[tonic::async_trait]
impl GatewayWorker for Answers {
    async fn identity(&self, _: Request<IdentityRequest>) -> Result<Response<v1::IdentityResponse>, Status> {
        let (worker_id, incarnation) = (self.worker.clone(), self.incarnation.clone());
        Ok(Response::new(v1::IdentityResponse { worker_id, incarnation, version: String::new() }))
    }

    async fn get_shards(
        &self,
        _: Request<v1::GetShardsRequest>,
    ) -> Result<Response<v1::GetShardsResponse>, Status> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = |(&shard_id, &epoch): (&u32, &u64)| v1::ShardReport {
            shard_id,
            epoch,
            status: v1::ShardStatus::Ready.into(),
            guilds: 1_000,
            users: Some(250_000),
            ..Default::default()
        };
        let shards = seen.shards.iter().map(shard).collect();
        Ok(Response::new(v1::GetShardsResponse { shards }))
    }

    async fn look_up_guilds(
        &self,
        _: Request<v1::LookUpGuildsRequest>,
    ) -> Result<Response<v1::LookUpGuildsResponse>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }

    async fn look_up_users(
        &self,
        _: Request<v1::LookUpUsersRequest>,
    ) -> Result<Response<v1::LookUpUsersResponse>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }

    type CopyShardStream = tokio_stream::Empty<Result<v1::ShardCopy, Status>>;

    async fn copy_shard(
        &self,
        _: Request<v1::CopyShardRequest>,
    ) -> Result<Response<Self::CopyShardStream>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }

    async fn replay_set_aside(
        &self,
        _: Request<v1::ReplaySetAsideRequest>,
    ) -> Result<Response<v1::ReplaySetAsideResponse>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }

    async fn send_command(
        &self,
        _: Request<v1::SendCommandRequest>,
    ) -> Result<Response<v1::SendCommandResponse>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }

    async fn get_object(
        &self,
        _: Request<v1::GetObjectRequest>,
    ) -> Result<Response<v1::GetObjectResponse>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }

    async fn deliver_message(
        &self,
        _: Request<v1::DeliverMessageRequest>,
    ) -> Result<Response<v1::DeliverMessageResponse>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }

    async fn ask_shards(
        &self,
        _: Request<v1::AskShardsRequest>,
    ) -> Result<Response<v1::AskShardsResponse>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }

    type SnapshotShardStream = tokio_stream::Empty<Result<v1::ShardSnapshotPart, Status>>;

    async fn snapshot_shard(
        &self,
        _: Request<v1::SnapshotShardRequest>,
    ) -> Result<Response<Self::SnapshotShardStream>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }

    type CachedMembersStream = tokio_stream::Empty<Result<v1::CachedMembersChunk, Status>>;

    async fn cached_members(
        &self,
        _: Request<v1::CachedMembersRequest>,
    ) -> Result<Response<Self::CachedMembersStream>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }

    type TapStream = tokio_stream::Empty<Result<v1::TapItem, Status>>;

    async fn tap(&self, _: Request<v1::TapRequest>) -> Result<Response<Self::TapStream>, Status> {
        Err(Status::unimplemented("it is a simulated worker"))
    }
}

//! A gateway worker that answers only `Identity`.
#![allow(clippy::unimplemented, reason = "see above")]

use std::net::SocketAddr;

use altergolden_proto::v1::{
    self, IdentityRequest,
    gateway_worker_server::{GatewayWorker, GatewayWorkerServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

pub(crate) struct FakeWorker {
    worker: String,
    incarnation: String,
}

impl FakeWorker {
    /// Starts one with this name and incarnation, and returns its address.
    pub(crate) async fn start(worker: &str, incarnation: &str) -> SocketAddr {
        let worker_service = Self { worker: worker.to_owned(), incarnation: incarnation.to_owned() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            tonic::transport::Server::builder().add_service(GatewayWorkerServer::new(worker_service));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }
}

#[tonic::async_trait]
impl GatewayWorker for FakeWorker {
    async fn identity(&self, _: Request<IdentityRequest>) -> Result<Response<v1::IdentityResponse>, Status> {
        let (worker_id, incarnation) = (self.worker.clone(), self.incarnation.clone());
        Ok(Response::new(v1::IdentityResponse { worker_id, incarnation, version: String::new() }))
    }

    async fn get_shards(
        &self,
        _: Request<v1::GetShardsRequest>,
    ) -> Result<Response<v1::GetShardsResponse>, Status> {
        unimplemented!()
    }

    async fn look_up_guilds(
        &self,
        _: Request<v1::LookUpGuildsRequest>,
    ) -> Result<Response<v1::LookUpGuildsResponse>, Status> {
        unimplemented!()
    }

    async fn look_up_users(
        &self,
        _: Request<v1::LookUpUsersRequest>,
    ) -> Result<Response<v1::LookUpUsersResponse>, Status> {
        unimplemented!()
    }

    type CopyShardStream = tokio_stream::Empty<Result<v1::ShardCopy, Status>>;

    async fn copy_shard(
        &self,
        _: Request<v1::CopyShardRequest>,
    ) -> Result<Response<Self::CopyShardStream>, Status> {
        unimplemented!()
    }

    async fn replay_set_aside(
        &self,
        _: Request<v1::ReplaySetAsideRequest>,
    ) -> Result<Response<v1::ReplaySetAsideResponse>, Status> {
        unimplemented!()
    }

    async fn send_command(
        &self,
        _: Request<v1::SendCommandRequest>,
    ) -> Result<Response<v1::SendCommandResponse>, Status> {
        unimplemented!()
    }

    async fn get_object(
        &self,
        _: Request<v1::GetObjectRequest>,
    ) -> Result<Response<v1::GetObjectResponse>, Status> {
        unimplemented!()
    }

    async fn deliver_message(
        &self,
        _: Request<v1::DeliverMessageRequest>,
    ) -> Result<Response<v1::DeliverMessageResponse>, Status> {
        unimplemented!()
    }

    async fn ask_shards(
        &self,
        _: Request<v1::AskShardsRequest>,
    ) -> Result<Response<v1::AskShardsResponse>, Status> {
        unimplemented!()
    }

    type SnapshotShardStream = tokio_stream::Empty<Result<v1::ShardSnapshotPart, Status>>;

    async fn snapshot_shard(
        &self,
        _: Request<v1::SnapshotShardRequest>,
    ) -> Result<Response<Self::SnapshotShardStream>, Status> {
        unimplemented!()
    }

    type CachedMembersStream = tokio_stream::Empty<Result<v1::CachedMembersChunk, Status>>;

    async fn cached_members(
        &self,
        _: Request<v1::CachedMembersRequest>,
    ) -> Result<Response<Self::CachedMembersStream>, Status> {
        unimplemented!()
    }

    type TapStream = tokio_stream::Empty<Result<v1::TapItem, Status>>;

    async fn tap(&self, _: Request<v1::TapRequest>) -> Result<Response<Self::TapStream>, Status> {
        unimplemented!()
    }
}

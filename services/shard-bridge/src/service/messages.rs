//! Messages to one shard and to the manager, and questions that each shard answers.

use altergolden_proto::v1;
use tonic::{Request, Response, Status};

use super::BridgeService;

pub(super) async fn send_to_shard(
    _: &BridgeService,
    _: Request<v1::SendToShardRequest>,
) -> Result<Response<v1::SendToShardResponse>, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn send_to_manager(
    _: &BridgeService,
    _: Request<v1::SendToManagerRequest>,
) -> Result<Response<v1::SendToManagerResponse>, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn request(
    _: &BridgeService,
    _: Request<v1::RequestRequest>,
) -> Result<Response<v1::RequestResponse>, Status> {
    Err(Status::unimplemented("not yet"))
}

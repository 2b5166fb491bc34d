//! Objects out of the caches.

use altergolden_proto::v1;
use tonic::{Request, Response, Status};

use super::BridgeService;

pub(super) async fn guild(
    _: &BridgeService,
    _: Request<v1::GetGuildRequest>,
) -> Result<Response<v1::GetGuildResponse>, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn channel(
    _: &BridgeService,
    _: Request<v1::GetChannelRequest>,
) -> Result<Response<v1::GetChannelResponse>, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn member(
    _: &BridgeService,
    _: Request<v1::GetMemberRequest>,
) -> Result<Response<v1::GetMemberResponse>, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn roles(
    _: &BridgeService,
    _: Request<v1::GetRolesRequest>,
) -> Result<Response<v1::GetRolesResponse>, Status> {
    Err(Status::unimplemented("not yet"))
}

//! What a bot tells the gateway.

use altergolden_proto::v1;
use tonic::{Request, Response, Status};

use super::BridgeService;

pub(super) async fn update_presence(
    _: &BridgeService,
    _: Request<v1::UpdatePresenceRequest>,
) -> Result<Response<v1::UpdatePresenceResponse>, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn update_voice_state(
    _: &BridgeService,
    _: Request<v1::UpdateVoiceStateRequest>,
) -> Result<Response<v1::UpdateVoiceStateResponse>, Status> {
    Err(Status::unimplemented("not yet"))
}

pub(super) async fn request_guild_members(
    _: &BridgeService,
    _: Request<v1::RequestGuildMembersRequest>,
) -> Result<Response<v1::RequestGuildMembersResponse>, Status> {
    Err(Status::unimplemented("not yet"))
}

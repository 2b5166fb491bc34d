//! Objects of this worker's caches for other processes.

use altergolden_proto::{
    convert::refusal,
    v1::{self, get_object_request::Object},
};
use fleet_model::ErrorClass;
use shard_bridge::{FoundObject, LocalShards as _, ObjectKind, ObjectQuery, ObjectRefused, check_size};
use tonic::Status;

use crate::shards::RunningShards;

pub(super) fn get(
    shards: &RunningShards,
    request: v1::GetObjectRequest,
) -> Result<v1::GetObjectResponse, Status> {
    let v1::GetObjectRequest { guild_id, object, fields } = request;
    let kind = match object {
        Some(Object::Guild(_)) => ObjectKind::Guild,
        Some(Object::ChannelId(id)) => ObjectKind::Channel(id),
        Some(Object::UserId(id)) => ObjectKind::Member(id),
        Some(Object::Roles(_)) => ObjectKind::Roles,
        // A newer process asks for what this one does not know.
        None => {
            return Err(refusal(ErrorClass::Unsupported, "no object that this version knows is asked for"));
        }
    };
    match shards.object(&ObjectQuery { guild: guild_id, kind, fields }) {
        Ok(FoundObject { json, doubt }) => {
            check_size(json.len())?;
            Ok(v1::GetObjectResponse { not_mine: false, json, doubt })
        }
        Err(ObjectRefused::NotMine) => Ok(v1::GetObjectResponse { not_mine: true, ..Default::default() }),
        Err(refused) => Err(refused.into()),
    }
}

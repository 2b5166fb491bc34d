//! Objects out of the caches: what is asked for, and the answer in the format that is wanted.

use std::collections::BTreeMap;

use altergolden_proto::{
    convert::CachedObject,
    v1::{self, ObjectFormat},
};
use fleet_model::ErrorClass;
use prost_types::FieldMask;
use serde_json::{Map, Value, value::RawValue};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{BridgeService, check_ids};
use crate::answer::BridgeError;
use crate::object::{FoundObject, ObjectKind, ObjectQuery, check_size};

pub(super) async fn guild(
    service: &BridgeService,
    request: Request<v1::GetGuildRequest>,
) -> Result<Response<v1::GetGuildResponse>, Status> {
    use v1::get_guild_response::Guild;
    let until = service.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
    let v1::GetGuildRequest { guild_id, fields, format, .. } = request.into_inner();
    check_ids("guild_id", &[guild_id])?;
    let wanted = FieldSelection::<v1::CachedGuild>::new(fields, format)?;
    let (FoundObject { json, doubt }, shard_id) =
        wanted.ask(service, "GetGuild", guild_id, ObjectKind::Guild, until).await?;
    let guild = if wanted.is_json {
        Guild::Json(json)
    } else {
        Guild::Message(wanted.message(&object(&json)?, guild_id))
    };
    Ok(Response::new(v1::GetGuildResponse { guild: Some(guild), shard_id, doubt }))
}

pub(super) async fn channel(
    service: &BridgeService,
    request: Request<v1::GetChannelRequest>,
) -> Result<Response<v1::GetChannelResponse>, Status> {
    use v1::get_channel_response::Channel;
    let until = service.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
    let v1::GetChannelRequest { guild_id, channel_id, fields, format, .. } = request.into_inner();
    check_ids("guild_id", &[guild_id])?;
    check_ids("channel_id", &[channel_id])?;
    let wanted = FieldSelection::<v1::CachedChannel>::new(fields, format)?;
    let kind = ObjectKind::Channel(channel_id);
    let (FoundObject { json, doubt }, shard_id) =
        wanted.ask(service, "GetChannel", guild_id, kind, until).await?;
    let channel = if wanted.is_json {
        Channel::Json(json)
    } else {
        Channel::Message(wanted.message(&object(&json)?, guild_id))
    };
    Ok(Response::new(v1::GetChannelResponse { channel: Some(channel), shard_id, doubt }))
}

pub(super) async fn member(
    service: &BridgeService,
    request: Request<v1::GetMemberRequest>,
) -> Result<Response<v1::GetMemberResponse>, Status> {
    use v1::get_member_response::Member;
    let until = service.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
    let v1::GetMemberRequest { guild_id, user_id, fields, format, .. } = request.into_inner();
    check_ids("guild_id", &[guild_id])?;
    check_ids("user_id", &[user_id])?;
    let wanted = FieldSelection::<v1::CachedMember>::new(fields, format)?;
    let kind = ObjectKind::Member(user_id);
    let (FoundObject { json, doubt }, shard_id) =
        wanted.ask(service, "GetMember", guild_id, kind, until).await?;
    let member = if wanted.is_json {
        Member::Json(json)
    } else {
        Member::Message(wanted.message(&object(&json)?, guild_id))
    };
    Ok(Response::new(v1::GetMemberResponse { member: Some(member), shard_id, doubt }))
}

pub(super) async fn roles(
    service: &BridgeService,
    request: Request<v1::GetRolesRequest>,
) -> Result<Response<v1::GetRolesResponse>, Status> {
    let until = service.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
    let v1::GetRolesRequest { guild_id, fields, format, .. } = request.into_inner();
    check_ids("guild_id", &[guild_id])?;
    let wanted = FieldSelection::<v1::CachedRole>::new(fields, format)?;
    let (FoundObject { json, doubt }, shard_id) =
        wanted.ask(service, "GetRoles", guild_id, ObjectKind::Roles, until).await?;
    let mut answer = v1::GetRolesResponse { shard_id, doubt, ..v1::GetRolesResponse::default() };
    if wanted.is_json {
        answer.json = Some(json);
    } else {
        let roles: Vec<&RawValue> = serde_json::from_str(&json).map_err(malformed)?;
        let message = |role: &&RawValue| Ok(wanted.message(&object(role.get())?, guild_id));
        answer.roles = roles.iter().map(message).collect::<Result<_, BridgeError>>()?;
    }
    Ok(Response::new(answer))
}

/// What of an object is wanted, and how.
#[derive(Debug)]
struct FieldSelection<T> {
    is_json: bool,
    /// Of the message; all when empty.
    fields: Vec<String>,
    /// Of Discord's object; all when empty.
    discord: Vec<String>,
    message: std::marker::PhantomData<fn() -> T>,
}

impl<T: CachedObject> FieldSelection<T> {
    fn new(mask: Option<FieldMask>, format: i32) -> Result<Self, BridgeError> {
        let format = ObjectFormat::try_from(format)
            .map_err(|_| BridgeError::invalid(format!("unknown object format {format}")))?;
        let is_json = format == ObjectFormat::Json;
        let fields = mask.unwrap_or_default().paths;
        let known = |field: &String| {
            if is_json {
                T::DISCORD_FIELDS.contains(&field.as_str())
            } else {
                T::FIELDS.iter().any(|(name, _)| name == field)
            }
        };
        if let Some(unknown) = fields.iter().find(|field| !known(field)) {
            let unknown: String = unknown.chars().take(100).collect();
            let message = format!("fields: {unknown:?} is no field that can be asked for");
            return Err(BridgeError::invalid(message));
        }
        let wanted =
            |(name, _): &&(&str, &str)| fields.is_empty() || fields.iter().any(|field| field == name);
        let discord = if is_json {
            fields.clone()
        } else {
            T::FIELDS.iter().filter(wanted).map(|(_, discord)| (*discord).to_owned()).collect()
        };
        Ok(Self { is_json, fields, discord, message: std::marker::PhantomData })
    }

    async fn ask(
        &self,
        service: &BridgeService,
        method: &'static str,
        guild: u64,
        kind: ObjectKind,
        until: Instant,
    ) -> Result<(FoundObject, u32), BridgeError> {
        let since = Instant::now();
        let query = ObjectQuery { guild, kind, fields: self.discord.clone() };
        let answer = service.bridge.object(&query, until).await;
        service.bridge.metrics().observe(method, since);
        let (found, shard) = answer?;
        // As a message it is smaller.
        check_size(found.json.len())?;
        Ok((found, shard.slot().0))
    }

    fn message(&self, object: &Map<String, Value>, guild: u64) -> T {
        let mut message = T::from_discord(object, guild);
        message.keep(&self.fields);
        message
    }
}

/// Reads an object in a worker's answer, which is as Discord sent it. Leaves out a field that serde_json cannot read, such as a number out
/// of range.
fn object(json: &str) -> Result<Map<String, Value>, BridgeError> {
    serde_json::from_str(json).or_else(|_| {
        let json = outside_text::without_lone_surrogates(json);
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&json).map_err(malformed)?;
        let readable = |(name, raw): (String, &RawValue)| Some((name, serde_json::from_str(raw.get()).ok()?));
        Ok(fields.into_iter().filter_map(readable).collect())
    })
}

fn malformed(error: serde_json::Error) -> BridgeError {
    BridgeError::new(ErrorClass::Internal, format!("malformed answer of the worker: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
    }

    #[test]
    fn odd_field_costs_only_itself() {
        let read = |json: &str| object(json).map(|object| Value::Object(object).to_string()).ok();
        assert_eq!(
            read(r#"{"a":1,"b":[1e999],"c":"\ud83d"}"#).as_deref(),
            Some("{\"a\":1,\"c\":\"\u{fffd}\"}")
        );
        assert_eq!(read("[]"), None);
    }

    #[test]
    fn only_known_fields_can_be_asked_for() {
        let refused = |outcome: Result<FieldSelection<v1::CachedMember>, BridgeError>, words: &str| {
            let error = outcome.unwrap_err();
            assert!(error.class() == ErrorClass::InvalidInput && error.message().contains(words), "{error}");
        };
        refused(FieldSelection::new(Some(mask(&["nick", "user.id"])), 0), "user.id");
        refused(FieldSelection::new(Some(mask(&["user"])), ObjectFormat::Protobuf.into()), "user");
        refused(FieldSelection::new(Some(mask(&["username"])), ObjectFormat::Json.into()), "username");
        refused(FieldSelection::new(None, 9), "format 9");
        let wanted = FieldSelection::<v1::CachedMember>::new(Some(mask(&["username", "roles"])), 0).unwrap();
        assert_eq!(wanted.discord, ["user", "roles"]);
        let wanted =
            FieldSelection::<v1::CachedMember>::new(Some(mask(&["user"])), ObjectFormat::Json.into())
                .unwrap();
        assert_eq!(wanted.discord, ["user"]);
        let all = FieldSelection::<v1::CachedGuild>::new(None, 0).unwrap();
        assert!(!all.discord.contains(&"roles".to_owned()), "what the message has not is not asked for");
    }
}

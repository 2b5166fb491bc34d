//! What a bot tells the gateway: from the messages to Discord's payloads, checked on the way.

use altergolden_proto::v1::{self, request_guild_members_request::Which};
use fleet_model::ShardSlot;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::BridgeService;
use crate::{answer::BridgeError, command::GatewayCommand};

/// Members that Discord finds by a name.
const NAMED: u32 = 100;

pub(super) async fn update_presence(
    service: &BridgeService,
    request: Request<v1::UpdatePresenceRequest>,
) -> Result<Response<v1::UpdatePresenceResponse>, Status> {
    let since = Instant::now();
    let until = service.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
    let request = request.into_inner();
    let shards: Vec<ShardSlot> = request.shard_ids.iter().copied().map(ShardSlot).collect();
    let presence = presence(request)?;
    let answer = service.bridge.update_presence(&shards, &presence, until).await;
    service.bridge.metrics().observe("UpdatePresence", since);
    Ok(Response::new(answer?.into()))
}

pub(super) async fn update_voice_state(
    service: &BridgeService,
    request: Request<v1::UpdateVoiceStateRequest>,
) -> Result<Response<v1::UpdateVoiceStateResponse>, Status> {
    let since = Instant::now();
    let until = service.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
    let command = voice_state(request.get_ref())?;
    let sent = service.bridge.send_to_guild(&command, until).await;
    service.bridge.metrics().observe("UpdateVoiceState", since);
    Ok(Response::new(v1::UpdateVoiceStateResponse { shard_id: sent?.slot().0 }))
}

pub(super) async fn request_guild_members(
    service: &BridgeService,
    request: Request<v1::RequestGuildMembersRequest>,
) -> Result<Response<v1::RequestGuildMembersResponse>, Status> {
    let since = Instant::now();
    let until = service.deadlines.fan_out_until(request.get_ref().deadline_ms, request.metadata());
    let command = members(request.into_inner())?;
    let sent = service.bridge.send_to_guild(&command, until).await;
    service.bridge.metrics().observe("RequestGuildMembers", since);
    Ok(Response::new(v1::RequestGuildMembersResponse { shard_id: sent?.slot().0 }))
}

fn presence(request: v1::UpdatePresenceRequest) -> Result<GatewayCommand, BridgeError> {
    let status = v1::PresenceStatus::try_from(request.status)
        .map_err(|_| BridgeError::invalid(format!("unknown presence status {}", request.status)))?;
    let status = match status {
        v1::PresenceStatus::Unspecified | v1::PresenceStatus::Online => "online",
        v1::PresenceStatus::DoNotDisturb => "dnd",
        v1::PresenceStatus::Idle => "idle",
        v1::PresenceStatus::Invisible => "invisible",
    };
    let activities: Vec<Value> = request.activities.into_iter().map(activity).collect();
    let d = json!({
        "status": status, "activities": activities, "afk": request.afk, "since": request.since_unix_ms,
    });
    Ok(GatewayCommand::parse(json!({ "op": 3, "d": d }))?)
}

fn activity(activity: v1::Activity) -> Value {
    let v1::Activity { name, r#type, state, url } = activity;
    let mut object = Map::from_iter([("name".to_owned(), json!(name)), ("type".to_owned(), json!(r#type))]);
    for (key, text) in [("state", state), ("url", url)] {
        if let Some(text) = text {
            object.insert(key.to_owned(), Value::String(text));
        }
    }
    Value::Object(object)
}

fn voice_state(request: &v1::UpdateVoiceStateRequest) -> Result<GatewayCommand, BridgeError> {
    let d = json!({
        "guild_id": request.guild_id.to_string(),
        "channel_id": request.channel_id.map(|id| id.to_string()),
        "self_mute": request.self_mute,
        "self_deaf": request.self_deaf,
    });
    Ok(GatewayCommand::parse(json!({ "op": 4, "d": d }))?)
}

fn members(request: v1::RequestGuildMembersRequest) -> Result<GatewayCommand, BridgeError> {
    let v1::RequestGuildMembersRequest { guild_id, which, limit, presences, nonce, .. } = request;
    let mut d = json!({ "guild_id": guild_id.to_string(), "presences": presences });
    match which {
        None => return Err(BridgeError::invalid("neither query nor user_ids is there")),
        Some(Which::Query(query)) if !query.is_empty() && limit > NAMED => {
            return Err(BridgeError::invalid(format!("limit goes up to {NAMED} with a query, not {limit}")));
        }
        Some(Which::Query(query)) => {
            d["query"] = json!(query);
            d["limit"] = json!(limit);
        }
        Some(Which::UserIds(_)) if limit != 0 => {
            return Err(BridgeError::invalid("limit goes with query, not with user_ids"));
        }
        Some(Which::UserIds(users)) => {
            d["user_ids"] = users.ids.iter().map(u64::to_string).collect();
        }
    }
    if !nonce.is_empty() {
        d["nonce"] = json!(nonce);
    }
    Ok(GatewayCommand::parse(json!({ "op": 8, "d": d }))?)
}

#[cfg(test)]
mod tests {
    use fleet_model::ErrorClass;

    use super::*;

    fn refused<T: std::fmt::Debug>(outcome: Result<T, BridgeError>, words: &str) {
        let error = outcome.unwrap_err();
        assert_eq!(error.class(), ErrorClass::InvalidInput, "{error}");
        assert!(error.message().contains(words), "{error}");
    }

    #[test]
    fn messages_become_payloads() {
        let playing = v1::Activity {
            name: "chess".to_owned(),
            r#type: 0,
            state: None,
            url: Some("https://example.com".to_owned()),
        };
        let request = v1::UpdatePresenceRequest {
            status: v1::PresenceStatus::DoNotDisturb.into(),
            activities: vec![playing],
            since_unix_ms: Some(5),
            ..Default::default()
        };
        let payload: Value = serde_json::from_str(presence(request).unwrap().text()).unwrap();
        let activity = json!({ "name": "chess", "type": 0, "url": "https://example.com" });
        assert_eq!(
            payload,
            json!({ "op": 3, "d": { "status": "dnd", "activities": [activity], "afk": false, "since": 5 } })
        );
        let request = v1::RequestGuildMembersRequest {
            guild_id: 7,
            which: Some(Which::UserIds(v1::UserIds { ids: vec![1, 2] })),
            nonce: "n".to_owned(),
            ..Default::default()
        };
        let payload: Value = serde_json::from_str(members(request).unwrap().text()).unwrap();
        let d = json!({ "guild_id": "7", "presences": false, "user_ids": ["1", "2"], "nonce": "n" });
        assert_eq!(payload, json!({ "op": 8, "d": d }));
    }

    #[test]
    fn invalid_commands_are_refused() {
        refused(presence(v1::UpdatePresenceRequest { status: 9, ..Default::default() }), "status 9");
        let nameless =
            v1::UpdatePresenceRequest { activities: vec![v1::Activity::default()], ..Default::default() };
        refused(presence(nameless), "name is empty");
        refused(voice_state(&v1::UpdateVoiceStateRequest::default()), "guild_id");
        let to_none = v1::UpdateVoiceStateRequest { guild_id: 7, channel_id: Some(0), ..Default::default() };
        refused(voice_state(&to_none), "channel_id");
        let ask = |which, limit| {
            members(v1::RequestGuildMembersRequest { guild_id: 7, which, limit, ..Default::default() })
        };
        refused(ask(None, 0), "neither");
        refused(ask(Some(Which::Query("a".to_owned())), 101), "up to 100");
        refused(ask(Some(Which::UserIds(v1::UserIds { ids: vec![1] })), 1), "goes with query");
        refused(ask(Some(Which::UserIds(v1::UserIds::default())), 0), "empty");
        refused(ask(Some(Which::UserIds(v1::UserIds { ids: vec![0] })), 0), "user_ids");
        assert!(ask(Some(Which::Query(String::new())), 1_000).is_ok());
    }
}

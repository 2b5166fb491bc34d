//! The routes under `/channels`.

use super::draft::{Draft, Purpose};
use crate::{
    event::PrebuiltEvent,
    rest::{
        Rest,
        error::RestError,
        input::RequestBody,
        lookup::{ChannelRef, parse_id},
        query::QueryFields,
    },
    world::{Snowflake, time},
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};

pub(crate) fn routes() -> Router<Rest> {
    Router::new()
        .route("/channels/{channel}", get(read_channel))
        .route("/channels/{channel}/typing", post(typing))
        .route("/channels/{channel}/messages", get(list).post(create))
        .route("/channels/{channel}/messages/bulk-delete", post(super::bulk::delete))
        .route("/channels/{channel}/messages/{message}", get(read).patch(edit).delete(delete))
}

fn place(rest: &Rest, channel: &str) -> Result<ChannelRef, RestError> {
    rest.place(parse_id("channel_id", channel)?)
}

/// Finds a message of the bot in this channel that is not ephemeral.
fn message_id(rest: &Rest, place: &ChannelRef, message: &str) -> Result<Snowflake, RestError> {
    let id = parse_id("message_id", message)?;
    let state = rest.state();
    let kept = state.messages.get(id).filter(|kept| kept.channel == place.channel_id() && !kept.ephemeral);
    kept.map(|_| id).ok_or(RestError::UNKNOWN_MESSAGE)
}

async fn read_channel(
    State(rest): State<Rest>,
    Path(channel): Path<String>,
) -> Result<Json<Value>, RestError> {
    Ok(Json(place(&rest, &channel)?.channel(&rest.hub.world)))
}

async fn typing(State(rest): State<Rest>, Path(channel): Path<String>) -> Result<StatusCode, RestError> {
    let hub = &rest.hub;
    let place = rest.text_place(&channel)?;
    let bot = hub.world.bot_id();
    let mut body = json!({
        "channel_id": place.channel_id(),
        "user_id": bot,
        "timestamp": time::unix_ms() / 1_000,
    });
    if let Some(guild) = place.guild() {
        body["guild_id"] = json!(hub.world.head(guild).id);
        body["member"] = json!(hub.world.member(guild, 0, true));
    }
    hub.dispatch(PrebuiltEvent::new("TYPING_START", place.guild(), &body, bot));
    Ok(StatusCode::NO_CONTENT)
}

async fn list(
    State(rest): State<Rest>,
    Path(channel): Path<String>,
    query: QueryFields,
) -> Result<Json<Vec<Value>>, RestError> {
    let (before, after) = (query.id("before")?, query.id("after")?);
    let limit = query.number("limit")?.unwrap_or(50).clamp(1, 100);
    let channel = place(&rest, &channel)?.channel_id();
    let state = rest.state();
    let messages = state
        .messages
        .in_channel(channel)
        .filter(|(id, _)| before.is_none_or(|before| *id < before))
        .filter(|(id, _)| after.is_none_or(|after| *id > after))
        .take(limit as usize);
    Ok(Json(messages.map(|(_, kept)| kept.body.clone()).collect()))
}

async fn create(
    State(rest): State<Rest>,
    Path(channel): Path<String>,
    input: RequestBody,
) -> Result<Json<Value>, RestError> {
    let place = rest.text_place(&channel)?;
    let draft = Draft::read(&input.json, &input.files, Purpose::Create, "")?;
    Ok(Json(super::create(&rest, &place, &draft)))
}

async fn read(
    State(rest): State<Rest>,
    Path((channel, message)): Path<(String, String)>,
) -> Result<Json<Value>, RestError> {
    let id = message_id(&rest, &place(&rest, &channel)?, &message)?;
    let body = rest.state().messages.get(id).map(|kept| kept.body.clone());
    body.map(Json).ok_or(RestError::UNKNOWN_MESSAGE)
}

async fn edit(
    State(rest): State<Rest>,
    Path((channel, message)): Path<(String, String)>,
    input: RequestBody,
) -> Result<Json<Value>, RestError> {
    let id = message_id(&rest, &place(&rest, &channel)?, &message)?;
    let draft = Draft::read(&input.json, &input.files, Purpose::Edit, "")?;
    super::edit(&rest, id, &draft).map(Json)
}

async fn delete(
    State(rest): State<Rest>,
    Path((channel, message)): Path<(String, String)>,
) -> Result<StatusCode, RestError> {
    let id = message_id(&rest, &place(&rest, &channel)?, &message)?;
    super::delete(&rest, id).map(|()| StatusCode::NO_CONTENT)
}

//! Reads guilds and users.
//!
//! [Guilds](https://docs.discord.com/developers/resources/guild),
//! [users](https://docs.discord.com/developers/resources/user).

use super::{
    error::RestError,
    form::Form,
    input::RequestBody,
    lookup::{ChannelRef, direct_channel_id, parse_id, snowflake, user_body},
    query::QueryFields,
};
use crate::{intents::Intents, rest::Rest, world::Snowflake};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Rest> {
    Router::new()
        .route("/guilds/{guild}", get(guild))
        .route("/guilds/{guild}/channels", get(channels))
        .route("/guilds/{guild}/roles", get(roles))
        .route("/guilds/{guild}/members", get(members))
        .route("/guilds/{guild}/members/{user}", get(member))
        .route("/users/{user}", get(user))
        .route("/users/@me/channels", post(direct_channel))
}

async fn guild(
    State(rest): State<Rest>,
    Path(guild): Path<String>,
    query: QueryFields,
) -> Result<Json<Value>, RestError> {
    let hub = &rest.hub;
    let guild = rest.guild(parse_id("guild_id", &guild)?)?;
    let mut body = json!(hub.world.rest_guild(guild));
    if query.boolean("with_counts")? {
        let members = hub.world.head(guild).members;
        body["approximate_member_count"] = members.into();
        // About one in four is online.
        body["approximate_presence_count"] = (members / 4).into();
    }
    Ok(Json(body))
}

async fn channels(State(rest): State<Rest>, Path(guild): Path<String>) -> Result<Json<Value>, RestError> {
    let hub = &rest.hub;
    let guild = rest.guild(parse_id("guild_id", &guild)?)?;
    Ok(Json(json!(hub.world.visible_channels(guild))))
}

async fn roles(State(rest): State<Rest>, Path(guild): Path<String>) -> Result<Json<Value>, RestError> {
    let hub = &rest.hub;
    let guild = rest.guild(parse_id("guild_id", &guild)?)?;
    Ok(Json(json!(hub.world.roles(guild))))
}

async fn member(
    State(rest): State<Rest>,
    Path((guild, user)): Path<(String, String)>,
) -> Result<Json<Value>, RestError> {
    let hub = &rest.hub;
    let guild = rest.guild(parse_id("guild_id", &guild)?)?;
    let user = parse_id("user_id", &user)?;
    user_body(&hub.world, user).ok_or(RestError::UNKNOWN_USER)?;
    let position = hub.world.member_position(guild, user).ok_or(RestError::UNKNOWN_MEMBER)?;
    Ok(Json(json!(hub.world.member(guild, position, true))))
}

/// Lists members, which needs GUILD_MEMBERS enabled for the application. The intents of IDENTIFY do not matter.
/// [Source](https://docs.discord.com/developers/events/gateway#http-restrictions).
async fn members(
    State(rest): State<Rest>,
    Path(guild): Path<String>,
    query: QueryFields,
) -> Result<Json<Vec<Value>>, RestError> {
    let hub = &rest.hub;
    let (limit, after) = (query.number("limit")?.unwrap_or(1), query.id("after")?.unwrap_or(Snowflake(0)));
    let guild = rest.guild(parse_id("guild_id", &guild)?)?;
    if !hub.config.privileged_intents.contains(Intents::GUILD_MEMBERS) {
        return Err(RestError::MISSING_ACCESS);
    }
    if !(1..=1_000).contains(&limit) {
        let mut form = Form::default();
        form.add_error("limit", "NUMBER_TYPE_RANGE", "int value should be between 1 and 1000.");
        form.finish()?;
    }
    let world = &hub.world;
    // Ids increase with the pool index; the bot's id is the lowest.
    let mut people: Vec<(u64, u64)> = (1..world.head(guild).members)
        .map(|position| (world.user_index(guild, position), position))
        .collect();
    people.sort_unstable();
    let ids = people.into_iter().map(|(user, position)| (world.user(user).id, position));
    let all = std::iter::once((world.bot_id(), 0)).chain(ids);
    let listed = all.skip_while(|(id, _)| *id <= after).take(limit as usize);
    Ok(Json(listed.map(|(_, position)| json!(world.member(guild, position, true))).collect()))
}

async fn user(State(rest): State<Rest>, Path(user): Path<String>) -> Result<Json<Value>, RestError> {
    // Some clients escape the `@`.
    if user == "@me" {
        return Ok(super::start::current_user(State(rest)).await);
    }
    let body = user_body(&rest.hub.world, parse_id("user_id", &user)?);
    body.map(Json).ok_or(RestError::UNKNOWN_USER)
}

async fn direct_channel(State(rest): State<Rest>, input: RequestBody) -> Result<Json<Value>, RestError> {
    let world = &rest.hub.world;
    let Some(id) = snowflake(&input.json["recipient_id"]) else {
        let mut form = Form::default();
        form.missing("recipient_id");
        return form.finish().and(Err(RestError::INVALID_FORM));
    };
    let user = world.find_user(id).ok_or(RestError::UNKNOWN_USER)?;
    Ok(Json(ChannelRef::Direct { id: direct_channel_id(id), user }.channel(world)))
}

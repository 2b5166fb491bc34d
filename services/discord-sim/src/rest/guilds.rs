//! Reading guilds and people.
//!
//! [Guilds](https://docs.discord.com/developers/resources/guild),
//! [users](https://docs.discord.com/developers/resources/user).

use super::{
    asked::Asked,
    form::Form,
    input::Input,
    lookup::{Place, direct_channel_id, parse_id, snowflake, user_body},
    problem::Problem,
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
    asked: Asked,
) -> Result<Json<Value>, Problem> {
    let hub = &rest.hub;
    let guild = rest.guild(parse_id("guild_id", &guild)?)?;
    let mut body = json!(hub.world.rest_guild(guild));
    if asked.boolean("with_counts")? {
        let members = hub.world.head(guild).members;
        body["approximate_member_count"] = members.into();
        // About one in four is online.
        body["approximate_presence_count"] = (members / 4).into();
    }
    Ok(Json(body))
}

async fn channels(State(rest): State<Rest>, Path(guild): Path<String>) -> Result<Json<Value>, Problem> {
    let hub = &rest.hub;
    let guild = rest.guild(parse_id("guild_id", &guild)?)?;
    Ok(Json(json!(hub.world.visible_channels(guild))))
}

async fn roles(State(rest): State<Rest>, Path(guild): Path<String>) -> Result<Json<Value>, Problem> {
    let hub = &rest.hub;
    let guild = rest.guild(parse_id("guild_id", &guild)?)?;
    Ok(Json(json!(hub.world.roles(guild))))
}

async fn member(
    State(rest): State<Rest>,
    Path((guild, user)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let hub = &rest.hub;
    let guild = rest.guild(parse_id("guild_id", &guild)?)?;
    let user = parse_id("user_id", &user)?;
    user_body(&hub.world, user).ok_or(Problem::UNKNOWN_USER)?;
    let position = hub.world.member_position(guild, user).ok_or(Problem::UNKNOWN_MEMBER)?;
    Ok(Json(json!(hub.world.member(guild, position, true))))
}

/// Needs GUILD_MEMBERS switched on for the application, whatever IDENTIFY asked for.
/// [Source](https://docs.discord.com/developers/events/gateway#http-restrictions).
async fn members(
    State(rest): State<Rest>,
    Path(guild): Path<String>,
    asked: Asked,
) -> Result<Json<Vec<Value>>, Problem> {
    let hub = &rest.hub;
    let (limit, after) = (asked.number("limit")?.unwrap_or(1), asked.id("after")?.unwrap_or(Snowflake(0)));
    let guild = rest.guild(parse_id("guild_id", &guild)?)?;
    if !hub.config.privileged_intents.contains(Intents::GUILD_MEMBERS) {
        return Err(Problem::MISSING_ACCESS);
    }
    if !(1..=1_000).contains(&limit) {
        let mut form = Form::default();
        form.wrong("limit", "NUMBER_TYPE_RANGE", "int value should be between 1 and 1000.");
        form.finish()?;
    }
    let world = &hub.world;
    // Ids rise with the place in the pool; the bot's is the lowest.
    let mut people: Vec<(u64, u64)> = (1..world.head(guild).members)
        .map(|position| (world.user_index(guild, position), position))
        .collect();
    people.sort_unstable();
    let ids = people.into_iter().map(|(user, position)| (world.user(user).id, position));
    let all = std::iter::once((world.bot_id(), 0)).chain(ids);
    let listed = all.skip_while(|(id, _)| *id <= after).take(limit as usize);
    Ok(Json(listed.map(|(_, position)| json!(world.member(guild, position, true))).collect()))
}

async fn user(State(rest): State<Rest>, Path(user): Path<String>) -> Result<Json<Value>, Problem> {
    // Some clients escape the `@`.
    if user == "@me" {
        return Ok(super::start::current_user(State(rest)).await);
    }
    let body = user_body(&rest.hub.world, parse_id("user_id", &user)?);
    body.map(Json).ok_or(Problem::UNKNOWN_USER)
}

async fn direct_channel(State(rest): State<Rest>, input: Input) -> Result<Json<Value>, Problem> {
    let world = &rest.hub.world;
    let Some(id) = snowflake(&input.json["recipient_id"]) else {
        let mut form = Form::default();
        form.missing("recipient_id");
        return form.finish().and(Err(Problem::INVALID_FORM));
    };
    let user = world.find_user(id).ok_or(Problem::UNKNOWN_USER)?;
    Ok(Json(Place::Direct { id: direct_channel_id(id), user }.channel(world)))
}

//! The routes under `/applications`.

use super::{ChangeStamp, Scope};
use crate::{
    hub::Hub,
    rest::{Rest, error::RestError, input::RequestBody, lookup::parse_id, query::QueryFields},
    world::{Snowflake, time},
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;
use serde_json::Value;

pub(crate) fn routes() -> Router<Rest> {
    Router::new()
        .route("/applications/{application}/commands", get(list).post(put).put(replace))
        .route("/applications/{application}/commands/{command}", get(read).patch(change).delete(delete))
        .route("/applications/{application}/guilds/{guild}/commands", get(list).post(put).put(replace))
        .route(
            "/applications/{application}/guilds/{guild}/commands/{command}",
            get(read).patch(change).delete(delete),
        )
}

/// Path parameters: an application, and optionally a guild and a command.
#[derive(Debug, Deserialize)]
struct CommandPath {
    application: String,
    guild: Option<String>,
    command: Option<String>,
}

impl CommandPath {
    /// Returns the scope.
    ///
    /// # Errors
    ///
    /// The application is not the bot's, or the bot is not in the guild.
    fn scope(&self, rest: &Rest) -> Result<Scope, RestError> {
        if parse_id("application_id", &self.application)? != rest.hub.world.bot_id() {
            return Err(RestError::NOT_YOUR_APPLICATION);
        }
        let Some(guild) = &self.guild else { return Ok(None) };
        let guild = parse_id("guild_id", guild)?;
        match rest.guild(guild) {
            Ok(_) | Err(RestError::UNAVAILABLE) => Ok(Some(guild)),
            Err(_) => Err(RestError::MISSING_ACCESS),
        }
    }

    fn command(&self) -> Result<Snowflake, RestError> {
        parse_id("command_id", self.command.as_deref().unwrap_or_default())
    }
}

fn now(hub: &Hub) -> ChangeStamp {
    ChangeStamp { application: hub.world.bot_id(), at: hub.now(), wall_ms: time::now_ms() }
}

async fn list(
    State(rest): State<Rest>,
    Path(path): Path<CommandPath>,
    query: QueryFields,
) -> Result<Json<Vec<Value>>, RestError> {
    let scope = path.scope(&rest)?;
    let whole = query.boolean("with_localizations")?;
    let mut all = rest.state().commands.list(scope).to_vec();
    if !whole {
        for fields in all.iter_mut().filter_map(Value::as_object_mut) {
            fields.remove("name_localizations");
            fields.remove("description_localizations");
        }
    }
    Ok(Json(all))
}

async fn put(
    State(rest): State<Rest>,
    Path(path): Path<CommandPath>,
    input: RequestBody,
) -> Result<(StatusCode, Json<Value>), RestError> {
    let hub = &rest.hub;
    let scope = path.scope(&rest)?;
    let (command, new) = rest.state().commands.put(scope, &input.json, now(hub))?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(command)))
}

async fn replace(
    State(rest): State<Rest>,
    Path(path): Path<CommandPath>,
    input: RequestBody,
) -> Result<Json<Vec<Value>>, RestError> {
    let hub = &rest.hub;
    let scope = path.scope(&rest)?;
    let mut state = rest.state();
    state.commands.replace(scope, &input.json, now(hub)).map(|all| Json(all.to_vec()))
}

async fn read(State(rest): State<Rest>, Path(path): Path<CommandPath>) -> Result<Json<Value>, RestError> {
    let scope = path.scope(&rest)?;
    rest.state().commands.get(scope, path.command()?).cloned().map(Json)
}

async fn change(
    State(rest): State<Rest>,
    Path(path): Path<CommandPath>,
    input: RequestBody,
) -> Result<Json<Value>, RestError> {
    let hub = &rest.hub;
    let scope = path.scope(&rest)?;
    rest.state().commands.change(scope, path.command()?, &input.json, now(hub)).map(Json)
}

async fn delete(State(rest): State<Rest>, Path(path): Path<CommandPath>) -> Result<StatusCode, RestError> {
    let scope = path.scope(&rest)?;
    rest.state().commands.delete(scope, path.command()?).map(|()| StatusCode::NO_CONTENT)
}

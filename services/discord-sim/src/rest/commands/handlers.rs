//! The routes under `/applications`.

use super::{Now, Scope};
use crate::{
    hub::Hub,
    rest::{Rest, asked::Asked, input::Input, lookup::parse_id, problem::Problem},
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

/// What a path names: an application, perhaps a guild, perhaps a command.
#[derive(Debug, Deserialize)]
struct Names {
    application: String,
    guild: Option<String>,
    command: Option<String>,
}

impl Names {
    /// Whose commands these are.
    ///
    /// # Errors
    ///
    /// When the application is another one's, or the bot is not in the guild.
    fn scope(&self, rest: &Rest) -> Result<Scope, Problem> {
        if parse_id("application_id", &self.application)? != rest.hub.world.bot_id() {
            return Err(Problem::NOT_YOUR_APPLICATION);
        }
        let Some(guild) = &self.guild else { return Ok(None) };
        let guild = parse_id("guild_id", guild)?;
        match rest.guild(guild) {
            Ok(_) | Err(Problem::UNAVAILABLE) => Ok(Some(guild)),
            Err(_) => Err(Problem::MISSING_ACCESS),
        }
    }

    fn command(&self) -> Result<Snowflake, Problem> {
        parse_id("command_id", self.command.as_deref().unwrap_or_default())
    }
}

fn now(hub: &Hub) -> Now {
    Now { application: hub.world.bot_id(), at: hub.now(), wall_ms: time::now_ms() }
}

async fn list(
    State(rest): State<Rest>,
    Path(names): Path<Names>,
    asked: Asked,
) -> Result<Json<Vec<Value>>, Problem> {
    let scope = names.scope(&rest)?;
    let whole = asked.boolean("with_localizations")?;
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
    Path(names): Path<Names>,
    input: Input,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let hub = &rest.hub;
    let scope = names.scope(&rest)?;
    let (command, new) = rest.state().commands.put(scope, &input.json, now(hub))?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(command)))
}

async fn replace(
    State(rest): State<Rest>,
    Path(names): Path<Names>,
    input: Input,
) -> Result<Json<Vec<Value>>, Problem> {
    let hub = &rest.hub;
    let scope = names.scope(&rest)?;
    let mut state = rest.state();
    state.commands.replace(scope, &input.json, now(hub)).map(|all| Json(all.to_vec()))
}

async fn read(State(rest): State<Rest>, Path(names): Path<Names>) -> Result<Json<Value>, Problem> {
    let scope = names.scope(&rest)?;
    rest.state().commands.get(scope, names.command()?).cloned().map(Json)
}

async fn change(
    State(rest): State<Rest>,
    Path(names): Path<Names>,
    input: Input,
) -> Result<Json<Value>, Problem> {
    let hub = &rest.hub;
    let scope = names.scope(&rest)?;
    rest.state().commands.change(scope, names.command()?, &input.json, now(hub)).map(Json)
}

async fn delete(State(rest): State<Rest>, Path(names): Path<Names>) -> Result<StatusCode, Problem> {
    let scope = names.scope(&rest)?;
    rest.state().commands.delete(scope, names.command()?).map(|()| StatusCode::NO_CONTENT)
}

//! REST calls of the tests.

use crate::{
    client::first_guild,
    http::{HttpResponse, raw},
};
use discord_sim::{Control, NewInteraction, Sim, Snowflake};
use serde_json::{Value, json};

/// Headers that a library sends with every call.
pub(crate) const USUAL: &str = "User-Agent: DiscordBot (https://example.com, 1)\r\nAuthorization: Bot t\r\nContent-Type: application/json\r\n";

/// A call under `/api/v10`, as a library makes it.
pub(crate) async fn call(sim: &Sim, method: &str, path: &str, body: Value) -> HttpResponse {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    raw(sim, method, &format!("/api/v10{path}"), USUAL, body.as_bytes()).await
}

/// A GET under `/api/v10`.
pub(crate) async fn get(sim: &Sim, path: &str) -> HttpResponse {
    call(sim, "GET", path, Value::Null).await
}

/// Returns the application's id, which is the bot's.
pub(crate) async fn application(sim: &Sim) -> String {
    get(sim, "/users/@me").await.json()["id"].as_str().unwrap().to_owned()
}

/// Returns the first guild and its first text channel.
pub(crate) async fn somewhere(sim: &Sim) -> (Snowflake, String) {
    let guild = first_guild(&sim.control());
    let channels = get(sim, &format!("/guilds/{guild}/channels")).await.json();
    let channel = channels.as_array().unwrap().iter().find(|channel| channel["type"] == 0).unwrap();
    (guild, channel["id"].as_str().unwrap().to_owned())
}

/// Returns the kinds of all violations, in order.
pub(crate) fn violations(control: &Control) -> Vec<String> {
    let kind = |one: &discord_sim::Violation| json!(one.kind).as_str().unwrap().to_owned();
    control.violations().items.iter().map(kind).collect()
}

/// A person calls `/ping`.
pub(crate) fn ping() -> NewInteraction {
    NewInteraction { command: Some("ping".into()), ..NewInteraction::default() }
}

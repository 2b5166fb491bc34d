//! One REST call by hand.

use discord_sim::{Control, NewInteraction, Sim, Snowflake};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What a call was answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn code(&self) -> (u16, u64) {
        (self.status, self.json()["code"].as_u64().unwrap())
    }
}

/// A call with exactly these headers, over HTTP/1.0.
pub(crate) async fn raw(sim: &Sim, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut socket = TcpStream::connect(sim.addr()).await.unwrap();
    let head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    socket.write_all(head.as_bytes()).await.unwrap();
    // The other side may have answered before all of a large body is written.
    let _ = socket.write_all(body).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), text: text.to_owned() }
}

/// What a library sends with every call.
pub(crate) const USUAL: &str = "User-Agent: DiscordBot (https://example.com, 1)\r\nAuthorization: Bot t\r\nContent-Type: application/json\r\n";

/// A call under `/api/v10`, as a library makes it.
pub(crate) async fn call(sim: &Sim, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    raw(sim, method, &format!("/api/v10{path}"), USUAL, body.as_bytes()).await
}

/// A GET under `/api/v10`.
pub(crate) async fn get(sim: &Sim, path: &str) -> Answer {
    call(sim, "GET", path, Value::Null).await
}

/// The application's id, which is the bot's.
pub(crate) async fn application(sim: &Sim) -> String {
    get(sim, "/users/@me").await.json()["id"].as_str().unwrap().to_owned()
}

/// The first guild and its first text channel.
pub(crate) async fn somewhere(sim: &Sim) -> (Snowflake, String) {
    let guild = sim.control().guilds(1, 1)[0].id;
    let channels = get(sim, &format!("/guilds/{guild}/channels")).await.json();
    let channel = channels.as_array().unwrap().iter().find(|channel| channel["type"] == 0).unwrap();
    (guild, channel["id"].as_str().unwrap().to_owned())
}

/// The kinds of all broken rules, in order.
pub(crate) fn violations(control: &Control) -> Vec<String> {
    let kind = |one: &discord_sim::Violation| json!(one.kind).as_str().unwrap().to_owned();
    control.violations().items.iter().map(kind).collect()
}

/// Somebody calls `/ping`.
pub(crate) fn ping() -> NewInteraction {
    NewInteraction { command: Some("ping".into()), ..NewInteraction::default() }
}

//! Presets of REST.

use super::preset;
use crate::{
    client::{Client, quick, start},
    http::HttpResponse,
    rest::call::{USUAL, get},
};
use discord_sim::{Fault, Sim, SimConfig};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

type Check = fn(&HttpResponse) -> bool;

/// The preset, a call, and a check of its answer.
const ROWS: &[(&str, &str, Check)] = &[
    ("gateway_bot_blocked", "/gateway/bot", |answer| {
        (answer.status, answer.header("retry-after"), answer.header("via")) == (429, Some("20"), None)
            && answer.header("content-type") == Some("text/html")
            && answer.text == "error code: 1015"
    }),
    ("gateway_bot_global_429", "/gateway/bot", |answer| {
        answer.status == 429
            && answer.header("x-ratelimit-global") == Some("true")
            && (answer.header("x-ratelimit-bucket"), answer.header("via")) == (None, Some("1.1 google"))
    }),
    ("gateway_bot_html", "/gateway/bot", |answer| {
        answer.status == 200 && answer.text.starts_with("<!DOCTYPE")
    }),
    ("gateway_bot_url_foreign", "/gateway/bot", |answer| {
        answer.json()["url"] == "wss://gateway.discord.gg.example.invalid" && answer.json()["shards"] == 2
    }),
    ("max_concurrency_one", "/gateway/bot", |answer| {
        answer.json()["session_start_limit"]["max_concurrency"] == 1
    }),
    ("session_starts_used_up", "/gateway/bot", |answer| {
        answer.json()["session_start_limit"]["remaining"] == 0
    }),
    ("shards_doubled", "/gateway/bot", |answer| answer.json()["shards"] == 4),
    ("address_blocked", "/users/@me", |answer| {
        (answer.status, answer.header("via"), answer.header("retry-after")) == (429, None, None)
            && answer.header("server") == Some("cloudflare")
            && answer.json()["code"] == 0
    }),
    ("address_blocked_page", "/gateway", |answer| {
        answer.status == 429 && answer.header("retry-after").is_none() && answer.text == "error code: 1015"
    }),
    ("rest_html_502", "/users/@me", |answer| answer.status == 502 && answer.text.contains("nginx")),
    ("rest_429_wait_in_body", "/users/@me", |answer| {
        answer.status == 429
            && (answer.header("retry-after"), answer.header("x-ratelimit-reset-after")) == (None, None)
            && answer.json()["retry_after"] == 2.5
    }),
    ("rest_429_http_date", "/users/@me", |answer| {
        let date = answer.header("retry-after").unwrap();
        answer.status == 429 && date.ends_with(" GMT") && date.split(' ').count() == 6
    }),
    ("rest_429_wait_malformed", "/users/@me", |answer| {
        answer.status == 429 && answer.header("retry-after") == Some("-1")
    }),
    ("rest_not_json", "/users/@me", |answer| {
        answer.status == 200 && serde_json::from_str::<serde_json::Value>(&answer.text).is_err()
    }),
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(name, ..)| *name).chain(["rest_reset"])
}

async fn two_shards() -> Sim {
    start(SimConfig { shards: Some(2), max_concurrency: 2, ..quick() }).await
}

#[tokio::test]
async fn rest_presets_have_their_effects() {
    for (name, path, check) in ROWS {
        let sim = two_shards().await;
        preset(&sim, name);
        let answer = get(&sim, path).await;
        assert!(check(&answer), "{name}: {answer:?}");
        sim.control().inject(Fault::ClearOddities { name: Some((*name).into()) }).unwrap();
        assert_eq!(get(&sim, path).await.status, 200, "{name} is cleared");
        let banned = sim.control().requests().callers.iter().any(|caller| caller.invalid_requests > 0);
        assert!(!banned, "{name}: an oddity's answer must not count as an invalid request");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn calls_can_be_reset() {
    let sim = two_shards().await;
    preset(&sim, "rest_reset");
    let mut socket = TcpStream::connect(sim.addr()).await.unwrap();
    let call = format!("GET /api/v10/users/@me HTTP/1.0\r\n{USUAL}\r\n");
    socket.write_all(call.as_bytes()).await.unwrap();
    let ended = socket.read_to_end(&mut Vec::new()).await;
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    sim.shutdown().await;
}

#[tokio::test]
async fn identifies_follow_a_changed_limit() {
    let config = SimConfig { identify_interval: std::time::Duration::from_mins(1), ..quick() };
    let sim = start(SimConfig { shards: Some(2), max_concurrency: 2, ..config }).await;
    preset(&sim, "max_concurrency_one");
    let (_zero, ..) = Client::open(&sim, (0, 2), 0).await;
    let mut one = Client::connect(&sim).await;
    one.identify((1, 2), 0).await;
    assert_eq!(one.payload().await, json!({"t": null, "s": null, "op": 9, "d": false}));
    preset(&sim, "session_starts_used_up");
    one.identify((1, 2), 0).await;
    assert_eq!(one.close_code().await, 4004);
    sim.shutdown().await;
}

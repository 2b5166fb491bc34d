//! Requests that the proxy rejects without Discord: from web pages, with other tokens, for the gateway, malformed ones.

use discord_rest::Caller;
use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    PATIENCE,
    bench::{Bench, Setting},
    discord::{Discord, answer, at_once},
};

async fn bench() -> (Discord, Bench) {
    let discord = Discord::start(at_once(|_, _| answer(401, &[], "{}"))).await;
    let setting = Setting { only_token: Some(Caller::bot("judge")), ..Setting::default() };
    let bench = Bench::start(discord.address, setting).await;
    (discord, bench)
}

/// Sends raw text and returns the status.
async fn raw(bench: &Bench, text: &str) -> u16 {
    let mut caller = TcpStream::connect(bench.address).await.unwrap();
    caller.write_all(text.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    timeout(PATIENCE, caller.read_exact(&mut start)).await.expect("an answer").unwrap();
    String::from_utf8_lossy(&start[9..]).parse().unwrap()
}

#[tokio::test]
async fn foreign_requests_never_reach_discord() {
    let (discord, bench) = bench().await;
    for (method, path, header, value, status, says) in [
        (Method::GET, "/users/@me", "origin", "http://evil.example", 403, "web pages"),
        (Method::POST, "/webhooks/1/token", "origin", "null", 403, "web pages"),
        (Method::GET, "/users/@me", "sec-fetch-site", "cross-site", 403, "web pages"),
        (Method::GET, "/users/@me", "sec-fetch-mode", "no-cors", 403, "web pages"),
        (Method::OPTIONS, "/users/@me", "origin", "http://evil.example", 403, "web pages"),
        (Method::GET, "/users/@me", "host", "evil.example:3080", 403, "REST_LISTEN"),
        (Method::GET, "/users/@me", "authorization", "Bot random", 401, "REST_ALLOW_ANY_TOKEN"),
        (Method::GET, "/users/@me", "authorization", "Bearer judge", 401, "REST_ALLOW_ANY_TOKEN"),
        (Method::POST, "/webhooks/1/token", "authorization", "Bot random", 401, "REST_ALLOW_ANY_TOKEN"),
        (Method::GET, "/gateway/bot", "x-any", "1", 403, "REST_ALLOW_GATEWAY"),
        (Method::GET, "/gateway", "x-any", "1", 403, "REST_ALLOW_GATEWAY"),
        (Method::GET, "/gateway/bot/?a=b", "x-any", "1", 403, "REST_ALLOW_GATEWAY"),
        (Method::GET, "/Gateway/bot", "x-any", "1", 403, "REST_ALLOW_GATEWAY"),
        (Method::GET, "/%67ateway/bot", "x-any", "1", 403, "REST_ALLOW_GATEWAY"),
    ] {
        let mut request = bench.request(&method, path, "");
        request.headers_mut().insert(header, value.parse().unwrap());
        let got = bench.send(request).await;
        assert_eq!(
            (got.status.as_u16(), got.header("x-answered-by")),
            (status, "altergolden"),
            "{path} {value}"
        );
        let body: serde_json::Value = serde_json::from_str(&got.body).unwrap();
        assert!(body["code"] == 0 && body["message"].as_str().unwrap().contains(says), "{path}: {body}");
    }
    let mut without = bench.request(&Method::GET, "/users/@me", "");
    without.headers_mut().remove("authorization");
    assert_eq!(bench.send(without).await.status, 401);
    assert_eq!(discord.came().len(), 0);
    assert_eq!(bench.metric("rest_invalid_requests"), 0);
    assert!(bench.status.problems().is_empty());
    for path in ["/webhooks/1/token", "/interactions/1/token/callback"] {
        let mut without = bench.request(&Method::POST, path, "{}");
        without.headers_mut().remove("authorization");
        assert_eq!(bench.send(without).await.header("x-answered-by"), "", "{path} needs no token");
    }
    assert_eq!(discord.came().len(), 2);
    bench.finish().await;
}

#[tokio::test]
async fn malformed_requests_do_not_count_against_discord() {
    let (_discord, bench) = bench().await;
    let head =
        "POST /api/v10/channels/7/messages HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bot judge\r\n";
    for (rest, status) in [
        ("transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n", 400),
        ("transfer-encoding: chunked\r\n\r\n-1\r\nabc\r\n", 400),
        ("transfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n", 400),
        ("transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n", 400),
        ("transfer-encoding: chunked\r\n\r\n3\nabc\n", 400),
        ("transfer-encoding: gzip\r\n\r\nabc", 400),
        ("content-length: abc\r\n\r\nabc", 400),
        ("content-length: -1\r\n\r\n", 400),
        ("content-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400),
        ("content-length: 99999999999999999999999\r\n\r\n", 400),
        ("content-length: 999999999999\r\n\r\n", 413),
    ] {
        assert_eq!(raw(&bench, &format!("{head}{rest}")).await, status, "{rest:?}");
    }
    // Bodies that end before their length.
    for rest in [
        "content-length: 10\r\n\r\nabc",
        "content-length: 400000\r\n\r\nabc",
        "transfer-encoding: chunked\r\n\r\n5\r\nab",
    ] {
        let mut caller = TcpStream::connect(bench.address).await.unwrap();
        caller.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
        caller.shutdown().await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, caller.read_to_string(&mut answer)).await.expect("an end").unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{rest:?}: {answer}");
    }
    assert_eq!(bench.metric("rest_invalid_requests"), 0, "none of them reached Discord");
    bench.finish().await;
}

//! Malformed and unusual answers over real sockets.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;

use super::{
    odd::{OddDiscord, answer, json, response},
    *,
};

fn client(address: SocketAddr) -> Discord {
    let api = format!("http://{address}").parse().unwrap();
    Discord::new(&Secret::new("t"), Some(&api), None).unwrap()
}

const HTML: &str = "content-type: text/html\r\n";
const DAY: u64 = 24 * 3600;

/// The status line, header lines and body of a refusal; what the problem says; the least and the most seconds to wait.
type Row = (&'static str, &'static str, &'static str, &'static str, (u64, u64));

#[tokio::test]
async fn refusals_are_waited_out_and_named() {
    let block = r#"{"code":0,"message":"You are being blocked from accessing our API temporarily"}"#;
    let rows: &[Row] = &[
        (
            "429 x",
            "content-type: text/html\r\nretry-after: 20\r\n",
            "error code: 1015",
            "Cloudflare error 1015",
            (20, 22),
        ),
        ("429 x", HTML, "error code: 1015", "status 429 (text/html): Cloudflare error 1015", (60, 62)),
        ("403 x", HTML, "<html>\n<title>Access denied</title>", "status 403 (text/html)", (60, 62)),
        (
            "429 x",
            "content-type: application/json\r\nserver: cloudflare\r\n",
            block,
            "being blocked",
            (60, 62),
        ),
        (
            "429 x",
            "x-ratelimit-global: true\r\n",
            r#"{"retry_after":2.5,"global":true}"#,
            "status 429",
            (2, 4),
        ),
        ("429 x", "retry-after: 1.5\r\n", r#"{"retry_after":30}"#, "status 429", (30, 32)),
        (
            "429 x",
            "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:37 GMT\r\n",
            "",
            "429",
            (60, 62),
        ),
        ("429 x", "retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n", "", "429", (3_600, 3_602)),
        ("429 x", "retry-after: 1e300\r\n", "", "429", (3_600, 3_602)),
        ("429 x", "retry-after: inf\r\n", "", "429", (60, 62)),
        ("403 x", "retry-after: 86400\r\n", "", "403", (3_600, 3_602)),
        ("503 x", "content-type: text/html\r\nretry-after: 86400\r\n", "", "status 503", (60, 62)),
        ("502 x", "", r#"{"retry_after":86400}"#, "status 502", (60, 62)),
        ("429 x", "retry-after: -5\r\n", r#"{"retry_after":-1}"#, "429", (60, 62)),
        ("429 x", "retry-after: nan\r\n", r#"{"retry_after":"soon"}"#, "429", (60, 62)),
        ("503 x", "retry-after: 7\r\n", "", "status 503", (7, 9)),
        ("502 x", HTML, "<html>bad gateway</html>", "status 502 (text/html)", (1, 2)),
        ("200 OK", HTML, "<html>sign in</html>", "status 200 (text/html) whose body is not JSON", (1, 2)),
        ("200 OK", "", "", "status 200 whose body is not JSON", (1, 2)),
        ("301 x", "location: https://elsewhere\r\n", "", "status 301", (1, 2)),
        ("500 x", "", "{\"message\":\"a\\u001b[2Jb\\nc\"}", "status 500: a\\u{1b}[2Jb\\nc", (1, 2)),
        (
            "401 x",
            "content-type: application/json\r\n",
            r#"{"message":"401: Unauthorized","code":0}"#,
            "check DISCORD_TOKEN",
            (600, 602),
        ),
    ];
    for (status, headers, body, says, (least, most)) in rows {
        let OddDiscord { address, .. } = OddDiscord::start(vec![response(status, headers, body)]).await;
        let discord = client(address);
        discord.gateway_info().await.unwrap_err();
        let problem = discord.problem().unwrap();
        assert!(problem.message.contains(says), "{status} {headers}{body}: {}", problem.message);
        assert!(!problem.message.contains("expected value"), "{}", problem.message);
        let wait = discord.pacing().not_before.saturating_duration_since(Instant::now()).as_secs_f64();
        assert!(wait > *least as f64 - 0.9 && wait <= *most as f64, "{status} {headers}{body}: {wait} s");
        let refused =
            if *status == "401 x" { ProblemCode::TokenRefused } else { ProblemCode::DiscordUnreachable };
        assert_eq!((problem.code, problem.since_unix_ms.is_some()), (refused, true));
    }
}

#[tokio::test]
async fn malformed_answers_are_named_and_bounded() {
    let limit = ["1000", "999", "86400000", "1"];
    let wide = format!("{{\"url\":\"{}\"}}", "x".repeat(MOST_BYTES));
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (json("{}"), "has no ws:// or wss:// URL"),
        (json("[]"), "has no ws://"),
        (json("null"), "has no ws://"),
        (json(&answer("4294967296", limit)), "4294967296 shards: the limit is 65536"),
        (json(&answer("65537", limit)), "the limit is 65536"),
        (json(&answer("-1", limit)), "has no number at /shards"),
        (json(&answer("1e9", limit)), "1000000000 shards: the limit is 65536"),
        (json(&answer("4.5", limit)), "has no number at /shards"),
        (json(&answer("1e300", limit)), "has no number at /shards"),
        (json(&answer("\"four\"", limit)), "has no number at /shards"),
        (json(&answer("4", ["null", "1", "1", "1"])), "has no number at /session_start_limit/total"),
        (json(&answer("4", ["1", "1", "1", "18446744073709551616"])), "/session_start_limit/max_concurrency"),
        (json(&answer("4", limit).replace("wss://gateway.discord.gg", "https://x")), "has no ws://"),
        (json(&answer("4", limit).replace("wss://gateway.discord.gg", "wss://a b")), "has no ws://"),
        (json(&wide), "is truncated or too long"),
        (json("["), "is not JSON"),
        (json(&"[".repeat(20_000)), "is not JSON"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"url\"".to_vec(), "is truncated"),
        (b"\xff\xfe\x00garbage".to_vec(), "GET /gateway/bot failed"),
        (Vec::new(), "GET /gateway/bot failed"),
    ];
    for (bytes, says) in rows {
        let OddDiscord { address, .. } = OddDiscord::start(vec![bytes]).await;
        let discord = client(address);
        let error = discord.gateway_info().await.unwrap_err().to_string();
        assert!(error.contains(says) && error.len() < 400, "{says}: {error}");
        assert_eq!(discord.problem().unwrap().code, ProblemCode::DiscordUnreachable);
    }
}

#[tokio::test]
async fn numbers_are_clamped() {
    let huge = "18446744073709551615";
    // Shards, then total, remaining, reset_after, max_concurrency.
    let rows = [
        (("4", ["1000", "999", "86400000", "16"]), (4, 1000, 999, DAY, 16)),
        (("0", ["0", "5", "0", "0"]), (0, 0, 0, 60, 1)),
        (("65536", [huge, huge, huge, huge]), (65_536, u32::MAX, u32::MAX, DAY, 65_536)),
        (("1", ["10", "11", "61000", "1"]), (1, 10, 10, 61, 1)),
        (("4.0", ["1e3", "\"999\"", "86400000.0", "\"16\""]), (4, 1000, 999, DAY, 16)),
    ];
    for ((shards, limit), expected) in rows {
        let OddDiscord { address, .. } = OddDiscord::start(vec![json(&answer(shards, limit))]).await;
        let info = client(address).gateway_info().await.unwrap();
        let advice = info.advice;
        let found =
            (advice.shards, info.total, info.remaining, info.reset_after.as_secs(), advice.max_concurrency);
        assert_eq!(found, expected, "{shards} {limit:?}");
        assert_eq!(info.url, "wss://gateway.discord.gg");
    }
}

#[tokio::test]
async fn configured_gateway_replaces_the_answered_url() {
    let body = answer("4", ["1", "1", "1", "1"]).replace("wss://gateway.discord.gg", "no url");
    let OddDiscord { address, .. } = OddDiscord::start(vec![json(&body)]).await;
    let (api, gateway) = (format!("http://{address}").parse().unwrap(), "ws://127.0.0.1:9".parse().unwrap());
    let discord = Discord::new(&Secret::new("t"), Some(&api), Some(&gateway)).unwrap();
    assert_eq!(discord.gateway_info().await.unwrap().url, "ws://127.0.0.1:9");
}

#[tokio::test]
async fn no_request_is_sent_before_the_wait_of_a_429_is_over() {
    let odd = OddDiscord::start(vec![response("429 x", HTML, "error code: 1015")]).await;
    let discord = Arc::new(client(odd.address));
    discord.gateway_info().await.unwrap_err();
    let asking: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let discord = discord.clone();
                async move { discord.gateway_info().await.map(drop) }
            })
        })
        .collect();
    let at_last = timeout(Duration::from_millis(1_500), discord.gateway_info_at_last()).await;
    assert!(at_last.is_err(), "it waits");
    assert_eq!(odd.requests(), 1);
    asking.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn answer_ends_the_problem_and_requests_stay_spaced() {
    let good = json(&answer("1", ["1", "1", "1", "1"]));
    let odd = OddDiscord::start(vec![response("502 x", HTML, ""), good]).await;
    let discord = client(odd.address);
    let began = Instant::now();
    discord.gateway_info_at_last().await.unwrap();
    assert_eq!(discord.problem(), None);
    discord.gateway_info().await.unwrap();
    assert_eq!(odd.requests(), 3, "502, and two that were answered");
    assert!(began.elapsed() >= 2 * SPACING, "{:?}", began.elapsed());
}

#[tokio::test]
async fn unreachable_discord_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let discord = client(address);
    let error = discord.gateway_info().await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn token_with_invalid_characters_is_named() {
    let error = Discord::new(&Secret::new("a\nb"), None, None).unwrap_err().to_string();
    assert!(error.contains("DISCORD_TOKEN") && !error.contains("a\nb"), "{error}");
}

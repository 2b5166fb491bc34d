//! 429s, waits, the breaker and refused tokens, as callers of the proxy see them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use discord_rest::{ANSWER_429_AS, LimitRules, MemoryBudget};
use futures_util::future::join_all;
use http::{Method, StatusCode};
use tokio::sync::Barrier;

use crate::{
    bench::{Bench, Setting},
    discord::{Discord, answer, at_once},
    until,
};

const ONE_SECOND: [(&str, &str); 6] = [
    ("retry-after", "1"),
    ("x-ratelimit-bucket", "b"),
    ("x-ratelimit-limit", "5"),
    ("x-ratelimit-remaining", "0"),
    ("x-ratelimit-reset-after", "0.4"),
    ("content-type", "application/json"),
];
const LIMITED: &str =
    r#"{"message":"You are being rate limited.","retry_after":0.4,"global":false,"code":0}"#;

fn limited(scope: &'static str) -> Vec<(&'static str, &'static str)> {
    [ONE_SECOND.as_slice(), &[("x-ratelimit-scope", scope)]].concat()
}

/// The first request is refused with this scope, all others are taken.
async fn first_refused(scope: &'static str) -> Discord {
    let says = move |number, _: &_| match number {
        0 => answer(429, &limited(scope), LIMITED),
        _ => answer(200, &[], "{}"),
    };
    Discord::start(at_once(says)).await
}

#[tokio::test]
async fn a_429_of_each_scope_is_waited_out_and_not_seen() {
    for (scope, at_least) in [("user", 400), ("shared", 1_000), ("global", 1_000)] {
        let discord = first_refused(scope).await;
        let bench = Bench::to(discord.address).await;
        let got = bench.post("/channels/7/messages", r#"{"content":"x"}"#).await;
        assert_eq!(got.status, 200, "{scope}");
        let came = discord.came();
        let [refused, taken] = came.as_slice() else { panic!("{scope}: {came:?}") };
        assert_eq!(
            (&refused.body, &refused.path),
            (&taken.body, &taken.path),
            "{scope}: it is the same request"
        );
        let waited = taken.at - refused.at;
        assert!(waited >= Duration::from_millis(at_least), "{scope}: sent again after {waited:?}");
        assert_eq!(bench.metric(&format!("rest_limited_total{{scope=\"{scope}\"}}")), 1);
        assert_eq!(bench.metric("rest_retries_total"), 1);
        bench.finish().await;
    }
}

#[tokio::test]
async fn a_stopped_bucket_delays_no_other_route_and_a_global_429_delays_all() {
    for (scope, elsewhere_waits) in [("user", false), ("shared", false), ("global", true)] {
        let discord = first_refused(scope).await;
        let bench = Bench::to(discord.address).await;
        let stopped = bench.post("/channels/7/messages", "{}");
        let others = async {
            until("the 429", || discord.came().len() == 1).await;
            // What the proxy reads off the answer comes a moment after.
            until("it to be told", || bench.metric(&format!("rest_limited_total{{scope=\"{scope}\"}}")) == 1)
                .await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            tokio::join!(
                bench.get("/guilds/1"),
                bench.post("/webhooks/1/token", "{}"),
                bench.post("/interactions/1/token/callback", "{}")
            )
        };
        tokio::join!(stopped, others);
        let came = discord.came();
        let place = |path: &str| came.iter().skip(1).position(|came| came.path.contains(path)).unwrap();
        assert_eq!(place("/guilds/1") > place("/webhooks/1"), elsewhere_waits, "{scope}: {came:?}");
        assert!(place("/interactions/1") < place("/channels/7"), "{scope}");
        assert!(place("/webhooks/1") < place("/channels/7"), "{scope}");
        bench.finish().await;
    }
}

#[tokio::test]
async fn long_429_is_forwarded_unchanged() {
    let discord = Discord::start(at_once(|_, came| match came.path.as_str() {
        // Ten minutes, of a limit within the bucket.
        "/api/v10/channels/1" => {
            let headers = [
                ("retry-after", "600"),
                ("x-ratelimit-scope", "user"),
                ("x-ratelimit-bucket", "b"),
                ("x-mine", "1"),
            ];
            answer(429, &headers, LIMITED)
        }
        _ => answer(429, &limited("user"), LIMITED),
    }))
    .await;
    let bench = Bench::to(discord.address).await;
    let long = bench.get("/channels/1").await;
    assert_eq!((long.status, long.body.as_str()), (StatusCode::TOO_MANY_REQUESTS, LIMITED));
    assert_eq!(
        (long.header("retry-after"), long.header("x-mine"), long.header("x-answered-by")),
        ("600", "1", "")
    );
    // Larger than what is kept: it can't be sent again.
    let large = bench.post("/channels/2/messages", vec![b'x'; 300 * 1024]).await;
    assert_eq!((large.status, large.body.as_str()), (StatusCode::TOO_MANY_REQUESTS, LIMITED));
    assert_eq!(large.header("x-ratelimit-reset-after"), "0.4");
    assert_eq!(discord.came().len(), 2);
    assert_eq!(bench.metric("rest_retries_total"), 0);
    bench.finish().await;
}

#[tokio::test]
async fn caller_that_repeats_after_a_429_gets_none() {
    let discord = Discord::start(at_once(|_, _| {
        answer(429, &[("retry-after", "600"), ("x-ratelimit-global", "true")], LIMITED)
    }))
    .await;
    let bench = Bench::to(discord.address).await;
    let twilight = twilight_http::Client::builder()
        .token("judge".to_owned())
        .proxy(bench.address.to_string(), true)
        .ratelimiter(None)
        .default_headers(http::HeaderMap::from_iter([(ANSWER_429_AS, "503".parse().unwrap())]))
        .build();
    // Once by Discord, then by the proxy itself: its global limit is stopped for ten minutes.
    for _ in 0..2 {
        let error = twilight.current_user().await.unwrap_err();
        let twilight_http::error::ErrorType::Response { status, .. } = error.kind() else {
            panic!("{error:?}")
        };
        assert_eq!(status.get(), 503);
    }
    assert_eq!(discord.came().len(), 1);
    assert!(
        !discord.came()[0].headers.contains_key(ANSWER_429_AS),
        "that is between the caller and the proxy"
    );
    let local = bench.get("/users/@me").await;
    assert_eq!(
        (local.status.as_u16(), local.header("x-ratelimit-global")),
        (429, "true"),
        "who can wait is told to"
    );
    assert_eq!(local.header("x-answered-by"), "altergolden");
    assert!(local.header("retry-after").parse::<u64>().unwrap() > 590, "{}", local.header("retry-after"));
    bench.finish().await;
}

#[tokio::test]
async fn requests_of_one_bucket_wait_and_none_is_refused() {
    let opened = Instant::now();
    let window = std::sync::Mutex::new((opened, 0_u32));
    // Three in 500 ms.
    let discord = Discord::start(at_once(move |_, _| {
        let mut window = window.lock().unwrap();
        if window.1 == 0 || window.0.elapsed() >= Duration::from_millis(500) {
            *window = (Instant::now(), 0);
        }
        window.1 += 1;
        let left = Duration::from_millis(500).saturating_sub(window.0.elapsed()).as_secs_f64();
        let remaining = 3_u32.saturating_sub(window.1).to_string();
        let (after, reset) = (format!("{left:.3}"), (window.0 - opened).as_secs_f64() + 1_000.0);
        let reset = format!("{reset:.3}");
        let headers = [
            ("x-ratelimit-bucket", "b"),
            ("x-ratelimit-limit", "3"),
            ("x-ratelimit-remaining", remaining.as_str()),
            ("x-ratelimit-reset-after", after.as_str()),
            ("x-ratelimit-reset", reset.as_str()),
            ("x-ratelimit-scope", "user"),
            ("retry-after", "1"),
        ];
        answer(if window.1 > 3 { 429 } else { 200 }, &headers, "{}")
    }))
    .await;
    let bench = Bench::to(discord.address).await;
    let all = join_all((0..10).map(|_| bench.post("/channels/7/messages", "{}"))).await;
    assert!(all.iter().all(|got| got.status == 200), "{all:?}");
    assert_eq!(discord.came().len(), 10, "none was refused and sent again");
    bench.finish().await;
}

#[tokio::test]
async fn request_that_would_wait_too_long_is_refused_at_once() {
    let discord = first_refused("shared").await;
    let setting = Setting { longest_wait: Duration::from_millis(300), ..Setting::default() };
    let bench = Bench::start(discord.address, setting).await;
    assert_eq!(bench.post("/channels/7/messages", "{}").await.header("retry-after"), "1");
    let late = bench.post("/channels/7/messages", "{}").await;
    assert_eq!((late.status.as_u16(), late.header("x-answered-by")), (429, "altergolden"));
    assert!(late.body.contains("retry_after") && late.header("x-ratelimit-scope") == "user", "{late:?}");
    assert_eq!(discord.came().len(), 1);
    assert_eq!(bench.metric("rest_refused_total{why=\"late\"}"), 1);
    bench.finish().await;
}

#[tokio::test]
async fn first_answers_to_interactions_are_sent_concurrently() {
    // Each is answered only when all ten are there.
    let all_there = Arc::new(Barrier::new(10));
    let discord = Discord::start(Arc::new(move |_, _| {
        let all_there = all_there.clone();
        Box::pin(async move {
            all_there.wait().await;
            answer(204, &[], "")
        })
    }))
    .await;
    // A global limit that would let through one.
    let bench = Bench::start(discord.address, Setting { per_second: 1, ..Setting::default() }).await;
    let paths: Vec<String> = (0..10).map(|id| format!("/interactions/{id}/token/callback")).collect();
    let all = join_all(paths.iter().map(|path| bench.post(path, "{}"))).await;
    assert!(all.iter().all(|got| got.status == 204), "{all:?}");
    bench.finish().await;
}

#[tokio::test]
async fn the_breaker_opens_before_discords_ban() {
    let discord =
        Discord::start(at_once(|_, _| answer(403, &[], r#"{"message":"Missing Access","code":50001}"#)))
            .await;
    let budget = Arc::new(MemoryBudget::new(LimitRules { invalid_limit: 5 }));
    let bench = Bench::start(discord.address, Setting::over(budget)).await;
    for count in 1..=5 {
        assert_eq!(bench.get(&format!("/channels/{count}")).await.status, 403);
        until("it to be counted", || bench.metric("rest_invalid_requests") == count).await;
    }
    until("the breaker", || bench.metric("rest_breaker_opened_total") == 1).await;
    for (method, path) in [(Method::GET, "/users/@me"), (Method::POST, "/interactions/1/t/callback")] {
        let got = bench.send(bench.request(&method, path, "")).await;
        assert_eq!((got.status.as_u16(), got.header("x-answered-by")), (503, "altergolden"));
        assert!(got.header("retry-after").parse::<u64>().unwrap() > 500);
        assert!(got.body.contains("\"code\":0") && got.body.contains("401, 403, 429"), "{}", got.body);
    }
    assert_eq!(discord.came().len(), 5);
    let problems = bench.status.problems();
    assert!(
        problems.iter().any(|problem| problem.message.contains("nothing is sent to Discord")),
        "{problems:?}"
    );
    assert_eq!(bench.metric("rest_refused_total{why=\"breaker\"}"), 2);
    bench.finish().await;
}

#[tokio::test]
async fn refused_token_is_not_sent_again() {
    let discord = Discord::start(at_once(|_, came| match came.headers["authorization"].to_str().unwrap() {
        "Bot judge" => answer(401, &[], r#"{"message":"401: Unauthorized","code":0}"#),
        _ => answer(200, &[], "{}"),
    }))
    .await;
    let bench = Bench::to(discord.address).await;
    assert_eq!(bench.get("/users/@me").await.header("x-answered-by"), "");
    until("it to be noted", || bench.metric("rest_invalid_requests") == 1).await;
    let again = bench.get("/guilds/1").await;
    assert_eq!((again.status.as_u16(), again.header("x-answered-by")), (401, "altergolden"));
    assert_eq!(again.body, r#"{"code":0,"message":"401: Unauthorized"}"#);
    let mut other = bench.request(&Method::GET, "/guilds/1", "");
    other.headers_mut().insert("authorization", "Bot other".parse().unwrap());
    assert_eq!(bench.send(other).await.status, 200);
    assert_eq!(discord.came().len(), 2);
    let problems = bench.status.problems();
    assert!(problems.iter().any(|problem| problem.message.contains("refuses a token")), "{problems:?}");
    bench.finish().await;
}

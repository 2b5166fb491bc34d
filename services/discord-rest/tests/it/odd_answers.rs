//! Undocumented answers of Discord and of what stands in front of it, one in each row.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use discord_rest::{LimitRules, MemoryBudget};
use fleet_model::ProblemCode;
use futures_util::future::join_all;
use http::Method;

use crate::{
    bench::{Bench, Setting},
    discord::{Discord, answer, at_once},
    until,
};

const VIA: (&str, &str) = ("via", "1.1 google");
const EDGE: (&str, &str) = ("server", "cloudflare");
const HTML: (&str, &str) = ("content-type", "text/html; charset=UTF-8");
const JSON: (&str, &str) = ("content-type", "application/json");
const TEXT: (&str, &str) = ("content-type", "text/plain");
const BLOCKED: &str = r#"{"code":0,"message":"You are being blocked from accessing our API temporarily due to exceeding our rate limits frequently."}"#;

/// The effect of an answer.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// All requests stop for about this many seconds.
    AllStop(u64),
    /// The bot's requests wait for about this many seconds; those with a token in their path go on.
    BotStops(u64),
    /// The route waits for about this many seconds; others go on.
    RouteStops(u64),
    /// The request is retried once, after this many milliseconds.
    SentAgain(u64),
    /// No effect.
    PassedOn,
    /// All requests stop for about this many seconds, because Discord cannot be reached.
    Away(u64),
}

use Then::{AllStop, Away, BotStops, PassedOn, RouteStops, SentAgain};

type Row<'a> = (u16, &'a [(&'a str, &'a str)], &'a str, Then);

/// The first request gets this answer, all others get 200.
async fn follows((status, headers, body, then): Row<'_>) {
    let row = format!("{status} {headers:?} {body:.80} {then:?}");
    let owned: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let text = body.to_owned();
    let discord = Discord::start(at_once(move |number, _| {
        let headers: Vec<(&str, &str)> =
            owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if number == 0 { answer(status, &headers, &text) } else { answer(200, &[], "{}") }
    }))
    .await;
    let bench = Bench::to(discord.address).await;
    let first = bench.get("/channels/7").await;
    until("the answer to be told", || bench.metric("rest_waiting") == 0).await;
    let hits = || discord.came().len();
    if let SentAgain(wait) = then {
        assert_eq!((first.status.as_u16(), hits()), (200, 2), "{row}");
        let came = discord.came();
        let waited = came[1].at - came[0].at;
        assert!(waited >= Duration::from_millis(wait), "{row}: sent again after {waited:?}");
        assert!(bench.status.problems().is_empty(), "{row}");
        return bench.finish().await;
    }
    assert_eq!((first.status.as_u16(), first.body.as_str(), hits()), (status, body, 1), "{row}: passed on");
    assert_eq!(first.header("x-answered-by"), "", "{row}");
    let (same, other, webhook, callback) = (
        bench.get("/channels/7").await,
        bench.get("/guilds/1").await,
        bench.post("/webhooks/1/token", "{}").await,
        bench.post("/interactions/1/token/callback", "{}").await,
    );
    let all = [&same, &other, &webhook, &callback];
    let statuses = all.map(|got| got.status.as_u16());
    let (wanted, wait) = match then {
        AllStop(wait) | Away(wait) => ([503; 4], wait),
        BotStops(wait) => ([429, 429, 200, 200], wait),
        RouteStops(wait) => ([429, 200, 200, 200], wait),
        PassedOn | SentAgain(_) => ([200; 4], 0),
    };
    assert_eq!(statuses, wanted, "{row}");
    assert_eq!(hits(), 1 + wanted.iter().filter(|status| **status == 200).count(), "{row}");
    for got in all.iter().filter(|got| got.status != 200) {
        let left: u64 = got.header("retry-after").parse().unwrap();
        assert!(left <= wait && left + 10 >= wait, "{row}: {left}");
        assert_eq!(got.header("x-answered-by"), "altergolden", "{row}");
    }
    let problems = bench.status.problems();
    let is_blocked = problems.iter().any(|problem| problem.code == ProblemCode::RestBlocked);
    assert_eq!(is_blocked, matches!(then, AllStop(_)), "{row}: {problems:?}");
    assert!(problems.iter().all(|problem| problem.since_unix_ms.is_some()), "{row}: {problems:?}");
    bench.finish().await;
}

#[tokio::test]
async fn every_form_of_a_429_or_block_is_understood() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
    // Clocks that are hours off.
    let at = |now: SystemTime, seconds| httpdate::fmt_http_date(now + Duration::from_secs(seconds));
    let (behind, ahead) =
        (SystemTime::now() - Duration::from_hours(2), SystemTime::now() + Duration::from_hours(2));
    let (behind_by, behind_until) = (at(behind, 0), at(behind, 60));
    let (ahead_by, ahead_until) = (at(ahead, 0), at(ahead, 45));
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    let page = format!("<html>{}</html>", "x".repeat(100_000));
    let bucket = [
        ("x-ratelimit-bucket", "b"),
        ("x-ratelimit-limit", "5"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset-after", "0.3"),
        ("x-ratelimit-scope", "user"),
    ];
    let rows: &[Row<'_>] = &[
        // First, while the date is ahead.
        (429, &[VIA, ("retry-after", &soon)], "", SentAgain(900)),
        // Blocks of the address.
        (429, &[EDGE, JSON], BLOCKED, AllStop(60)),
        (429, &[JSON], BLOCKED, AllStop(60)),
        (429, &[EDGE, HTML, ("retry-after", "20")], "error code: 1015", AllStop(20)),
        (429, &[HTML], "error code: 1015", AllStop(60)),
        (429, &[TEXT, ("retry-after", "900")], "error code: 1015", AllStop(900)),
        (429, &[EDGE, HTML, ("retry-after", &date)], &page, AllStop(90)),
        (429, &[EDGE], "", AllStop(60)),
        (429, &[], "", AllStop(60)),
        (429, &[("retry-after", "NaN")], "", AllStop(60)),
        (429, &[EDGE, ("retry-after", "-5")], "[]", AllStop(60)),
        (
            429,
            &[EDGE, JSON],
            r#"{"retry_after":120,"message":"You are being rate limited.","global":false}"#,
            AllStop(120),
        ),
        (429, &[EDGE, HTML, ("retry-after", "99999999999")], "", AllStop(3_600)),
        (429, &[EDGE, HTML, ("content-encoding", "br")], "\u{3}\u{1}", AllStop(60)),
        (403, &[EDGE, HTML], "<!DOCTYPE html><title>Access denied</title>error code: 1020", AllStop(60)),
        (403, &[EDGE, JSON], BLOCKED, AllStop(60)),
        (403, &[], "error code: 1010", AllStop(60)),
        // The global limit.
        (429, &[EDGE, JSON, ("x-ratelimit-global", "true"), ("retry-after", "30")], "{}", BotStops(30)),
        (429, &[EDGE, JSON, ("x-ratelimit-global", "true")], "{}", BotStops(60)),
        (429, &[VIA, JSON], r#"{"retry_after":25.5,"global":true}"#, BotStops(26)),
        (429, &[VIA, ("x-ratelimit-scope", "global"), ("retry-after", "40")], "", BotStops(40)),
        // The limit of a route.
        (429, &[VIA], "", RouteStops(60)),
        (429, &[VIA, JSON], r#"{"retry_after":NaN}"#, RouteStops(60)),
        (429, &[VIA, JSON], r#"{"retry_after":"33"}"#, RouteStops(33)),
        (429, &[VIA, ("retry-after", &date)], "", RouteStops(90)),
        (429, &[VIA, ("date", &behind_by), ("retry-after", &behind_until)], "", RouteStops(60)),
        (429, &[VIA, ("date", &ahead_by), ("retry-after", &ahead_until)], "", RouteStops(45)),
        (429, &[VIA, ("retry-after", &behind_until)], "", RouteStops(60)),
        (429, &[VIA, ("retry-after", "86400")], "", RouteStops(3_600)),
        (429, &[VIA, ("x-ratelimit-reset-after", "44.5")], "", RouteStops(45)),
        (429, &[("x-ratelimit-scope", "shared"), ("retry-after", "50")], "", RouteStops(50)),
        (
            429,
            &[JSON],
            r#"{"retry_after":12.5,"message":"You are being rate limited.","global":false}"#,
            RouteStops(13),
        ),
        // Waits that fit.
        (429, &[VIA, JSON, ("retry-after", "1")], r#"{"retry_after":2.5,"global":false}"#, SentAgain(2_500)),
        (429, &[VIA, ("retry-after", "0.4")], "", SentAgain(400)),
        (429, &[VIA, ("retry-after", "0")], "", SentAgain(1_000)),
        (429, &bucket, "", SentAgain(300)),
        // About one request only.
        (403, &[EDGE, JSON], r#"{"message":"Missing Access","code":50001}"#, PassedOn),
        (403, &[VIA, EDGE, HTML], "<html>", PassedOn),
        (403, &[], "{}", PassedOn),
        (404, &[EDGE, HTML], "<html>error code: 1015", PassedOn),
        // Not the bot's fault.
        (520, &[EDGE, HTML], "<html>error code: 520", PassedOn),
        (522, &[EDGE], "error code: 522", PassedOn),
        (527, &[EDGE], "", PassedOn),
        (503, &[VIA, ("retry-after", "30")], "", PassedOn),
        (503, &[EDGE, HTML, ("retry-after", "30")], "<html>", Away(30)),
        (530, &[EDGE, HTML, ("retry-after", "86400")], "error code: 1033", Away(60)),
    ];
    for some in rows.chunks(8) {
        join_all(some.iter().map(|row| follows(*row))).await;
    }
}

#[tokio::test]
async fn endless_limit_is_retried_with_growing_waits() {
    let discord =
        Discord::start(at_once(|_, _| answer(429, &[VIA, ("retry-after", "0.05")], r#"{"global":false}"#)))
            .await;
    let setting = Setting { longest_wait: Duration::from_secs(4), ..Setting::default() };
    let bench = Bench::start(discord.address, setting).await;
    assert_eq!(bench.get("/channels/7").await.status, 429);
    assert!(discord.came().len() <= 6, "{} requests", discord.came().len());
    bench.finish().await;
}

#[tokio::test]
async fn block_of_one_worker_stops_all_workers() {
    let discord = Discord::start(at_once(|_, _| answer(429, &[EDGE, JSON], BLOCKED))).await;
    let budget = Arc::new(MemoryBudget::new(LimitRules::default()));
    let one = Bench::start(discord.address, Setting::over(budget.clone())).await;
    let (two, three) = tokio::join!(
        Bench::start(discord.address, Setting::over(budget.clone())),
        Bench::start(discord.address, Setting::over(budget))
    );
    assert_eq!(one.get("/users/@me").await.status, 429);
    for (bench, method, path) in
        [(&two, Method::GET, "/guilds/1"), (&three, Method::POST, "/interactions/1/token/callback")]
    {
        let got = bench.send(bench.request(&method, path, "")).await;
        assert_eq!((got.status.as_u16(), got.header("x-answered-by")), (503, "altergolden"), "{path}");
        assert!(got.body.contains("Cloudflare blocks this address"), "{}", got.body);
        assert!(bench.status.problems()[0].message.contains("Cloudflare blocks this address"));
    }
    assert_eq!(discord.came().len(), 1);
    for bench in [one, two, three] {
        bench.finish().await;
    }
}

#[tokio::test]
async fn unreachable_discord_is_dialled_with_growing_waits() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = Bench::to(unused).await;
    let mut dialled = 0;
    let ends = tokio::time::Instant::now() + Duration::from_secs(3);
    while tokio::time::Instant::now() < ends {
        let got = bench.get("/users/@me").await;
        assert!(matches!(got.status.as_u16(), 502 | 503), "{got:?}");
        dialled += u32::from(got.status == 502);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!((2..=15).contains(&dialled), "dialled {dialled} times in 3 s");
    assert!(bench.metric("rest_refused_total{why=\"unreachable\"}") > 0);
    bench.finish().await;
}

//! Rate limits, bans and injected 429s.

use super::call::{USUAL, call, get, somewhere, violations};
use crate::{
    client::{quick, start},
    http::raw,
};
use discord_sim::{Fault, LimitScope, SimConfig};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Windows pass so slowly that none ends during a test on a busy machine.
fn slow() -> SimConfig {
    SimConfig { rest_limit_speed: 0.01, ..quick() }
}

#[tokio::test]
async fn answers_with_a_bucket_have_its_headers() {
    let sim = start(slow()).await;
    let (_, channel) = somewhere(&sim).await;
    let path = format!("/channels/{channel}/messages");
    let mut bucket = None;
    for remaining in ["4", "3", "2", "1", "0"] {
        let answer = call(&sim, "POST", &path, json!({"content": "x"})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("x-ratelimit-limit"), Some("5"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(remaining));
        let reset_after: f64 = answer.header("x-ratelimit-reset-after").unwrap().parse().unwrap();
        assert!((400.0..=500.0).contains(&reset_after), "{reset_after}");
        let unix = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let reset: f64 = answer.header("x-ratelimit-reset").unwrap().parse().unwrap();
        assert!((reset - unix - reset_after).abs() < 60.0, "{reset}");
        let hash = answer.header("x-ratelimit-bucket").unwrap().to_owned();
        assert!(!hash.contains(&channel) && *bucket.get_or_insert(hash.clone()) == hash);
        assert_eq!((answer.header("x-ratelimit-scope"), answer.header("retry-after")), (None, None));
        assert_eq!((answer.header("via"), answer.header("server")), (Some("1.1 google"), Some("cloudflare")));
    }
    let limited = call(&sim, "POST", &path, json!({"content": "x"})).await;
    assert_eq!((limited.status, limited.header("x-ratelimit-scope")), (429, Some("user")));
    assert_eq!(limited.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(
        (limited.header("x-ratelimit-bucket"), limited.header("x-ratelimit-global")),
        (bucket.as_deref(), None)
    );
    let retry_after: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    let body = limited.json();
    assert_eq!((&body["message"], &body["global"]), (&json!("You are being rate limited."), &json!(false)));
    let exact = body["retry_after"].as_f64().unwrap();
    assert!(exact <= retry_after as f64 && exact > retry_after as f64 - 1.0, "{exact} {retry_after}");
    assert_eq!(violations(&sim.control()), ["rest_rate_limited"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn each_channel_has_its_own_limit_and_some_routes_have_none() {
    let sim = start(slow()).await;
    let (guild, channel) = somewhere(&sim).await;
    for _ in 0..6 {
        call(&sim, "POST", &format!("/channels/{channel}/messages"), json!({"content": "x"})).await;
    }
    let channels = get(&sim, &format!("/guilds/{guild}/channels")).await.json();
    let other = channels.as_array().unwrap().iter().rfind(|other| other["id"] != *channel).unwrap();
    let path = format!("/channels/{}/messages", other["id"].as_str().unwrap());
    let answer = call(&sim, "POST", &path, json!({"content": "x"})).await;
    assert_eq!((answer.status, answer.header("x-ratelimit-remaining")), (200, Some("4")));
    for path in ["/gateway", "/gateway/bot", "/users/@me"] {
        assert_eq!(get(&sim, path).await.header("x-ratelimit-bucket"), None, "{path}");
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn bucket_refills_after_its_window() {
    let sim = start(SimConfig { rest_limit_speed: 50.0, ..quick() }).await;
    let (_, channel) = somewhere(&sim).await;
    let path = format!("/channels/{channel}/messages");
    let mut refused = 0;
    for _ in 0..12 {
        let answer = call(&sim, "POST", &path, json!({"content": "x"})).await;
        if answer.status == 429 {
            refused += 1;
            let wait = answer.json()["retry_after"].as_f64().unwrap();
            assert!(wait <= 0.1, "{wait}");
            tokio::time::sleep(Duration::from_secs_f64(wait)).await;
        }
    }
    assert_eq!(sim.control().messages().len(), 12 - refused);
    sim.shutdown().await;
}

#[tokio::test]
async fn global_limit_is_per_token_and_exempts_interaction_answers() {
    let sim = start(SimConfig { rest_global_limit: 3, ..slow() }).await;
    for _ in 0..3 {
        assert_eq!(get(&sim, "/gateway/bot").await.status, 200);
    }
    let limited = get(&sim, "/gateway/bot").await;
    assert_eq!((limited.status, limited.header("x-ratelimit-scope")), (429, Some("global")));
    assert_eq!(limited.header("x-ratelimit-global"), Some("true"));
    assert!(limited.header("retry-after").is_some() && limited.header("x-ratelimit-bucket").is_none());
    let body = limited.json();
    assert_eq!((&body["global"], body.get("code")), (&json!(true), None));
    let agent = "User-Agent: x\r\n";
    assert_eq!(raw(&sim, "GET", "/api/v10/gateway", agent, b"").await.status, 200, "by address");
    let other = format!("{agent}Authorization: Bot other\r\n");
    assert_eq!(raw(&sim, "GET", "/api/v10/gateway/bot", &other, b"").await.status, 200);
    for _ in 0..5 {
        let answer = call(&sim, "POST", "/interactions/1/x/callback", json!({"type": 5})).await;
        assert_eq!(answer.code(), (404, 10062));
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn too_many_invalid_requests_ban_an_address() {
    let config = SimConfig {
        invalid_request_limit: 3,
        invalid_request_ban: Duration::from_millis(1_500),
        token: Some("right".into()),
        ..quick()
    };
    let sim = start(config).await;
    let right = "User-Agent: x\r\nAuthorization: Bot right\r\n";
    for _ in 0..2 {
        assert_eq!(get(&sim, "/users/@me").await.status, 401);
    }
    let requests = sim.control().requests();
    assert_eq!((requests.callers[0].invalid_requests, requests.callers[0].banned_until_ms), (2, None));
    assert_eq!(raw(&sim, "GET", "/api/v10/gateway/bot", right, b"").await.status, 200);
    assert_eq!(get(&sim, "/users/@me").await.status, 401);
    let banned = raw(&sim, "GET", "/api/v10/gateway/bot", right, b"").await;
    assert_eq!(banned.status, 429);
    assert!(banned.text.contains("1015") && banned.text.starts_with("<!DOCTYPE html>"));
    assert!(banned.header("content-type").unwrap().starts_with("text/html"));
    assert_eq!((banned.header("via"), banned.header("x-ratelimit-scope")), (None, None));
    assert_eq!(banned.header("server"), Some("cloudflare"));
    assert!(sim.control().requests().callers[0].banned_until_ms.is_some());
    assert_eq!(violations(&sim.control()).last().unwrap(), "rest_banned");
    let control = sim.control();
    let free = control.wait_until(crate::client::PATIENCE, |control| control.requests().callers.is_empty());
    assert!(free.await);
    assert_eq!(raw(&sim, "GET", "/api/v10/gateway/bot", right, b"").await.status, 200);
    sim.shutdown().await;
}

#[tokio::test]
async fn shared_429s_do_not_count_as_invalid() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    let fault = Fault::RateLimit { count: 1, scope: LimitScope::Shared, retry_after: 1.5 };
    sim.control().inject(fault).unwrap();
    let shared = get(&sim, &format!("/channels/{channel}")).await;
    assert_eq!((shared.status, shared.header("x-ratelimit-scope")), (429, Some("shared")));
    assert_eq!(shared.header("retry-after"), Some("2"));
    assert!(shared.header("x-ratelimit-remaining").unwrap() != "0");
    let body = shared.json();
    assert_eq!(
        (&body["message"], &body["retry_after"]),
        (&json!("The resource is being rate limited."), &json!(1.5))
    );
    assert!(sim.control().requests().callers.is_empty());

    let fault = Fault::RateLimit { count: 2, scope: LimitScope::Global, retry_after: 0.3 };
    sim.control().inject(fault).unwrap();
    let callback = call(&sim, "POST", "/interactions/1/x/callback", json!({"type": 5})).await;
    assert_eq!(callback.status, 404, "exempt");
    for status in [429, 429, 200] {
        let answer = get(&sim, "/gateway/bot").await;
        assert_eq!(answer.status, status);
    }
    let fault = Fault::RateLimit { count: 1, scope: LimitScope::User, retry_after: 3.0 };
    sim.control().inject(fault).unwrap();
    let user = get(&sim, &format!("/channels/{channel}")).await;
    assert_eq!((user.status, user.header("x-ratelimit-scope")), (429, Some("user")));
    assert_eq!(
        (user.header("x-ratelimit-remaining"), user.header("x-ratelimit-reset-after")),
        (Some("0"), Some("3.000"))
    );
    assert_eq!(sim.control().requests().callers[0].invalid_requests, 3);
    assert!(sim.control().violations().items.is_empty(), "none of these is the client's fault");
    let negative = Fault::RateLimit { count: 1, scope: LimitScope::User, retry_after: -1.0 };
    assert!(sim.control().inject(negative).is_err());
    sim.shutdown().await;
}

#[tokio::test]
async fn injected_429s_skip_exempt_routes() {
    let sim = start(quick()).await;
    let agent = "User-Agent: x\r\n";
    let open = async |path: &str| raw(&sim, "GET", path, agent, b"").await.status;
    let follow_up = async || call(&sim, "POST", "/webhooks/1/x", json!({"content": "x"})).await.status;
    let fault = Fault::RateLimit { count: 1, scope: LimitScope::Global, retry_after: 0.3 };
    sim.control().inject(fault).unwrap();
    assert_eq!(follow_up().await, 404, "the global limit does not apply");
    assert_eq!((open("/api/v10/gateway").await, open("/api/v10/nowhere").await), (200, 404));
    for status in [429, 200] {
        assert_eq!(get(&sim, "/gateway/bot").await.status, status);
    }
    for scope in [LimitScope::User, LimitScope::Shared] {
        sim.control().inject(Fault::RateLimit { count: 1, scope, retry_after: 0.3 }).unwrap();
        assert_eq!((open("/api/v10/gateway").await, open("/api/v10/nowhere").await), (200, 404));
        assert_eq!((follow_up().await, follow_up().await), (429, 404), "it has a bucket");
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn rest_answers_can_be_delayed() {
    let sim = start(quick()).await;
    sim.control().inject(Fault::RestDelay { ms: 300 }).unwrap();
    let asked = Instant::now();
    assert_eq!(get(&sim, "/gateway/bot").await.status, 200);
    assert!(asked.elapsed() >= Duration::from_millis(300));
    sim.control().inject(Fault::RestDelay { ms: 0 }).unwrap();
    assert_eq!(get(&sim, "/gateway/bot").await.status, 200);
    sim.shutdown().await;
}

#[tokio::test]
async fn calls_are_counted_by_route_and_status() {
    let sim = start(quick()).await;
    for path in ["/channels/1", "/channels/2", "/gateway/bot", "/nowhere"] {
        get(&sim, path).await;
    }
    let counts = sim.control().requests().counts;
    let of = |route: &str, status: u16| {
        let found = counts.iter().find(|one| one.route == route && one.status == status);
        found.map_or(0, |one| one.count)
    };
    assert_eq!((of("/channels/{channel}", 404), of("/gateway/bot", 200), of("", 404)), (2, 1, 1));
    sim.shutdown().await;
}

#[tokio::test]
async fn user_agent_and_supported_version_are_required() {
    let sim = start(quick()).await;
    let token = "Authorization: Bot t\r\n";
    for agent in ["", "User-Agent: \r\n"] {
        let answer = raw(&sim, "GET", "/api/v10/users/@me", &format!("{agent}{token}"), b"").await;
        assert_eq!(answer.code(), (403, 40333));
    }
    for version in 6..=10 {
        let answer = raw(&sim, "GET", &format!("/api/v{version}/users/@me"), USUAL, b"").await;
        assert_eq!(answer.status, 200, "{version}");
    }
    for version in [0, 3, 5, 11] {
        let answer = raw(&sim, "GET", &format!("/api/v{version}/users/@me"), USUAL, b"").await;
        assert_eq!(answer.code(), (400, 50041), "{version}");
    }
    for header in ["", "Authorization: Bearer t\r\n", "Authorization: t\r\n"] {
        let headers = format!("User-Agent: x\r\n{header}");
        let answer = raw(&sim, "GET", "/api/v10/users/@me", &headers, b"").await;
        assert_eq!((answer.status, answer.json()), (401, json!({"message": "401: Unauthorized", "code": 0})));
    }
    assert_eq!(violations(&sim.control()), ["rest_unauthorized"; 3]);
    sim.control().forget_violations();
    sim.control().inject(Fault::RejectToken { on: true }).unwrap();
    assert_eq!(get(&sim, "/users/@me").await.status, 401);
    assert!(sim.control().violations().items.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn malformed_and_too_large_bodies_are_rejected() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    let path = format!("/api/v10/channels/{channel}/messages");
    assert_eq!(raw(&sim, "POST", &path, USUAL, b"{nonsense").await.code(), (400, 50109));
    let text = "User-Agent: x\r\nAuthorization: Bot t\r\nContent-Type: text/plain\r\n";
    assert_eq!(raw(&sim, "POST", &path, text, b"{}").await.code(), (400, 50035));
    let large = vec![b' '; 26 * 1024 * 1024];
    assert_eq!(raw(&sim, "POST", &path, USUAL, &large).await.code(), (413, 40005));
    assert_eq!(call(&sim, "POST", "/gateway", Value::Null).await.status, 405);
    sim.shutdown().await;
}

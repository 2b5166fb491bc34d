//! Reads an answer of `/gateway/bot`. Pure. Numbers are clamped or rejected; errors name the status and what was wrong,
//! never the body.

use std::time::{Duration, SystemTime};

use altergolden_proto::convert::MAX_SHARDS;
use backoff::{asked_wait, longest_asked, wait_of_seconds};
use http::{StatusCode, header, response::Parts};
use outside_text::{printable, printable_within};
use process::settings::GatewayUrl;
use serde_json::Value;
use tokio::time::Instant;

use super::{DiscordError, GatewayInfo, REFUSED_WAIT, Refusal};
use fleet::shard_total::Advice;

/// The wait after a block or a rate limit that names none: blocks of an address last for minutes.
const BLOCKED_WAIT: Duration = Duration::from_mins(1);

/// The latest the budget is asked for again.
const LATEST_RESET: Duration = Duration::from_hours(24);

/// The earliest the budget is asked for again: bots with one shard are told 0.
const SOONEST_RESET: Duration = Duration::from_mins(1);

/// 2^53: a larger decimal number may stand for several whole ones.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads an answer. `body` is `None` when it was truncated or too long.
pub(super) fn read(
    head: &Parts,
    body: Option<&[u8]>,
    gateway: Option<&GatewayUrl>,
    now: SystemTime,
) -> Result<GatewayInfo, Refusal> {
    let value = body.and_then(|body| serde_json::from_slice::<Value>(body).ok());
    if head.status == StatusCode::UNAUTHORIZED {
        return Err(Refusal { error: DiscordError::TokenRefused, floor: REFUSED_WAIT });
    }
    let fail = |why: String| DiscordError::Failed(format!("{}{why}", describe(head)));
    if !head.status.is_success() {
        let said = asked_wait(head.status, &head.headers, now)
            .max(value.as_ref().and_then(|body| wait(head.status, body)));
        let blocked = matches!(head.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN);
        let floor = said.or(blocked.then_some(BLOCKED_WAIT)).unwrap_or_default();
        return Err(Refusal { error: fail(reason(body, value.as_ref())), floor });
    }
    let Some(value) = value else {
        let why = if body.is_some() { "is not JSON" } else { "is truncated or too long" };
        return Err(Refusal::failed(format!("{} whose body {why}", describe(head))));
    };
    info(&value, gateway).map_err(|why| Refusal { error: fail(format!(" {why}")), floor: Duration::ZERO })
}

/// The status and the kind of body: "status 502 (text/html)".
fn describe(head: &Parts) -> String {
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    match kind {
        Some(kind) => format!("status {} ({})", head.status.as_u16(), printable_within(kind, 40)),
        None => format!("status {}", head.status.as_u16()),
    }
}

/// Discord's own message, or Cloudflare's error code, if the body has one.
fn reason(body: Option<&[u8]>, value: Option<&Value>) -> String {
    if let Some(message) = value.and_then(|value| value["message"].as_str()) {
        return format!(": {}", printable(message));
    }
    let text = String::from_utf8_lossy(body.unwrap_or_default());
    let digits = text
        .split_once("error code: ")
        .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).take(6).collect::<String>());
    digits
        .filter(|digits| !digits.is_empty())
        .map_or_else(String::new, |code| format!(": Cloudflare error {code}"))
}

/// The wait that the body of a failure asks for.
fn wait(status: StatusCode, body: &Value) -> Option<Duration> {
    wait_of_seconds(decimal(&body["retry_after"])?, longest_asked(status))
}

/// A number, also one that is written as text.
fn decimal(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A whole number, also one that is written as `4.0` or `"4"`.
fn whole(value: &Value) -> Option<u64> {
    let exact = |number: &f64| number.fract() == 0.0 && (0.0..=LARGEST_EXACT).contains(number);
    value.as_u64().or_else(|| decimal(value).filter(exact).map(|number| number as u64))
}

/// Reads the body of a successful answer.
fn info(value: &Value, gateway: Option<&GatewayUrl>) -> Result<GatewayInfo, String> {
    let number = |path: &str| {
        let found = value.pointer(path).and_then(whole);
        found.ok_or_else(|| format!("has no number at {path}"))
    };
    let url = match gateway {
        Some(url) => url.clone(),
        None => value["url"]
            .as_str()
            .and_then(|url| url.parse().ok())
            .ok_or_else(|| "has no ws:// or wss:// URL at /url".to_owned())?,
    };
    let shards = number("/shards")?;
    if shards > MAX_SHARDS.into() {
        return Err(format!("recommends {shards} shards: the limit is {MAX_SHARDS}"));
    }
    let total = bounded(number("/session_start_limit/total")?);
    let reset_after = Duration::from_millis(number("/session_start_limit/reset_after")?);
    // More buckets than shards make no difference.
    let max_concurrency = bounded(number("/session_start_limit/max_concurrency")?).clamp(1, MAX_SHARDS);
    Ok(GatewayInfo {
        url: url.as_str().to_owned(),
        advice: Advice { shards: bounded(shards), max_concurrency },
        total,
        remaining: bounded(number("/session_start_limit/remaining")?).min(total),
        reset_after: reset_after.clamp(SOONEST_RESET, LATEST_RESET),
        asked: Instant::now(),
    })
}

fn bounded(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

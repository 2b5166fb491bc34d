//! What the proxy answers itself: errors in Discord's form, with `x-answered-by` to tell them from Discord's own
//! ([Discord](https://discord.com/developers/docs/reference#error-messages)).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use crate::{StopReason, WaitReason, headers, status::breaker_message, upstream::Body};

/// Marks what did not come from Discord.
const ANSWERED_BY: HeaderName = HeaderName::from_static("x-answered-by");

fn of(status: StatusCode, body: &Value) -> Response<Body> {
    let bytes = Bytes::from(body.to_string());
    let mut response = Response::new(Full::new(bytes).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ANSWERED_BY, HeaderValue::from_static("altergolden"));
    response
}

/// An error.
pub(super) fn error(status: StatusCode, message: &str) -> Response<Body> {
    of(status, &json!({ "message": message, "code": 0 }))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(name, value);
    }
}

fn whole_seconds(wait: Duration) -> String {
    wait.as_secs_f64().ceil().max(1.0).to_string()
}

fn unavailable(message: &str, wait: Duration) -> Response<Body> {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, message);
    set(response.headers_mut(), header::RETRY_AFTER, whole_seconds(wait));
    response
}

/// GET /gateway ([Get Gateway](https://docs.discord.com/developers/events/gateway#get-gateway)).
pub(super) fn gateway(url: &str) -> Response<Body> {
    of(StatusCode::OK, &json!({ "url": url }))
}

/// GET /gateway/bot. Our own gateway has no daily limit, and takes all shards at once. The fleet's total is 0 until this worker knows it.
pub(super) fn gateway_bot(url: &str, shards: u32) -> Response<Body> {
    if shards == 0 {
        return unavailable("the fleet's shard total is not known yet", Duration::from_secs(1));
    }
    let most = u64::from(shards).max(100) * 1_000;
    let limit =
        json!({ "total": most, "remaining": most, "reset_after": 0, "max_concurrency": shards.max(16) });
    of(StatusCode::OK, &json!({ "url": url, "shards": shards, "session_start_limit": limit }))
}

/// Too many requests are here.
pub(super) fn full() -> Response<Body> {
    unavailable("too many requests wait in this proxy", Duration::from_secs(1))
}

/// A recent connection attempt to Discord failed.
pub(super) fn unreachable(left: Duration) -> Response<Body> {
    unavailable("cannot reach Discord; retry later", left)
}

/// The breaker is open.
pub(super) fn breaker(left: Duration, why: StopReason) -> Response<Body> {
    unavailable(&breaker_message(left, why), left)
}

/// No turn in time: a 429 as Discord would give it, so that a client waits as it is used to.
pub(super) fn late(wait: Duration, why: WaitReason) -> Response<Body> {
    let global = why == WaitReason::Global;
    let exact = (wait.as_secs_f64() * 1_000.0).ceil() / 1_000.0;
    let mut body =
        json!({ "message": "You are being rate limited.", "retry_after": exact, "global": global });
    if !global {
        body["code"] = 0.into();
    }
    let mut response = of(StatusCode::TOO_MANY_REQUESTS, &body);
    let headers = response.headers_mut();
    set(headers, header::RETRY_AFTER, whole_seconds(wait));
    set(headers, headers::SCOPE, if global { "global" } else { "user" }.to_owned());
    if global {
        headers.insert(headers::GLOBAL, HeaderValue::from_static("true"));
    } else {
        set(headers, headers::RESET_AFTER, exact.to_string());
    }
    response
}

/// In place of a 429, for a caller that would repeat one at once.
pub(super) fn as_503(limited: &HeaderMap) -> Response<Body> {
    let mut response =
        error(StatusCode::SERVICE_UNAVAILABLE, "rate limited, for longer than a request waits here");
    if let Some(wait) = limited.get(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
    }
    response
}

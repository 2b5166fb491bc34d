//! Middleware of every call: faults, bans, tokens, rate limits and counters.

use super::{
    error::RestError,
    limits::{BucketStatus, Caller, LimitVerdict},
    route::{Route, unversioned},
    state::bucket_hash,
};
use crate::{
    faults::LimitScope, hub::Hub, net::RawSocket, odd::Replacement, report::ViolationKind, rest::Rest,
    world::time,
};
use axum::{
    Json,
    extract::{ConnectInfo, MatchedPath, OriginalUri, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use serde_json::json;
use std::{net::IpAddr, time::Duration};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RESET_AFTER: HeaderName = HeaderName::from_static("x-ratelimit-reset-after");
const BUCKET: HeaderName = HeaderName::from_static("x-ratelimit-bucket");
const SCOPE: HeaderName = HeaderName::from_static("x-ratelimit-scope");
const GLOBAL: HeaderName = HeaderName::from_static("x-ratelimit-global");

/// Cloudflare's page for a banned address.
const BAN_PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en-US\"><head><title>Access denied | discord.com used \
     Cloudflare to restrict access</title></head><body><h1>Error 1015</h1><h2>You are being rate \
     limited</h2></body></html>\n";

/// Passes a call to its handler, or answers it.
pub(super) async fn guard(
    State(rest): State<Rest>,
    ConnectInfo(raw): ConnectInfo<RawSocket>,
    OriginalUri(uri): OriginalUri,
    mut request: Request,
    next: Next,
) -> Response {
    let hub = &rest.hub;
    let method = request.method().clone();
    let pattern = request.extensions().get::<MatchedPath>().map(|path| unversioned(path.as_str()).to_owned());
    let route = Route::of(&method, pattern.as_deref().unwrap_or_default(), unversioned(uri.path()));
    let from = raw.peer();
    let arrived = hub.since_start(raw.arrived());
    request.extensions_mut().insert(Arrived(arrived));
    let delay = rest.state().delay;
    let odd = hub.odd.rest_answer(method.as_str(), &route.pattern);
    let mut response = match odd {
        None => judge(&rest, from, arrived, &route, request, next).await,
        Some(odd) => {
            tokio::time::sleep(Duration::from_millis(odd.after_ms)).await;
            match odd.replacement() {
                Replacement::Answer(mut answer) => {
                    answer.extensions_mut().insert(FromCloudflare);
                    answer
                }
                Replacement::Reset => {
                    raw.reset();
                    StatusCode::SERVICE_UNAVAILABLE.into_response()
                }
                Replacement::None => {
                    odd.change(judge(&rest, from, arrived, &route, request, next).await).await
                }
            }
        }
    };
    response.headers_mut().entry(header::SERVER).or_insert(HeaderValue::from_static("cloudflare"));
    // Cloudflare's own answers lack this header; clients use it to recognise them.
    if response.extensions().get::<FromCloudflare>().is_none() {
        response.headers_mut().insert(header::VIA, HeaderValue::from_static("1.1 google"));
    }
    note(&rest, from, arrived, &response);
    rest.state().requests.count(&method, &route.pattern, response.status().as_u16());
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    response
}

/// Arrival time of a call since the simulator started; deadlines use it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived(pub(super) Duration);

/// Marks an answer of Cloudflare, such as the ban.
#[derive(Clone, Copy)]
struct FromCloudflare;

/// Marks a 429 that does not count as an invalid request.
#[derive(Clone, Copy)]
struct IsShared;

async fn judge(
    rest: &Rest,
    from: IpAddr,
    now: Duration,
    route: &Route,
    request: Request,
    next: Next,
) -> Response {
    let hub = &rest.hub;
    if hub.rest_is_down() {
        return RestError::UNAVAILABLE.into_response();
    }
    if let Some(left) = rest.state().limits.banned(from, now) {
        let mut response = (StatusCode::TOO_MANY_REQUESTS, Html(BAN_PAGE)).into_response();
        set(response.headers_mut(), header::RETRY_AFTER, whole_seconds(left));
        response.extensions_mut().insert(FromCloudflare);
        return response;
    }
    let agent = request.headers().get(header::USER_AGENT);
    if agent.is_none_or(|agent| agent.as_bytes().trim_ascii().is_empty()) {
        return RestError::NO_USER_AGENT.into_response();
    }
    let sent = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = sent.and_then(|value| value.strip_prefix("Bot ")).filter(|token| hub.accepts_token(token));
    if route.needs_token && token.is_none() {
        if !hub.rejects_all_tokens() {
            let detail = format!("{} {} without the bot's token", request.method(), route.pattern);
            hub.violation(ViolationKind::RestUnauthorized, 0, None, detail);
        }
        return RestError::UNAUTHORIZED.into_response();
    }
    let injected = rest.state().take_injected_limit(route);
    if let Some((scope, retry_after)) = injected {
        let bucket_status = route.bucket.clone().map(|(bucket, major)| {
            let bucket_status = rest.state().limits.bucket_status(bucket, major, now);
            if scope == LimitScope::User {
                BucketStatus { remaining: 0, reset_after: retry_after, ..bucket_status }
            } else {
                bucket_status
            }
        });
        return limited(hub, scope, retry_after, bucket_status);
    }
    let caller = token.map_or(Caller::Address(from), |token| Caller::Token(token.to_owned()));
    let verdict = rest.state().limits.judge(Some(caller).filter(|_| route.global), route.bucket.clone(), now);
    let refused = |what: &str| {
        let detail = format!("{} {}: {what}", request.method(), route.pattern);
        hub.violation(ViolationKind::RestRateLimited, 0, None, detail);
    };
    match verdict {
        LimitVerdict::Pass(bucket_status) => {
            let mut response = next.run(request).await;
            if let Some(bucket_status) = bucket_status {
                bucket_headers(hub, response.headers_mut(), bucket_status);
            }
            response
        }
        LimitVerdict::BucketEmpty(bucket_status) => {
            refused("bucket limit exceeded");
            limited(hub, LimitScope::User, bucket_status.reset_after, Some(bucket_status))
        }
        LimitVerdict::Global(retry_after) => {
            refused("global limit exceeded");
            limited(hub, LimitScope::Global, retry_after, None)
        }
    }
}

/// Counts an answer that Discord counts as an invalid request.
fn note(rest: &Rest, from: IpAddr, now: Duration, response: &Response) {
    let (status, extensions) = (response.status(), response.extensions());
    let counts =
        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
    if !counts || extensions.get::<IsShared>().is_some() || extensions.get::<FromCloudflare>().is_some() {
        return;
    }
    if rest.state().limits.note_invalid(from, now) {
        let detail = format!("{from} is banned for too many answers with 401, 403 and 429");
        rest.hub.violation(ViolationKind::RestBanned, 0, None, detail);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(name, value);
    }
}

fn whole_seconds(time: Duration) -> String {
    time.as_secs_f64().ceil().to_string()
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

/// [Source](https://docs.discord.com/developers/topics/rate-limits#header-format).
fn bucket_headers(hub: &Hub, headers: &mut HeaderMap, bucket_status: BucketStatus) {
    let reset = Duration::from_millis(time::unix_ms()) + bucket_status.reset_after;
    set(headers, LIMIT, bucket_status.bucket.limit.to_string());
    set(headers, REMAINING, bucket_status.remaining.to_string());
    set(headers, RESET, seconds(reset));
    set(headers, RESET_AFTER, seconds(bucket_status.reset_after));
    set(headers, BUCKET, bucket_hash(hub, bucket_status.bucket.name));
}

/// Builds a 429. [Source](https://docs.discord.com/developers/topics/rate-limits#exceeding-a-rate-limit).
fn limited(
    hub: &Hub,
    scope: LimitScope,
    retry_after: Duration,
    bucket_status: Option<BucketStatus>,
) -> Response {
    let message = match scope {
        LimitScope::Shared => "The resource is being rate limited.",
        LimitScope::User | LimitScope::Global => "You are being rate limited.",
    };
    let global = scope == LimitScope::Global;
    let exact = (retry_after.as_secs_f64() * 1_000.0).ceil() / 1_000.0;
    let mut body = json!({ "message": message, "retry_after": exact, "global": global });
    if !global {
        body["code"] = 0.into();
    }
    let mut response = (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response();
    let headers = response.headers_mut();
    set(headers, header::RETRY_AFTER, whole_seconds(retry_after));
    set(headers, SCOPE, scope.name().to_owned());
    if global {
        set(headers, GLOBAL, "true".to_owned());
    } else if let Some(bucket_status) = bucket_status {
        bucket_headers(hub, headers, bucket_status);
    }
    if scope == LimitScope::Shared {
        response.extensions_mut().insert(IsShared);
    }
    response
}

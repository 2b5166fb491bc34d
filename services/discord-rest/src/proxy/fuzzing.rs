//! Fuzz targets of the REST proxy: heads of requests, and Discord's answers.

use std::time::{Duration, SystemTime};

use fuzz::Target;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header::AUTHORIZATION};

use super::{RestOptions, guard, head};
use crate::{AnswerClass, Caller, Upstream, classify, needs_body, route::Route};

const REQUEST: &str = "POST /api/v10/channels/81384788765712384/messages?a=b\nhost: 127.0.0.1:3080\nauthorization: Bot t\n\
    connection: close, x-mine\nx-mine: 1\ntransfer-encoding: chunked\ncontent-length: 5";
const CALLBACK: &str = "POST /api/v10/interactions/7/aW50ZXJhY3Rpb24/callback\nhost: localhost";
const WEBHOOK: &str =
    "DELETE /api/v10/webhooks/7/token/messages/81384788765712384\nhost: [::1]:80\norigin: null";
const LIMITED: &str = "429\nx-ratelimit-bucket: abc\nx-ratelimit-limit: 5\nx-ratelimit-remaining: 0\n\
    x-ratelimit-reset: 1790000000.250\nx-ratelimit-reset-after: 1.5\nretry-after: 2\nx-ratelimit-scope: user\nvia: 1.1 google\n\n\
    {\"message\":\"You are being rate limited.\",\"retry_after\":1.25,\"global\":false}";
const BLOCKED: &str = "403\ncontent-type: text/html\nserver: cloudflare\n\n<html>error code: 1015</html>";
const DATED: &str = "503\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT\n\n";

/// The first line, and the header lines that HTTP allows.
fn split(text: &str) -> (&str, HeaderMap) {
    let mut lines = text.split('\n');
    let first = lines.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    // The server takes 100.
    for line in lines.take(100) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if let (Ok(name), Ok(value)) =
            (name.trim().parse::<HeaderName>(), HeaderValue::from_bytes(value.trim().as_bytes()))
        {
            headers.append(name, value);
        }
    }
    (first, headers)
}

#[test]
fn requests() {
    let words = ["../", "%2e%2e", "//", "@me", "reactions", "connection: ", "host: ", "api", "gateway/bot"];
    let options = RestOptions { only_token: Some(Caller::bot("t")), ..RestOptions::default() };
    let upstream = Upstream::new(None).unwrap();
    Target::new("heads of requests", [REQUEST, CALLBACK, WEBHOOK]).words(words).run_text(|text| {
        let (first, headers) = split(text);
        let (method, uri) = first.split_once(' ').unwrap_or((first, "/"));
        let (Ok(method), Ok(uri)) = (method.parse::<Method>(), uri.parse::<Uri>()) else { return };
        let mut request = Request::builder().method(method.clone()).uri(uri.clone()).body(()).unwrap();
        *request.headers_mut() = headers;
        let route = Route::of(&method, uri.path(), 1_790_000_000_000);
        if let Some(route) = &route {
            assert!(route.pattern.len() <= 200, "{}", route.pattern);
        }
        let caller = Caller::of(request.headers().get(AUTHORIZATION));
        assert!(caller.as_str().len() <= 100);
        let (mut parts, ()) = request.into_parts();
        for (on_loopback, has_certificate) in [(true, false), (false, false), (false, true)] {
            let port = guard::Port { on_loopback, has_certificate };
            if guard::check_sender(&parts, None, port).is_ok() {
                assert!(!has_certificate && !parts.headers.contains_key("origin"));
            }
        }
        if let Some(route) = &route
            && guard::check_request(route, &caller, &options).is_ok()
        {
            assert!(!caller.has_token() || caller.has_same_token(&Caller::bot("t")));
        }
        head::to_discord(&mut parts.headers);
        assert!(!parts.headers.contains_key("connection") && !parts.headers.contains_key("host"));
        if let Ok(sent) = head::request(&parts, &upstream) {
            assert_eq!(sent.uri().authority().unwrap(), "discord.com");
        }
        head::from_discord(&mut parts.headers);
    });
}

#[test]
fn answers() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let words =
        ["retry-after: ", "x-ratelimit-global: true", "1e400", "inf", "-0", "Wed, 31 Feb 2026 99:99:99 GMT"];
    Target::new("answers of Discord", [LIMITED, BLOCKED, DATED]).words(words).run_text(|text| {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let (first, headers) = split(head);
        let Ok(status) =
            first.parse::<u16>().map_err(drop).and_then(|code| StatusCode::from_u16(code).map_err(drop))
        else {
            return;
        };
        let _ = needs_body(status, &headers);
        let (bucket, class) = classify(status, &headers, body.as_bytes(), now);
        if let AnswerClass::Limited(limit) = class {
            assert!(limit.retry_after <= Duration::from_hours(25), "{limit:?}");
        }
        if let Some(bucket) = bucket {
            assert!(bucket.remaining <= bucket.limit && bucket.reset_after <= Duration::from_hours(25));
        }
    });
}

//! Heads of messages on their way through: what belongs to one connection is not passed on
//! ([RFC 9110, 7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)).

use http::{HeaderMap, HeaderName, Request, Version, header, request::Parts};

use process::telemetry::trace_context::TRACEPARENT;

use super::ANSWER_429_AS;
use crate::Upstream;

const OF_ONE_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What is about the way to this proxy, and not for Discord.
const OF_THE_WAY: [HeaderName; 9] = [
    header::HOST,
    header::EXPECT,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    // Traces of the bot's own systems.
    HeaderName::from_static(TRACEPARENT),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_ONE_CONNECTION) {
        headers.remove(name);
    }
}

/// Makes a caller's headers fit for Discord.
pub(super) fn to_discord(headers: &mut HeaderMap) {
    // A caller may name this header in Connection; it must still reach Discord.
    let authorization = headers.get(header::AUTHORIZATION).cloned();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // Of the two it is the one that counts (RFC 9112, 6.3): the other must not reach Discord beside it.
        headers.remove(header::CONTENT_LENGTH);
    }
    strip(headers);
    for name in OF_THE_WAY.iter().chain([&ANSWER_429_AS]) {
        headers.remove(name);
    }
    if let Some(authorization) = authorization {
        headers.insert(header::AUTHORIZATION, authorization);
    }
}

/// Makes Discord's headers fit for the caller.
pub(super) fn from_discord(headers: &mut HeaderMap) {
    strip(headers);
}

/// The request without its body, to Discord.
pub(super) fn request(head: &Parts, upstream: &Upstream) -> Result<Request<()>, http::Error> {
    let path =
        head.uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = upstream.url(path)?;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = head.headers.clone();
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_headers_stay_and_others_are_forwarded() {
        let mut headers: HeaderMap = [
            ("connection", "close, x-mine, authorization"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("host", "127.0.0.1:1"),
            ("x-answer-429-as", "503"),
            ("authorization", "Bot t"),
            ("user-agent", "DiscordBot (x, 1)"),
            ("x-audit-log-reason", "why"),
            ("content-type", "multipart/form-data; boundary=b"),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
        to_discord(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "content-type", "user-agent", "x-audit-log-reason"]);
    }
}

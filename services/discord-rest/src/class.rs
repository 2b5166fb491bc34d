//! Classifies Discord's answers by what they mean for later requests. Pure.
//!
//! Discord's API answers through a proxy that adds `via`, behind Cloudflare. A 429, or a page with 403, without any sign of the
//! API comes from Cloudflare itself and blocks the address
//! ([Discord](https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans)).

use std::time::{Duration, SystemTime};

use backoff::asked_wait;
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde_json::Value;

use crate::headers::{self, BUCKET, BucketHeaders, GLOBAL, SCOPE};

/// The wait when an answer has no readable one.
const UNSAID: Duration = Duration::from_mins(1);
/// The wait when an answer says zero.
const SHORTEST: Duration = Duration::from_secs(1);
/// A 429 whose wait exceeds its bucket's reset by this is about something else than the bucket.
const BEYOND: Duration = Duration::from_secs(1);
/// Bytes of a body that are examined.
pub(crate) const BODY_START: usize = 4_096;

/// What a 429 or a block applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The bot, on this bucket.
    User,
    /// The bot, on all routes.
    Global,
    /// All bots that use the resource. Not counted as invalid.
    Shared,
    /// The bot, on something narrower than the bucket, whose other requests go on. For example Discord allows two renames of a
    /// channel in ten minutes but five edits in fifteen seconds.
    Sub,
    /// The address, blocked by Cloudflare.
    Address,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::User, Self::Global, Self::Shared, Self::Sub, Self::Address];

    /// The metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Global => "global",
            Self::Shared => "shared",
            Self::Sub => "sub",
            Self::Address => "address",
        }
    }
}

/// A rate limit or a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// What it applies to.
    pub scope: Scope,
    /// How long to wait.
    pub retry_after: Duration,
}

impl RateLimit {
    /// Whether it counts towards the ban.
    pub(crate) fn counts_as_invalid(self) -> bool {
        self.scope != Scope::Shared
    }
}

/// The meaning of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerClass {
    /// No effect on other requests.
    Fine,
    /// A limit or a block.
    Limited(RateLimit),
    /// Discord refuses the token.
    TokenRefused,
    /// Discord or Cloudflare failed. `Some`: Cloudflare's wait.
    ServerTrouble(Option<Duration>),
}

/// Whether [`classify`] needs the start of the body.
pub fn needs_body(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || (status == StatusCode::FORBIDDEN && !is_from_api(headers))
}

/// Reads an answer's bucket and meaning. `start` is the start of its body, at most [`BODY_START`] bytes, or empty. Unreadable
/// fields count as missing.
pub fn classify(
    status: StatusCode,
    headers: &HeaderMap,
    start: &[u8],
    now: SystemTime,
) -> (Option<BucketHeaders>, AnswerClass) {
    let seen = headers::seen(headers);
    let body = BodyStart::read(headers, start);
    let class = match status.as_u16() {
        429 => AnswerClass::Limited(limited(headers, &body, seen.as_ref(), now)),
        403 if is_block(status, headers, &body) => AnswerClass::Limited(block(headers, &body, now)),
        401 => AnswerClass::TokenRefused,
        500.. => {
            let said = asked_wait(status, headers, now).filter(|_| !is_from_api(headers));
            AnswerClass::ServerTrouble(said)
        }
        _ => AnswerClass::Fine,
    };
    (seen, class)
}

fn limited(
    headers: &HeaderMap,
    body: &BodyStart,
    seen: Option<&BucketHeaders>,
    now: SystemTime,
) -> RateLimit {
    let of_the_api = is_from_api(headers);
    // Retry-After is rounded up to whole seconds; the bucket's reset and the body are exact.
    let said = asked_wait(StatusCode::TOO_MANY_REQUESTS, headers, now).max(body.retry_after);
    let is = |name, word: &str| {
        headers::text(headers, &name).is_some_and(|text| text.trim().eq_ignore_ascii_case(word))
    };
    let scope = if is(SCOPE, "global") {
        Scope::Global
    } else if is(SCOPE, "shared") {
        Scope::Shared
    } else if !of_the_api && body.is_page {
        return block(headers, body, now);
    } else if is(GLOBAL, "true") || body.is_global {
        Scope::Global
    } else if is_block(StatusCode::TOO_MANY_REQUESTS, headers, body) {
        return block(headers, body, now);
    } else {
        match (seen, said) {
            (Some(seen), _) if seen.remaining > 0 => Scope::Sub,
            (Some(seen), Some(said)) if said > seen.reset_after.saturating_add(BEYOND) => Scope::Sub,
            _ => Scope::User,
        }
    };
    let exact = seen.filter(|_| scope == Scope::User).map(|seen| seen.reset_after.max(body_wait(body)));
    let reset_after = || headers::wait(headers, &headers::RESET_AFTER);
    RateLimit { scope, retry_after: or_default_wait(exact.or(said).or_else(reset_after)) }
}

fn body_wait(body: &BodyStart) -> Duration {
    body.retry_after.unwrap_or_default()
}

fn block(headers: &HeaderMap, body: &BodyStart, now: SystemTime) -> RateLimit {
    let said = asked_wait(StatusCode::TOO_MANY_REQUESTS, headers, now).max(body.retry_after);
    RateLimit { scope: Scope::Address, retry_after: or_default_wait(said) }
}

fn or_default_wait(said: Option<Duration>) -> Duration {
    match said {
        Some(Duration::ZERO) => SHORTEST,
        Some(said) => said,
        None => UNSAID,
    }
}

/// Whether the answer passed Discord's own proxy or has headers that only its API sets.
fn is_from_api(headers: &HeaderMap) -> bool {
    headers.contains_key(header::VIA) || headers.contains_key(&BUCKET) || headers.contains_key(&SCOPE)
}

/// Whether Cloudflare made the answer. `status` is 403 or 429.
fn is_block(status: StatusCode, headers: &HeaderMap, body: &BodyStart) -> bool {
    if is_from_api(headers) || body.has_code {
        return false;
    }
    let is_cloudflare = headers::text(headers, &header::SERVER)
        .is_some_and(|server| server.to_ascii_lowercase().contains("cloudflare"));
    // Without a `server` header, another proxy may be in between that keeps the API's bodies but not its headers.
    is_cloudflare || if status == StatusCode::TOO_MANY_REQUESTS { !body.is_limit } else { body.is_page }
}

/// The start of a body.
#[derive(Debug, Default)]
struct BodyStart {
    retry_after: Option<Duration>,
    is_global: bool,
    /// Has the fields of the API's 429s.
    is_limit: bool,
    /// Has an error code of the API.
    has_code: bool,
    /// A page or a line of text, not JSON.
    is_page: bool,
}

impl BodyStart {
    fn read(headers: &HeaderMap, start: &[u8]) -> Self {
        let kind = headers::text(headers, &header::CONTENT_TYPE).map(str::to_ascii_lowercase);
        let is_page = kind.is_some_and(|kind| !kind.contains("json"));
        let encoding = headers::text(headers, &HeaderName::from_static("content-encoding"));
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Self { is_page, ..Self::default() };
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(start) else {
            let start = start.trim_ascii_start();
            let is_page = is_page || start.starts_with(b"<") || start.starts_with(b"error code");
            return Self { is_page, ..Self::default() };
        };
        let seconds = fields.get("retry_after").and_then(|value| match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_f64(),
        });
        Self {
            retry_after: seconds.and_then(headers::limit_wait),
            is_global: fields.get("global").is_some_and(|global| global == true),
            is_limit: fields.contains_key("retry_after") && fields.contains_key("global"),
            has_code: fields.get("code").and_then(Value::as_u64).is_some_and(|code| code != 0),
            is_page,
        }
    }
}

#[cfg(test)]
mod tests;

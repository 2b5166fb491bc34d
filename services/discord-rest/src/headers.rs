//! What the headers of Discord's answers say of limits: pure.
//!
//! [Discord](https://discord.com/developers/docs/topics/rate-limits#header-format).

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};

/// The longest wait that is believed: a day.
const LONGEST: f64 = 86_400.0;
/// The longest name of a bucket that is believed.
const LONGEST_NAME: usize = 64;
/// What a 429 without a time says.
const UNSAID: Duration = Duration::from_secs(1);
/// How far a 429's wait is past its bucket's reset where it is about something else than the bucket.
const BEYOND: Duration = Duration::from_secs(1);

pub(crate) const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(crate) const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
pub(crate) const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
pub(crate) const RESET_AFTER: HeaderName = HeaderName::from_static("x-ratelimit-reset-after");
pub(crate) const BUCKET: HeaderName = HeaderName::from_static("x-ratelimit-bucket");
pub(crate) const SCOPE: HeaderName = HeaderName::from_static("x-ratelimit-scope");
pub(crate) const GLOBAL: HeaderName = HeaderName::from_static("x-ratelimit-global");

/// A bucket, as an answer's headers have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Discord's name for it, without the major parameter.
    pub bucket: String,
    /// Requests of one window.
    pub limit: u32,
    /// What is left of them.
    pub remaining: u32,
    /// How long the window still lasts.
    pub reset_after: Duration,
    /// When it ends by Discord's clock, in Unix milliseconds: the same in all answers of one window. 0 when not said.
    pub reset: u64,
}

/// Whom a 429 is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The bot, on this bucket.
    User,
    /// The bot, on all routes.
    Global,
    /// Everybody who uses the resource. It does not count as invalid.
    Shared,
    /// The bot, on something narrower than the bucket: other requests of the bucket go on. Discord renames a channel twice in ten
    /// minutes, and edits it five times in fifteen seconds.
    Sub,
    /// The address: it is banned, and Cloudflare answers in Discord's place.
    Address,
}

impl Scope {
    /// Its name in metrics.
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

/// A 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Whom it is about.
    pub scope: Scope,
    /// How long to wait.
    pub retry_after: Duration,
}

impl Limited {
    /// It counts for the ban.
    pub(crate) fn counts_as_invalid(self) -> bool {
        self.scope != Scope::Shared
    }
}

/// Reads an answer's headers. What can't be read counts as not said.
pub fn read(status: StatusCode, headers: &HeaderMap) -> (Option<Seen>, Option<Limited>) {
    let seen = seen(headers);
    let limited = (status == StatusCode::TOO_MANY_REQUESTS).then(|| limited(headers, seen.as_ref()));
    (seen, limited)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn seconds(headers: &HeaderMap, name: &HeaderName) -> Option<f64> {
    text(headers, name)?.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
}

fn wait(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    seconds(headers, name).map(|seconds| Duration::from_secs_f64(seconds.min(LONGEST)))
}

fn seen(headers: &HeaderMap) -> Option<Seen> {
    let bucket = text(headers, &BUCKET)?;
    let sane = bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if bucket.is_empty() || bucket.len() > LONGEST_NAME || !sane {
        return None;
    }
    let limit = text(headers, &LIMIT)?.parse().ok().filter(|limit| *limit > 0)?;
    let remaining: u32 = text(headers, &REMAINING)?.parse().ok()?;
    let reset_after = wait(headers, &RESET_AFTER)?;
    let reset = seconds(headers, &RESET).map_or(0, |seconds| (seconds * 1_000.0).round() as u64);
    Some(Seen { bucket: bucket.to_owned(), limit, remaining: remaining.min(limit), reset_after, reset })
}

fn limited(headers: &HeaderMap, seen: Option<&Seen>) -> Limited {
    // The header of a 429 is in whole seconds, rounded up; the bucket's is exact.
    let said = wait(headers, &header::RETRY_AFTER);
    let scope = match text(headers, &SCOPE) {
        Some("global") => Scope::Global,
        Some("shared") => Scope::Shared,
        _ if text(headers, &GLOBAL) == Some("true") => Scope::Global,
        _ if is_a_page(headers) => Scope::Address,
        _ => match (seen, said) {
            (Some(seen), _) if seen.remaining > 0 => Scope::Sub,
            (Some(seen), Some(said)) if said > seen.reset_after + BEYOND => Scope::Sub,
            _ => Scope::User,
        },
    };
    let exact = seen.filter(|_| scope == Scope::User).map(|seen| seen.reset_after);
    Limited { scope, retry_after: exact.or(said).unwrap_or(UNSAID) }
}

/// Cloudflare shows people a page, and others a line; Discord's API answers in JSON, and through a proxy that names itself.
fn is_a_page(headers: &HeaderMap) -> bool {
    text(headers, &header::CONTENT_TYPE).is_some_and(|kind| !kind.starts_with("application/json"))
        && !headers.contains_key(header::VIA)
        && !headers.contains_key(&BUCKET)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    const GOOD: [(&str, &str); 5] = [
        ("x-ratelimit-bucket", "abc123"),
        ("x-ratelimit-limit", "5"),
        ("x-ratelimit-remaining", "2"),
        ("x-ratelimit-reset", "1790000000.250"),
        ("x-ratelimit-reset-after", "1.5"),
    ];

    fn with(more: &[(&'static str, &'static str)]) -> HeaderMap {
        headers(&[GOOD.as_slice(), more].concat())
    }

    #[test]
    fn a_bucket_is_read_with_its_decimals() {
        let (seen, limited) = read(StatusCode::OK, &headers(&GOOD));
        let wanted = Seen {
            bucket: "abc123".into(),
            limit: 5,
            remaining: 2,
            reset_after: Duration::from_millis(1_500),
            reset: 1_790_000_000_250,
        };
        assert_eq!((seen, limited), (Some(wanted), None));
        assert_eq!(read(StatusCode::OK, &HeaderMap::new()), (None, None));
    }

    #[test]
    fn nonsense_counts_as_not_said() {
        for (name, value) in [
            ("x-ratelimit-limit", "0"),
            ("x-ratelimit-limit", "many"),
            ("x-ratelimit-remaining", "-1"),
            ("x-ratelimit-reset-after", "NaN"),
            ("x-ratelimit-reset-after", "-3"),
            ("x-ratelimit-bucket", "a b"),
            ("x-ratelimit-bucket", ""),
        ] {
            let mut wrong = headers(&GOOD);
            wrong.insert(name, value.parse().unwrap());
            assert_eq!(read(StatusCode::OK, &wrong).0, None, "{name}: {value}");
        }
        let mut long = headers(&GOOD);
        long.insert("x-ratelimit-reset-after", "1e300".parse().unwrap());
        assert_eq!(read(StatusCode::OK, &long).0.unwrap().reset_after, Duration::from_hours(24));
    }

    #[test]
    fn each_scope_of_a_429_is_told() {
        let of = |headers: &HeaderMap| read(StatusCode::TOO_MANY_REQUESTS, headers).1.unwrap();
        let limited = |scope, ms| Limited { scope, retry_after: Duration::from_millis(ms) };
        let mut empty = with(&[("retry-after", "2"), ("x-ratelimit-scope", "user")]);
        empty.insert("x-ratelimit-remaining", "0".parse().unwrap());
        assert_eq!(of(&empty), limited(Scope::User, 1_500), "exact, not in whole seconds");
        assert_eq!(
            of(&with(&[("retry-after", "600"), ("x-ratelimit-scope", "user")])),
            limited(Scope::Sub, 600_000)
        );
        empty.insert("retry-after", "600".parse().unwrap());
        assert_eq!(of(&empty), limited(Scope::Sub, 600_000), "far beyond its bucket's reset");
        assert_eq!(
            of(&with(&[("retry-after", "3"), ("x-ratelimit-scope", "shared")])),
            limited(Scope::Shared, 3_000)
        );
        assert_eq!(
            of(&headers(&[("retry-after", "3"), ("x-ratelimit-global", "true")])),
            limited(Scope::Global, 3_000)
        );
        assert_eq!(
            of(&headers(&[("retry-after", "3")])),
            limited(Scope::User, 3_000),
            "a webhook's has no scope"
        );
        assert_eq!(of(&HeaderMap::new()), limited(Scope::User, 1_000));
        let page = headers(&[("retry-after", "900"), ("content-type", "text/html; charset=UTF-8")]);
        assert_eq!(of(&page), limited(Scope::Address, 900_000));
        let line = headers(&[("retry-after", "900"), ("content-type", "text/plain")]);
        assert_eq!(of(&line), limited(Scope::Address, 900_000), "error code: 1015");
        assert!(!limited(Scope::Shared, 1).counts_as_invalid() && limited(Scope::Sub, 1).counts_as_invalid());
    }
}

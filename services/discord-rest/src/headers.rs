//! The rate-limit headers of Discord's answers. Pure.
//!
//! [Discord](https://discord.com/developers/docs/topics/rate-limits#header-format).

use std::time::Duration;

use backoff::{LONGEST_LIMIT, wait_of_seconds};
use http::{HeaderMap, HeaderName};

/// The longest name of a bucket that is believed.
const LONGEST_NAME: usize = 64;
/// Window ends above this, in Unix seconds, are rejected; as milliseconds it is far below 2^53.
const LATEST_RESET: f64 = 1e11;

pub(crate) const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(crate) const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
pub(crate) const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
pub(crate) const RESET_AFTER: HeaderName = HeaderName::from_static("x-ratelimit-reset-after");
pub(crate) const BUCKET: HeaderName = HeaderName::from_static("x-ratelimit-bucket");
pub(crate) const SCOPE: HeaderName = HeaderName::from_static("x-ratelimit-scope");
pub(crate) const GLOBAL: HeaderName = HeaderName::from_static("x-ratelimit-global");

/// A bucket, as an answer's headers have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketHeaders {
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

/// A header's value, where it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn seconds(headers: &HeaderMap, name: &HeaderName) -> Option<f64> {
    text(headers, name)?.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
}

/// Seconds of a limit as a wait; `None` when invalid.
pub(crate) fn limit_wait(seconds: f64) -> Option<Duration> {
    wait_of_seconds(seconds, LONGEST_LIMIT)
}

/// A header's value as a wait.
pub(crate) fn wait(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    seconds(headers, name).and_then(limit_wait)
}

/// The bucket in an answer's headers. Unreadable fields count as missing.
pub(crate) fn seen(headers: &HeaderMap) -> Option<BucketHeaders> {
    let bucket = text(headers, &BUCKET)?;
    let sane = bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if bucket.is_empty() || bucket.len() > LONGEST_NAME || !sane {
        return None;
    }
    let limit = text(headers, &LIMIT)?.parse().ok().filter(|limit| *limit > 0)?;
    let remaining: u32 = text(headers, &REMAINING)?.parse().ok()?;
    let reset_after = wait(headers, &RESET_AFTER)?;
    let reset = seconds(headers, &RESET).filter(|seconds| *seconds < LATEST_RESET);
    let reset = reset.map_or(0, |seconds| (seconds * 1_000.0).round() as u64);
    Some(BucketHeaders {
        bucket: bucket.to_owned(),
        limit,
        remaining: remaining.min(limit),
        reset_after,
        reset,
    })
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

    #[test]
    fn a_bucket_is_read_with_its_decimals() {
        let wanted = BucketHeaders {
            bucket: "abc123".into(),
            limit: 5,
            remaining: 2,
            reset_after: Duration::from_millis(1_500),
            reset: 1_790_000_000_250,
        };
        assert_eq!(seen(&headers(&GOOD)), Some(wanted));
        assert_eq!(seen(&HeaderMap::new()), None);
    }

    #[test]
    fn malformed_header_counts_as_absent() {
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
            assert_eq!(seen(&wrong), None, "{name}: {value}");
        }
        let mut far = headers(&GOOD);
        far.insert("x-ratelimit-reset", "1e300".parse().unwrap());
        assert_eq!(seen(&far).unwrap().reset, 0);
        let mut long = headers(&GOOD);
        long.insert("x-ratelimit-reset-after", "1e300".parse().unwrap());
        assert_eq!(seen(&long).unwrap().reset_after, Duration::from_hours(1));
    }
}

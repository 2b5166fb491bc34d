//! The waits that Discord and Cloudflare ask for in an HTTP answer. Pure.
//!
//! A wait is a request, and may be wrong: an outage that ends in a minute says a day, a clock runs hours behind. So it is
//! believed up to a bound. Asking again after the bound costs one request.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

/// The longest wait that is believed of a rate limit or a block.
pub const LONGEST_LIMIT: Duration = Duration::from_hours(1);

/// The longest wait that is believed of any other failure.
const LONGEST_FAILURE: Duration = Duration::from_mins(1);

/// The precision of a date, and so the shortest wait that it asks for.
const DATE_STEP: Duration = Duration::from_secs(1);

/// Returns the longest wait that is believed of an answer with this status.
pub fn longest_asked(status: StatusCode) -> Duration {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN => LONGEST_LIMIT,
        _ => LONGEST_FAILURE,
    }
}

/// Returns the wait that `Retry-After` asks for, in seconds or as a date, at most [`longest_asked`]; the longest of
/// several. `now` is this machine's time. `None`: missing, unreadable, or a date that has passed.
pub fn asked_wait(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |value: &'_ http::HeaderValue| value.to_str().map(|text| text.trim().to_owned()).ok();
    let date = |text: String| httpdate::parse_http_date(&text).ok();
    let sent_at = headers.get(header::DATE).and_then(text).and_then(date);
    let longest = longest_asked(status);
    let read = |text: String| {
        if let Ok(seconds) = text.parse() {
            return wait_of_seconds(seconds, longest);
        }
        let until = date(text)?;
        // The date is by the server's clock or by the right time, and ours may be wrong too: of the waits that this
        // leaves, the shorter one.
        let waits = sent_at.into_iter().chain([now]).filter_map(|since| until.duration_since(since).ok());
        let wait = waits.filter(|wait| !wait.is_zero()).min()?;
        Some(wait.clamp(DATE_STEP, longest))
    };
    headers.get_all(header::RETRY_AFTER).iter().filter_map(text).filter_map(read).max()
}

/// Returns `seconds` as a wait of at most `longest`; `None` if it is negative or not finite.
pub fn wait_of_seconds(seconds: f64, longest: Duration) -> Option<Duration> {
    let is_wait = seconds.is_finite() && seconds >= 0.0;
    is_wait.then(|| Duration::from_secs_f64(seconds.min(longest.as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;
    const HOURS: i64 = 3_600;

    /// A date this many seconds away.
    fn date(seconds: i64) -> String {
        let since_epoch = Duration::from_secs(NOW.checked_add_signed(seconds).unwrap());
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch)
    }

    fn asked(status: u16, sent_at: Option<&str>, waits: &[&str]) -> Option<f64> {
        let mut headers = HeaderMap::new();
        if let Some(sent_at) = sent_at {
            headers.insert(header::DATE, sent_at.parse().unwrap());
        }
        for wait in waits {
            headers.append(header::RETRY_AFTER, wait.parse().unwrap());
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        asked_wait(StatusCode::from_u16(status).unwrap(), &headers, now).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn wait_in_seconds_is_read_and_bounded() {
        for (status, waits, wanted) in [
            (429, vec![], None),
            (429, vec!["2"], Some(2.0)),
            (429, vec![" 2.75 "], Some(2.75)),
            (429, vec!["0"], Some(0.0)),
            (429, vec!["1", "soon", "20", "-5"], Some(20.0)),
            (429, vec!["soon"], None),
            (429, vec!["-5"], None),
            (429, vec!["NaN"], None),
            (429, vec!["inf"], None),
            (429, vec!["3601"], Some(3_600.0)),
            (403, vec!["99999999999999999999"], Some(3_600.0)),
            (429, vec!["1e300"], Some(3_600.0)),
            (503, vec!["86400"], Some(60.0)),
            (500, vec!["7"], Some(7.0)),
            (200, vec!["1e300"], Some(60.0)),
        ] {
            assert_eq!(asked(status, None, &waits), wanted, "{status} {waits:?}");
        }
    }

    /// Rows: the answer's `Date`, its `Retry-After`, both in seconds from now, and the wait.
    #[test]
    fn date_is_read_by_whichever_clock_gives_the_shorter_wait() {
        for (sent_at, until, wanted) in [
            (None, 20, Some(20.0)),
            (Some(0), 20, Some(20.0)),
            (Some(-1), 20, Some(20.0)),
            // The server's clock is behind or ahead.
            (Some(-2 * HOURS), -2 * HOURS + 60, Some(60.0)),
            (Some(2 * HOURS), 2 * HOURS + 3, Some(3.0)),
            // Only `Date` is wrong.
            (Some(-(NOW as i64)), 30, Some(30.0)),
            (Some(2 * HOURS), 30, Some(30.0)),
            // The date has passed.
            (None, 0, None),
            (None, -5, None),
            (Some(0), -2 * HOURS, None),
            (Some(20), 20, Some(20.0)),
            (Some(5), -5, None),
            // Far away.
            (None, 24 * HOURS, Some(3_600.0)),
            (Some(0), 24 * HOURS, Some(3_600.0)),
        ] {
            let sent_at = sent_at.map(date);
            let found = asked(429, sent_at.as_deref(), &[&date(until)]);
            assert_eq!(found, wanted, "{sent_at:?} {until}");
        }
        assert_eq!(asked(429, Some("yesterday"), &[&date(9)]), Some(9.0));
        assert_eq!(asked(503, None, &[&date(24 * HOURS)]), Some(60.0));
        assert_eq!(asked(429, None, &["Fri, 31 Dec 9999 23:59:59 GMT"]), Some(3_600.0));
    }
}

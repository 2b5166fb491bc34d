//! Moments on the command line and in answers. People think in their local time; the fleet writes the wall clock of its
//! coordinator, as UTC.

use chrono::{DateTime, Days, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};

/// What a moment may look like, for errors.
const EXPECTED: &str = "expected a local time such as 03:12 or \"2026-11-29 03:12\", a time with Z for UTC, or an age such as 2h";

/// A moment on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Milliseconds since the Unix epoch.
    pub(crate) unix_ms: u64,
    /// How long the named time lasts: a minute, a second, or no time.
    pub(crate) lasts_ms: u64,
}

/// Parses a moment before now.
pub(crate) fn parse(text: &str) -> Result<Moment, String> {
    parse_at(text, &Local::now())
}

/// Parses a moment, with local times in the zone of `now`.
fn parse_at<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Result<Moment, String> {
    if let Ok(age) = process::settings::duration(text) {
        let age = TimeDelta::from_std(age).map_err(|_| EXPECTED.to_owned())?;
        let at = now.clone().checked_sub_signed(age).ok_or(EXPECTED)?;
        return moment(&at, 0);
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return moment(&at, 1_000);
    }
    match text.strip_suffix(['Z', 'z']) {
        Some(utc) => parse_in(utc.trim_end(), &now.with_timezone(&Utc)),
        None => parse_in(text, now),
    }
}

/// Parses a time of day or a date and time in the zone of `now`. A time of day is the last one before now.
fn parse_in<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Result<Moment, String> {
    let skipped = || format!("{text}: the clocks skipped that time");
    let resolve =
        |local: NaiveDateTime| now.timezone().from_local_datetime(&local).earliest().ok_or_else(skipped);
    for (format, lasts_ms) in [("%H:%M", 60_000), ("%H:%M:%S", 1_000)] {
        if let Ok(time) = NaiveTime::parse_from_str(text, format) {
            let today: NaiveDate = now.date_naive();
            let at = resolve(today.and_time(time))?;
            if at <= *now {
                return moment(&at, lasts_ms);
            }
            let yesterday = today.checked_sub_days(Days::new(1)).ok_or(EXPECTED)?;
            return moment(&resolve(yesterday.and_time(time))?, lasts_ms);
        }
        for date in ["%Y-%m-%d ", "%Y-%m-%dT"] {
            if let Ok(local) = NaiveDateTime::parse_from_str(text, &format!("{date}{format}")) {
                return moment(&resolve(local)?, lasts_ms);
            }
        }
    }
    Err(EXPECTED.to_owned())
}

fn moment<Z: TimeZone>(at: &DateTime<Z>, lasts_ms: u64) -> Result<Moment, String> {
    let unix_ms = u64::try_from(at.timestamp_millis()).map_err(|_| EXPECTED.to_owned())?;
    Ok(Moment { unix_ms, lasts_ms })
}

/// How times are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeStyle {
    /// Local time, and UTC beside it where that differs.
    Local,
    /// UTC alone, as in RFC 3339.
    Utc,
}

/// Returns a time for people or programs: `2026-11-29 03:12:04 (02:12:04 UTC)`, or `2026-11-29T02:12:04.061Z`.
pub(crate) fn show(unix_ms: u64, style: TimeStyle) -> String {
    match style {
        TimeStyle::Local => show_in(unix_ms, &Local),
        TimeStyle::Utc => match utc(unix_ms) {
            Some(at) => at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            None => format!("{unix_ms} ms"),
        },
    }
}

fn show_in<Z: TimeZone<Offset: std::fmt::Display>>(unix_ms: u64, zone: &Z) -> String {
    let Some(at) = utc(unix_ms) else { return format!("{unix_ms} ms") };
    let local = at.with_timezone(zone);
    if local.naive_local() == at.naive_utc() {
        return at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    }
    format!("{} ({} UTC)", local.format("%Y-%m-%d %H:%M:%S"), at.format("%H:%M:%S"))
}

fn utc(unix_ms: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(i64::try_from(unix_ms).ok()?)
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    /// 2026-11-29 14:00:30 in a zone two hours ahead of UTC.
    fn now() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-29T14:00:30+02:00").unwrap()
    }

    #[test]
    fn moments_are_local_unless_they_say_utc() {
        let rows = [
            ("03:12", "2026-11-29T01:12:00Z", 60_000),
            ("03:12:05", "2026-11-29T01:12:05Z", 1_000),
            ("14:00", "2026-11-29T12:00:00Z", 60_000),
            ("14:01", "2026-11-28T12:01:00Z", 60_000),
            ("03:12Z", "2026-11-29T03:12:00Z", 60_000),
            ("12:01Z", "2026-11-28T12:01:00Z", 60_000),
            ("2026-11-27 03:12", "2026-11-27T01:12:00Z", 60_000),
            ("2026-11-27T03:12:04", "2026-11-27T01:12:04Z", 1_000),
            ("2026-11-27T03:12:04+05:00", "2026-11-26T22:12:04Z", 1_000),
            ("2h", "2026-11-29T10:00:30Z", 0),
            ("1h 30m", "2026-11-29T10:30:30Z", 0),
        ];
        for (text, expected, lasts_ms) in rows {
            let expected = DateTime::parse_from_rfc3339(expected).unwrap().timestamp_millis() as u64;
            assert_eq!(parse_at(text, &now()), Ok(Moment { unix_ms: expected, lasts_ms }), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_examples() {
        for text in ["", "3", "25:00", "03:12:99", "yesterday", "1960-01-01 00:00", "2026-13-01 00:00", "-2h"]
        {
            let error = parse_at(text, &now()).unwrap_err();
            assert!(error.contains("03:12"), "{text}: {error}");
        }
    }

    #[test]
    fn local_time_has_utc_beside_it() {
        let at = now().timestamp_millis() as u64;
        assert_eq!(show_in(at, &now().timezone()), "2026-11-29 14:00:30 (12:00:30 UTC)");
        assert_eq!(show_in(at, &Utc), "2026-11-29 12:00:30 UTC");
        assert_eq!(show(at + 61, TimeStyle::Utc), "2026-11-29T12:00:30.061Z");
        assert_eq!(show(u64::MAX, TimeStyle::Utc), format!("{} ms", u64::MAX));
    }
}

//! Discord's timestamps: ISO 8601 with microseconds and an offset.

use super::snowflake::DISCORD_EPOCH_MS;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Formats the time `ms` after Discord's epoch, such as `2019-03-02T11:22:33.044000+00:00`.
pub(crate) fn iso(ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(DISCORD_EPOCH_MS + ms);
    let text = humantime::format_rfc3339_micros(at).to_string();
    format!("{}+00:00", text.trim_end_matches('Z'))
}

/// Formats the date `away` from now for HTTP. [Source](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7).
pub(crate) fn http_date(away: Duration) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let since = Duration::from_millis(unix_ms()).saturating_add(away);
    // The epoch was a Thursday.
    let day = DAYS[(since.as_secs() / 86_400 % 7) as usize];
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string();
    let (date, time) = text.trim_end_matches('Z').split_once('T').unwrap_or_default();
    let mut parts = date.split('-');
    let (year, month, number) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    let (year, number) = (year.unwrap_or_default(), number.unwrap_or_default());
    format!("{day}, {number} {} {year} {time} GMT", MONTHS[(month - 1) % 12])
}

/// Returns milliseconds since the Unix epoch by the wall clock.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Returns milliseconds since Discord's epoch by the wall clock.
pub(crate) fn now_ms() -> u64 {
    unix_ms().saturating_sub(DISCORD_EPOCH_MS)
}

#[cfg(test)]
mod tests {
    use super::iso;

    #[test]
    fn timestamps_have_discords_format() {
        assert_eq!(iso(0), "2015-01-01T00:00:00.000000+00:00");
        assert_eq!(iso(1_234), "2015-01-01T00:00:01.234000+00:00");
    }
}

//! Discord's timestamps: ISO 8601 with microseconds and an offset.

use super::snowflake::DISCORD_EPOCH_MS;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time `ms` after Discord's epoch, such as `2019-03-02T11:22:33.044000+00:00`.
pub(crate) fn iso(ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(DISCORD_EPOCH_MS + ms);
    let text = humantime::format_rfc3339_micros(at).to_string();
    format!("{}+00:00", text.trim_end_matches('Z'))
}

/// Milliseconds since the Unix epoch by the wall clock.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Milliseconds since Discord's epoch by the wall clock.
pub(crate) fn now_ms() -> u64 {
    unix_ms().saturating_sub(DISCORD_EPOCH_MS)
}

#[cfg(test)]
mod tests {
    use super::iso;

    #[test]
    fn timestamps_look_like_discords() {
        assert_eq!(iso(0), "2015-01-01T00:00:00.000000+00:00");
        assert_eq!(iso(1_234), "2015-01-01T00:00:01.234000+00:00");
    }
}

//! Small values and their syntax.

use std::time::Duration;

/// The longest duration of a setting. Sums of such durations and the present time are always valid.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// Parses a duration with its unit: `500ms`, `2s`, `1m 30s`.
///
/// # Errors
/// The text is not a duration, or the duration is zero or above 366 days.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it takes a duration above zero".to_owned()),
        Ok(duration) if duration > LONGEST => Err("it takes at most 366days".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("it takes a duration with a unit: 500ms, 2s, 1m 30s".to_owned()),
    }
}

/// Parses a prefix of metric names: letters, digits and `_`, and no digit first
/// ([Prometheus](https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels)).
///
/// # Errors
/// Anything else.
pub fn metrics_prefix(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first_is_no_digit = text.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if first_is_no_digit && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("it takes letters, digits and _, and no digit first".to_owned())
    }
}

/// The default name of a worker: host name and a nonce, so that two workers on a host differ.
pub fn default_worker_name() -> String {
    let host: String = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .take(40)
        .collect();
    let host = if host.is_empty() { "worker" } else { &host };
    format!("{host}-{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("5").is_err());
        assert!(duration("0s").is_err());
        assert!(duration("-1s").is_err());
        assert!(duration("366days").is_ok());
        for too_long in ["366days 1ns", "500000000y", "18446744073709551615s"] {
            assert!(duration(too_long).is_err(), "{too_long} passed");
        }
    }

    #[test]
    fn metrics_prefixes_are_valid_for_prometheus() {
        assert!(metrics_prefix("my_bot2").is_ok());
        for wrong in ["", "my-bot", "2bot", "ü"] {
            assert!(metrics_prefix(wrong).is_err(), "{wrong:?} passed");
        }
    }
}

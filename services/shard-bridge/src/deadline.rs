//! By when an answer must be out.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

/// How long a question may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// When the caller says nothing.
    pub default: Duration,
    /// Upper limit for a caller's deadline.
    pub longest: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { default: Duration::from_secs(2), longest: Duration::from_secs(30) }
    }
}

impl Deadlines {
    /// The moment by which the workers' answers must be here: the lowest of what the request asks for, the gRPC deadline
    /// and our own limit, less a margin for the way back, so that a partial answer comes instead of none.
    pub fn fan_out_until(&self, asked_ms: Option<u32>, metadata: &MetadataMap) -> Instant {
        let asked = asked_ms.filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms.into()));
        let grpc = grpc_timeout(metadata);
        let whole = match (asked, grpc) {
            (None, None) => self.default,
            (asked, grpc) => {
                asked.unwrap_or(self.longest).min(grpc.unwrap_or(self.longest)).min(self.longest)
            }
        };
        Instant::now() + whole.saturating_sub(margin(whole))
    }
}

/// By when a worker that another process asks must have its answer out: what that one gave it in the gRPC deadline, less a margin for
/// the way back. Less than that process's own, which is for what comes after.
pub fn hop_until(metadata: &MetadataMap) -> Instant {
    let Deadlines { default, longest } = Deadlines::default();
    let whole = grpc_timeout(metadata).unwrap_or(default).min(longest);
    let margin = (whole / 20).clamp(Duration::from_millis(20), Duration::from_millis(100)).min(whole / 2);
    Instant::now() + whole.saturating_sub(margin)
}

fn grpc_timeout(metadata: &MetadataMap) -> Option<Duration> {
    metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse_grpc_timeout)
}

/// A tenth, but at least 20 ms where there is room for it, and at most 200 ms.
pub(crate) fn margin(whole: Duration) -> Duration {
    (whole / 10).clamp(Duration::from_millis(20), Duration::from_millis(200)).min(whole / 2)
}

/// `TimeoutValue TimeoutUnit` of the
/// [gRPC protocol](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests): up to 8 digits and a unit.
fn parse_grpc_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last().filter(char::is_ascii)?;
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(value * 3600)),
        'M' => Some(Duration::from_secs(value * 60)),
        'S' => Some(Duration::from_secs(value)),
        'm' => Some(Duration::from_millis(value)),
        'u' => Some(Duration::from_micros(value)),
        'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_lowest_counts() {
        let deadlines = Deadlines::default();
        let until = |asked, header: Option<&str>| {
            let mut metadata = MetadataMap::new();
            if let Some(header) = header {
                metadata.insert("grpc-timeout", header.parse().unwrap());
            }
            deadlines.fan_out_until(asked, &metadata) - Instant::now()
        };
        assert_eq!(until(None, None), Duration::from_millis(1800));
        assert_eq!(until(Some(1000), None), Duration::from_millis(900));
        assert_eq!(until(Some(1000), Some("500m")), Duration::from_millis(450));
        assert_eq!(until(None, Some("10S")), Duration::from_millis(9800));
        assert_eq!(until(Some(3_600_000), None), Duration::from_millis(29_800));
        assert_eq!(until(Some(10), None), Duration::from_millis(5));
        assert_eq!(until(None, Some("nonsense")), Duration::from_millis(1800));
    }

    #[tokio::test(start_paused = true)]
    async fn forwarded_question_leaves_time_for_its_answer_to_return() {
        let until = |header: Option<&str>| {
            let mut metadata = MetadataMap::new();
            if let Some(header) = header {
                metadata.insert("grpc-timeout", header.parse().unwrap());
            }
            hop_until(&metadata) - Instant::now()
        };
        assert_eq!(until(Some("1800m")), Duration::from_millis(1710));
        assert_eq!(until(Some("10S")), Duration::from_millis(9900));
        assert_eq!(until(Some("10m")), Duration::from_millis(5));
        assert_eq!(until(Some("1H")), Duration::from_millis(29_900));
        assert_eq!(until(None), Duration::from_millis(1900));
    }
}

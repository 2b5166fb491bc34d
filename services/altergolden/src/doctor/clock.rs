//! Judges this machine's clock by other clocks. Pure.
//!
//! Epochs and terms begin at the wall clock (docs/decisions/0003), and the age of interactions is counted by it. Leases are not.

use std::time::{Duration, SystemTime};

use super::{discord::Answer, report::Finding};

/// A difference up to here does no harm.
const TOLERATED: Duration = Duration::from_secs(2);
/// From here on tokens of interactions seem dead, and TLS certificates invalid.
const MUCH: Duration = Duration::from_mins(1);
const REMEDY: &str = "let this machine set its clock by NTP (timedatectl set-ntp true)";

/// Another clock's time, when this machine's clock showed `here`; `unsure` is the largest error of the comparison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    pub(super) there: SystemTime,
    pub(super) here: SystemTime,
    pub(super) unsure: Duration,
}

impl Comparison {
    /// By the header `Date`, which counts whole seconds.
    fn of_answer(answer: &Answer) -> Option<Self> {
        let second = Duration::from_millis(500);
        let (there, here) = (answer.date?.checked_add(second)?, answer.sent.checked_add(answer.took / 2)?);
        Some(Self { there, here, unsure: second + answer.took / 2 })
    }

    /// Returns how far this machine's clock is off at least, and whether it is ahead.
    fn skew(self) -> (Duration, bool) {
        match self.here.duration_since(self.there) {
            Ok(ahead) => (ahead, true),
            Err(behind) => (behind.duration(), false),
        }
    }
}

/// Compares this machine's clock with Discord's.
pub(super) fn against_discord(user: &Result<Answer, String>) -> Finding {
    const CHECK: &str = "clock_discord";
    let answer = match user {
        Ok(answer) => answer,
        Err(why) => return Finding::unknown(CHECK, why.clone(), "see the line about the token"),
    };
    match Comparison::of_answer(answer) {
        Some(comparison) => judge(CHECK, "Discord's", comparison),
        None => Finding::unknown(CHECK, "Discord's answer has no valid Date header", "try again"),
    }
}

/// Compares this machine's clock with another one.
pub(super) fn judge(check: &'static str, whose: &str, comparison: Comparison) -> Finding {
    let (skew, is_ahead) = comparison.skew();
    let unsure = comparison.unsure;
    let sure = skew.saturating_sub(unsure);
    let side = if is_ahead { "ahead of" } else { "behind" };
    let text = if sure.is_zero() {
        format!("this machine's clock agrees with {whose} to {} ms", unsure.as_millis())
    } else {
        format!(
            "this machine's clock is {:.1} s {side} {whose} (+-{} ms)",
            skew.as_secs_f64(),
            unsure.as_millis()
        )
    };
    if sure > MUCH {
        Finding::fail(check, text, REMEDY)
    } else if sure > TOLERATED {
        Finding::warn(check, text, REMEDY)
    } else {
        Finding::ok(check, text)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::Verdict, *};

    #[test]
    fn only_a_sure_difference_counts() {
        let here = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let verdict = |there, unsure| {
            let unsure = Duration::from_millis(unsure);
            judge("clock_redis", "Redis's", Comparison { there, here, unsure })
        };
        let ms = Duration::from_millis;
        assert_eq!(verdict(here, 1).verdict, Verdict::Ok);
        assert_eq!(verdict(here + ms(2_400), 500).verdict, Verdict::Ok);
        assert!(verdict(here + ms(2_600), 500).text.contains("2.6 s behind"));
        assert_eq!(verdict(here + ms(2_600), 500).verdict, Verdict::Warn);
        assert_eq!(verdict(here - ms(61_000), 500).verdict, Verdict::Fail);
        assert!(verdict(here - ms(61_000), 500).text.contains("ahead of"));
    }

    #[test]
    fn header_counts_whole_seconds() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let at = |ms| {
            let sent = date + Duration::from_millis(ms);
            against_discord(&Ok(Answer {
                status: 200,
                date: Some(date),
                sent,
                took: Duration::from_millis(20),
                body: None,
            }))
        };
        for ms in [0, 500, 999] {
            assert!(at(ms).text.contains("agrees"), "{:?}", at(ms));
        }
        assert_eq!(at(4_000).verdict, Verdict::Warn);
        let dateless = Answer { status: 200, date: None, sent: date, took: Duration::ZERO, body: None };
        assert_eq!(against_discord(&Ok(dateless)).verdict, Verdict::Unknown);
    }
}

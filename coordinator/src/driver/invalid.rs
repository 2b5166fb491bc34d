//! A record of the fleet store that this program did not write: another type, or unreadable fields.

use std::time::Duration;

use fleet_model::{Problem, ProblemCode};

use crate::fleet::Now;

/// How long the problem is shown after the last encounter. Whatever reads the record retries sooner.
const SHOWN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InvalidRecord {
    key: String,
    since_unix_ms: u64,
    last: Duration,
}

impl InvalidRecord {
    /// Notes that the record at `key` is invalid; `before` is the previous one.
    pub(super) fn new(key: &str, before: Option<Self>, now: Now) -> Self {
        let same = before.filter(|before| before.key == key && now.mono.saturating_sub(before.last) < SHOWN);
        if same.is_none() {
            tracing::error!(key, "invalid record in the fleet store");
        }
        let since_unix_ms = same.map_or(now.unix_ms, |same| same.since_unix_ms);
        Self { key: key.to_owned(), since_unix_ms, last: now.mono }
    }

    /// The problem, while the record was met recently.
    pub(super) fn problem(&self, now: Duration) -> Option<Problem> {
        let shown = now.saturating_sub(self.last) < SHOWN;
        shown.then(|| problem(&self.key).since(self.since_unix_ms))
    }
}

/// The problem with the record at `key`.
pub(crate) fn problem(key: &str) -> Problem {
    let why = format!(
        "the record at {} in the fleet store has another type or can't be read: delete it, or give this fleet a REDIS_PREFIX of \
         its own",
        outside_text::printable(key)
    );
    Problem::new(ProblemCode::StoreRecordInvalid, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Now {
        Now { mono: Duration::from_secs(secs), unix_ms: secs * 1000 }
    }

    #[test]
    fn problem_is_shown_while_the_record_is_met() {
        let first = InvalidRecord::new("{p}:term", None, at(10));
        let again = InvalidRecord::new("{p}:term", Some(first.clone()), at(20));
        let problem = again.problem(Duration::from_secs(49)).unwrap();
        assert_eq!((problem.code, problem.since_unix_ms), (ProblemCode::StoreRecordInvalid, Some(10_000)));
        assert_eq!(again.problem(Duration::from_secs(50)), None);
        let other = InvalidRecord::new("{p}:fleet", Some(again), at(21));
        assert_eq!(other.problem(Duration::from_secs(22)).unwrap().since_unix_ms, Some(21_000));
        let later = InvalidRecord::new("{p}:fleet", Some(other), at(60));
        assert_eq!(later.problem(Duration::from_secs(61)).unwrap().since_unix_ms, Some(60_000));
    }
}

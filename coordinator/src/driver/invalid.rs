//! Records of the fleet store that this program did not write: another type, unreadable fields, impossible numbers.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{Problem, ProblemCode};

use super::Driver;
use fleet::Now;

/// How long the problem is shown after the last encounter. Readers of the record retry sooner.
const SHOWN: Duration = Duration::from_secs(30);

/// The most records that are named.
const RECORDS: usize = 16;

/// By key: since when the record is invalid (Unix time in milliseconds), and when it was last met.
#[derive(Default)]
pub(super) struct InvalidRecords(BTreeMap<String, (u64, Duration)>);

impl InvalidRecords {
    /// Notes that the record at `key` is invalid.
    fn note(&mut self, key: &str, now: Now) {
        self.0.retain(|_, (_, last)| now.mono.saturating_sub(*last) < SHOWN);
        if let Some((_, last)) = self.0.get_mut(key) {
            *last = now.mono;
        } else if self.0.len() < RECORDS {
            tracing::error!(key = %outside_text::printable(key), "invalid record in the fleet store");
            self.0.insert(key.to_owned(), (now.unix_ms, now.mono));
        }
    }

    /// The problems with records that were met lately.
    pub(super) fn problems(&self, now: Duration) -> impl Iterator<Item = Problem> {
        let shown = self.0.iter().filter(move |(_, (_, last))| now.saturating_sub(*last) < SHOWN);
        shown.map(|(key, (since_unix_ms, _))| problem(key).since(*since_unix_ms))
    }
}

impl Driver<'_> {
    /// Names invalid records among the problems for a while.
    pub(crate) fn name_invalid<'a>(&mut self, keys: impl IntoIterator<Item = &'a String>) {
        let now = self.shell.now();
        for key in keys {
            self.store.invalid.note(key, now);
            self.publishing.dirty = true;
        }
    }
}

/// The problem with the record at `key`.
pub(crate) fn problem(key: &str) -> Problem {
    let why = format!(
        "the record at {} in the fleet store has another type, cannot be read or holds impossible numbers: `altergolden repair` removes it; or give this fleet a REDIS_PREFIX \
         of its own",
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
    fn records_are_named_while_they_are_met_and_bounded() {
        let mut records = InvalidRecords::default();
        let since = |records: &InvalidRecords, secs| {
            records
                .problems(Duration::from_secs(secs))
                .map(|problem| problem.since_unix_ms.unwrap())
                .collect::<Vec<_>>()
        };
        records.note("{p}:term", at(10));
        records.note("{p}:fleet", at(12));
        records.note("{p}:term", at(20));
        assert_eq!(since(&records, 41), [12_000, 10_000], "by key");
        assert_eq!(since(&records, 42), [10_000]);
        assert_eq!(since(&records, 50), [] as [u64; 0]);
        records.note("{p}:term", at(60));
        assert_eq!(since(&records, 61), [60_000]);
        (0..100).for_each(|shard| records.note(&format!("{{p:shard:{shard}}}"), at(61)));
        assert_eq!(since(&records, 61).len(), RECORDS);
    }
}

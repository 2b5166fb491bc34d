//! Whether this coordinator may speak for the fleet: only while the store has confirmed its term recently.
//!
//! A term holds for a TTL from the moment at which its last confirmed renewal was sent. After that another coordinator
//! may act, and it expects the leases of workers that it does not hear to lapse. An acknowledgement from here would
//! keep such a worker running. So nothing is acknowledged, permitted or written any more. The exception: while the
//! store does not answer and has never shown a standby, no other coordinator can take the term, and events must keep
//! flowing.
//!
//! After the process was stopped (SIGSTOP, a frozen machine), nothing is acknowledged before the store has been asked
//! again.

use std::time::Duration;

/// The result of a renewal of the term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RenewalResult {
    /// The term is still ours. `standby`: the store shows a coordinator that may take it.
    Confirmed { standby: bool },
    /// The store did not answer.
    Unanswered,
    /// Another coordinator has the term.
    Lost,
}

/// A renewal that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    number: u64,
    sent_at: Duration,
}

/// See the module's documentation. Pure: the time comes in as an argument.
#[derive(Clone, Debug)]
pub(super) struct TermStatus {
    ttl: Duration,
    last_turn: Duration,
    /// How many renewals were sent.
    renewals: u64,
    /// The first renewal whose end counts; `None` when the process was not stopped since.
    awaited: Option<u64>,
    /// When the last confirmed renewal was sent.
    confirmed_at: Duration,
    store_answers: bool,
    standby: bool,
    lost: bool,
}

impl TermStatus {
    /// Starts with a term whose claim was sent at `claimed_at`.
    pub(super) fn new(ttl: Duration, claimed_at: Duration) -> Self {
        Self {
            ttl,
            last_turn: claimed_at,
            renewals: 0,
            awaited: None,
            confirmed_at: claimed_at,
            store_answers: true,
            standby: false,
            lost: false,
        }
    }

    /// Called before each command of the driver. A long time since the last call means that the process was stopped.
    pub(super) fn turn(&mut self, now: Duration) {
        if now.saturating_sub(self.last_turn) >= self.ttl / 2 {
            self.awaited = Some(self.renewals + 1);
        }
        self.last_turn = now;
    }

    pub(super) fn renewal_starts(&mut self, now: Duration) -> Renewal {
        self.renewals += 1;
        Renewal { number: self.renewals, sent_at: now }
    }

    pub(super) fn renewal_ended(&mut self, renewal: Renewal, renewed: RenewalResult) {
        if self.awaited.is_some_and(|awaited| renewal.number >= awaited) {
            self.awaited = None;
        }
        self.store_answers = renewed != RenewalResult::Unanswered;
        match renewed {
            RenewalResult::Confirmed { standby } => {
                self.confirmed_at = renewal.sent_at;
                self.standby = standby;
            }
            RenewalResult::Unanswered => {}
            RenewalResult::Lost => self.lost = true,
        }
    }

    /// How long ago the store last confirmed the term.
    pub(super) fn unconfirmed_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.confirmed_at)
    }

    /// Whether the last confirmation showed a standby.
    pub(super) fn has_standby(&self) -> bool {
        self.standby
    }

    /// Whether this coordinator may acknowledge, permit and write.
    pub(super) fn may_act(&self, now: Duration) -> bool {
        let is_held = self.unconfirmed_for(now) < self.ttl;
        let is_alone = !self.store_answers && !self.standby;
        !self.lost && self.awaited.is_none() && (is_held || is_alone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(5);
    const HELD: RenewalResult = RenewalResult::Confirmed { standby: false };
    const BESIDE_A_STANDBY: RenewalResult = RenewalResult::Confirmed { standby: true };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn after_a_stop_only_a_renewal_that_was_sent_since_counts() {
        let mut standing = TermStatus::new(TTL, at(0));
        let before = standing.renewal_starts(at(0));
        standing.turn(at(2_499));
        assert!(standing.may_act(at(2_499)));
        standing.turn(at(5_000));
        assert!(!standing.may_act(at(5_000)));
        standing.renewal_ended(before, HELD);
        assert!(!standing.may_act(at(5_000)), "the renewal was sent before the stop");
        let after = standing.renewal_starts(at(5_000));
        standing.renewal_ended(after, HELD);
        assert!(standing.may_act(at(5_001)));
    }

    /// Rows: the renewals that ended since the claim at 0 ms (sent at, result), and how long this coordinator may act
    /// without further ones; `None` for ever.
    #[test]
    fn unconfirmed_term_lasts_a_ttl_unless_the_store_is_away_without_a_standby() {
        use RenewalResult::{Lost, Unanswered};
        type Row = (&'static [(u64, RenewalResult)], Option<u64>);
        let rows: &[Row] = &[
            (&[], Some(5_000)),
            (&[(1_000, HELD)], Some(6_000)),
            (&[(1_000, BESIDE_A_STANDBY)], Some(6_000)),
            (&[(1_000, HELD), (2_000, Unanswered)], None),
            (&[(1_000, BESIDE_A_STANDBY), (2_000, Unanswered)], Some(6_000)),
            (&[(1_000, BESIDE_A_STANDBY), (2_000, HELD), (2_400, Unanswered)], None),
            (&[(1_000, HELD), (2_000, Unanswered), (2_400, Lost)], Some(0)),
            (&[(1_000, Unanswered)], None),
        ];
        for (renewals, acts_until) in rows {
            let mut standing = TermStatus::new(TTL, at(0));
            for &(sent_at, renewed) in *renewals {
                let renewal = standing.renewal_starts(at(sent_at));
                standing.renewal_ended(renewal, renewed);
            }
            let until = (0..20).map(|step| step * 500).find(|ms| !standing.may_act(at(*ms)));
            assert_eq!(until, *acts_until, "after {renewals:?}");
        }
    }
}

//! Whether this coordinator may speak for the fleet: as long as the store has confirmed its term lately.
//!
//! A hold of the term lasts for a TTL from the moment at which its last confirmed renewal was sent. After that another
//! coordinator may act, which counts on the leases of workers that it does not hear to lapse: each acknowledgement from here
//! would let a worker go on that the other one is about to declare dead. So after that nothing is acknowledged, permitted or
//! written, with one exception: while the store does not answer, and no standby has ever been noted in it, nobody is there to
//! take the term, and events must go on flowing.
//!
//! The same after the process was stopped (SIGSTOP, a frozen machine): nothing is acknowledged before the store was asked
//! again, as this coordinator can't know yet whether the store answers.

use std::time::Duration;

/// How a renewal of the term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    /// The term is still ours. `standby`: another coordinator was noted that may take it.
    Confirmed { standby: bool },
    /// The store did not answer.
    Unanswered,
    /// The term is another coordinator's.
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
pub(super) struct Standing {
    ttl: Duration,
    last_turn: Duration,
    /// How many renewals were sent.
    renewals: u64,
    /// The first renewal whose end counts; `None` when the process was not stopped since.
    awaited: Option<u64>,
    /// When the last renewal that was confirmed was sent.
    confirmed_at: Duration,
    store_answers: bool,
    standby: bool,
    lost: bool,
}

impl Standing {
    /// Of a term whose claim was sent at this moment.
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

    /// The driver takes something up. A turn that comes long after the one before tells of a stop.
    pub(super) fn turn(&mut self, now: Duration) {
        if now.saturating_sub(self.last_turn) >= self.ttl / 2 {
            self.awaited = Some(self.renewals + 1);
        }
        self.last_turn = now;
    }

    /// A renewal of the term goes out.
    pub(super) fn renewal_starts(&mut self, now: Duration) -> Renewal {
        self.renewals += 1;
        Renewal { number: self.renewals, sent_at: now }
    }

    pub(super) fn renewal_ended(&mut self, renewal: Renewal, renewed: Renewed) {
        if self.awaited.is_some_and(|awaited| renewal.number >= awaited) {
            self.awaited = None;
        }
        self.store_answers = renewed != Renewed::Unanswered;
        match renewed {
            Renewed::Confirmed { standby } => {
                self.confirmed_at = renewal.sent_at;
                self.standby = standby;
            }
            Renewed::Unanswered => {}
            Renewed::Lost => self.lost = true,
        }
    }

    /// How long ago the store last confirmed the term.
    pub(super) fn unconfirmed_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.confirmed_at)
    }

    /// Whether a standby was noted when the term was last confirmed.
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
    const HELD: Renewed = Renewed::Confirmed { standby: false };
    const BESIDE_A_STANDBY: Renewed = Renewed::Confirmed { standby: true };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn after_a_stop_only_a_renewal_that_was_sent_since_counts() {
        let mut standing = Standing::new(TTL, at(0));
        let before = standing.renewal_starts(at(0));
        standing.turn(at(2_499));
        assert!(standing.may_act(at(2_499)));
        standing.turn(at(5_000));
        assert!(!standing.may_act(at(5_000)));
        standing.renewal_ended(before, HELD);
        assert!(!standing.may_act(at(5_000)), "it was sent before the stop");
        let after = standing.renewal_starts(at(5_000));
        standing.renewal_ended(after, HELD);
        assert!(standing.may_act(at(5_001)));
    }

    /// Rows: the renewals that ended since the claim at 0 ms (sent at, how they ended), and how long this coordinator may
    /// act if nothing else ends; `None` for as long as it lives.
    #[test]
    fn an_unconfirmed_term_lasts_a_ttl_unless_the_store_is_away_and_nobody_else_was_ever_there() {
        use Renewed::{Lost, Unanswered};
        type Row = (&'static [(u64, Renewed)], Option<u64>);
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
            let mut standing = Standing::new(TTL, at(0));
            for &(sent_at, renewed) in *renewals {
                let renewal = standing.renewal_starts(at(sent_at));
                standing.renewal_ended(renewal, renewed);
            }
            let until = (0..20).map(|step| step * 500).find(|ms| !standing.may_act(at(*ms)));
            assert_eq!(until, *acts_until, "after {renewals:?}");
        }
    }
}

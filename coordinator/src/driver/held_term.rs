//! The term that this coordinator holds, renewed in a task of its own so that a busy driver does not lose it.
//!
//! The task only talks to the store; it shares [`TermStatus`] with the driver, which draws the conclusions.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fleet_model::{Problem, ProblemCode, Term};
use fleet_store::{FleetStoreError, TermRenewal};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Driver, Shell, TermEnd,
    term_status::{RenewalResult, TermStatus},
};
use crate::{clock::Clock, handle::HandleError};

/// Interval of renewals; shorter with a short TTL.
const RENEW: Duration = Duration::from_secs(1);

/// A term, renewed until this is dropped.
pub(crate) struct HeldTerm {
    term: Term,
    clock: Clock,
    standing: Arc<Mutex<TermStatus>>,
    /// Why the last renewal failed.
    failure: Arc<Mutex<Option<FleetStoreError>>>,
    ask: Arc<Notify>,
    /// A record of a higher term was seen.
    is_outranked: Arc<AtomicBool>,
    over: mpsc::Receiver<TermEnd>,
    renewing: JoinHandle<()>,
}

impl Drop for HeldTerm {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl HeldTerm {
    /// Renews a term whose claim was sent at `claimed_at`, by the shell's clock.
    pub(crate) fn hold(shell: &Shell, term: Term, claimed_at: Duration) -> Self {
        let ttl = shell.lease_ttl;
        let standing = Arc::new(Mutex::new(TermStatus::new(ttl, claimed_at)));
        let ask = Arc::new(Notify::new());
        let is_outranked = Arc::new(AtomicBool::new(false));
        let (tell, over) = mpsc::channel(1);
        let (store, holder, clock) = (shell.store.clone(), shell.holder.clone(), shell.clock.clone());
        let failure = Arc::new(Mutex::new(None));
        let (shared, asked, failed) = (standing.clone(), ask.clone(), failure.clone());
        let outranked = is_outranked.clone();
        let renewing = tokio::spawn(async move {
            let mut due = interval(RENEW.min(ttl / 5));
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = due.tick() => {}
                    () = asked.notified() => {}
                }
                let is_outranked = outranked.load(Ordering::Relaxed);
                let renewal = lock(&shared).renewal_starts(clock.now());
                // A failed renewal can be retried within the TTL.
                let wait = ttl * 2 / 5;
                let answer = timeout(wait, store.renew_term(term, &holder, ttl)).await.unwrap_or_else(|_| {
                    Err(FleetStoreError::Away(format!(
                        "the term was not renewed within {} ms",
                        wait.as_millis()
                    )))
                });
                let renewed = match &answer {
                    Ok(TermRenewal::Held { standby }) => RenewalResult::Confirmed { standby: *standby },
                    Ok(TermRenewal::Lost { to }) => {
                        let _ = tell.try_send(TermEnd::Lost(*to));
                        RenewalResult::Lost
                    }
                    Err(_) => RenewalResult::Unanswered,
                };
                *lock(&failed) = answer.err();
                lock(&shared).renewal_ended(renewal, renewed);
                match renewed {
                    RenewalResult::Lost => return,
                    RenewalResult::Confirmed { .. } if is_outranked => {
                        let _ = tell.try_send(TermEnd::Outranked);
                        return;
                    }
                    _ => {}
                }
            }
        });
        Self { term, clock: shell.clock.clone(), standing, failure, ask, is_outranked, over, renewing }
    }

    pub(crate) fn term(&self) -> Term {
        self.term
    }

    /// Waits until another coordinator takes a higher term, or the store confirms that none holds one that was seen in a record.
    pub(super) async fn over(&mut self) -> TermEnd {
        match self.over.recv().await {
            Some(end) => end,
            // The task says why before it ends.
            None => std::future::pending().await,
        }
    }

    /// Called before each command of the driver. Returns whether it may act.
    pub(super) fn turn(&self) -> bool {
        let now = self.clock.now();
        let mut standing = lock(&self.standing);
        standing.turn(now);
        standing.may_act(now)
    }

    /// Renews the term at once.
    pub(super) fn ask(&self) {
        self.ask.notify_one();
    }

    /// Notes that a record of a higher term was seen, and renews the term at once: if it is still held, it is too low.
    pub(super) fn outranked(&self) {
        self.is_outranked.store(true, Ordering::Relaxed);
        self.ask();
    }

    /// Why the last renewal failed, if it did.
    pub(super) fn failure(&self) -> Option<FleetStoreError> {
        lock(&self.failure).clone()
    }

    /// How long ago the store last confirmed the term, and whether it showed a standby then.
    pub(super) fn doubt(&self) -> (Duration, bool) {
        let standing = lock(&self.standing);
        (standing.unconfirmed_for(self.clock.now()), standing.has_standby())
    }
}

impl Driver<'_> {
    /// Updates whether the term is confirmed. While it is not, the store counts as away and no shard moves.
    pub(super) fn refresh_term_state(&mut self) {
        let could_act = std::mem::replace(&mut self.term.may_act, self.term.held.turn());
        if could_act && !self.term.may_act {
            let (unconfirmed, standby) = self.term.held.doubt();
            tracing::warn!(
                term = %self.term.number, unconfirmed_ms = unconfirmed.as_millis() as u64, standby,
                "term unconfirmed; no lease acknowledged, no shard moved"
            );
            self.term.held.ask();
            self.fleet.mark_store_away();
            self.publishing.dirty = true;
        } else if !could_act && self.term.may_act {
            tracing::info!(term = %self.term.number, "term confirmed again");
            self.probe_store();
            self.publishing.dirty = true;
        }
    }

    /// Refuses a registration while the term is unconfirmed: it would renew a lease.
    pub(super) fn require_confirmed_term(&self) -> Result<(), HandleError> {
        if self.term.may_act { Ok(()) } else { Err(self.in_doubt()) }
    }

    pub(super) fn in_doubt(&self) -> HandleError {
        HandleError::Standby { why: self.unconfirmed_term_problem().message }
    }

    pub(super) fn unconfirmed_term_problem(&self) -> Problem {
        let (unconfirmed, standby) = self.term.held.doubt();
        let secs = unconfirmed.as_secs();
        let (term, failure) = (self.term.number, self.term.held.failure());
        let failure = failure.map(|error| format!(" ({error})")).unwrap_or_default();
        let why = if standby {
            format!(
                "the fleet store has not renewed term {term} for {secs} s{failure}, and another coordinator may take it: no \
                 lease is acknowledged; check that this coordinator can reach Redis"
            )
        } else if !failure.is_empty() {
            format!("the fleet store has not renewed term {term} for {secs} s{failure}: check Redis")
        } else {
            format!("the fleet store is being asked whether term {term} still holds, after {secs} s")
        };
        Problem::new(ProblemCode::TermUnconfirmed, why)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Decides when the next connection may be made. The only source of a [`DialGrant`], without which
//! [`Socket::dial`](super::socket::Socket::dial) cannot be called, so that every connection waits first.
//!
//! Three bounds: the waits of [`Backoff`], which grow until a session has lasted 30 s; longer ones after Discord refused
//! the shard; and at most [`MOST`] connections in any [`WITHIN`], which also limits connections that this worker closes
//! itself. A shard keeps its waits when the worker gives its task up and starts another.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backoff::{Backoff, Policy};
use tokio::time::Instant;

/// The most connections of a shard ...
const MOST: usize = 12;
/// ... within this time.
const WITHIN: Duration = Duration::from_secs(15);

/// The wait after Discord refused a shard for its token or settings. Each further refusal doubles it ...
const REFUSED: Duration = Duration::from_mins(10);
/// ... from this on if the session had been accepted with the same token and settings ...
const REFUSED_SESSION: Duration = Duration::from_mins(1);
/// ... up to this.
const LONGEST: Duration = Duration::from_hours(1);

/// Permission to make one connection now.
#[derive(Debug)]
pub(super) struct DialGrant(());

/// The waits before a shard's connections. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialing(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    backoff: Backoff,
    /// When the last connections were made.
    dialed: VecDeque<Instant>,
    not_before: Instant,
    /// Refusals since a session last lasted.
    refusals: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(Policy::DISCORD),
            dialed: VecDeque::with_capacity(MOST),
            not_before: Instant::now(),
            refusals: 0,
        }
    }
}

impl Dialing {
    /// Notes READY or RESUMED. Failures are forgotten once the session has lasted.
    pub(super) fn succeeded(&self) {
        self.lock().backoff.succeeded(Instant::now().into_std());
    }

    /// Notes a failed connection, or one that ended too early. `jitter` from 0 to 1 spreads shards out.
    pub(crate) fn failed(&self, jitter: f64) {
        let (now, mut state) = (Instant::now(), self.lock());
        state.forget_refusals(now);
        state.backoff.failed(now.into_std());
        state.not_before = now + state.backoff.wait(jitter);
    }

    /// Notes that the worker ended a connection, which is no failure.
    pub(super) fn ended(&self) {
        let (now, mut state) = (Instant::now(), self.lock());
        state.forget_refusals(now);
        state.backoff.ended(now.into_std());
    }

    /// Notes that Discord refused the shard for its token or settings. `accepted_before`: it has a session, which was
    /// accepted with the same.
    pub(super) fn refused(&self, accepted_before: bool) {
        self.failed(0.0);
        let mut state = self.lock();
        let first = if accepted_before { REFUSED_SESSION } else { REFUSED };
        let wait = first.saturating_mul(1_u32.checked_shl(state.refusals).unwrap_or(u32::MAX));
        state.not_before = Instant::now() + wait.min(LONGEST);
        state.refusals = state.refusals.saturating_add(1);
    }

    /// Returns the number of failures since a session last lasted.
    pub(crate) fn failures(&self) -> u32 {
        self.lock().backoff.failures()
    }

    /// Returns the wait before the next connection.
    pub(super) fn wait(&self) -> Duration {
        let (now, state) = (Instant::now(), self.lock());
        let window = match state.dialed.front() {
            Some(first) if state.dialed.len() >= MOST => *first + WITHIN,
            _ => now,
        };
        state.not_before.max(window).saturating_duration_since(now)
    }

    /// Waits, and grants one connection. Cancel safe.
    pub(super) async fn grant(&self) -> DialGrant {
        tokio::time::sleep(self.wait()).await;
        let mut state = self.lock();
        if state.dialed.len() >= MOST {
            state.dialed.pop_front();
        }
        state.dialed.push_back(Instant::now());
        DialGrant(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_refusals(&mut self, now: Instant) {
        if self.backoff.is_steady(now.into_std()) {
            self.refusals = 0;
        }
    }
}

#[cfg(test)]
mod tests;

//! Decides when the next connection may be made. The only source of a [`DialGrant`], without which
//! [`Socket::dial`](super::socket::Socket::dial) cannot be called, so that every connection waits first.
//!
//! Two bounds: the waits of [`Backoff`], which grow until a session has lasted 30 s, and at most [`MOST`] connections
//! in any [`WITHIN`], which also limits connections that this worker closes itself.

use std::{collections::VecDeque, time::Duration};

use backoff::{Backoff, Policy};
use tokio::time::Instant;

/// The most connections of a shard ...
const MOST: usize = 12;
/// ... within this time.
const WITHIN: Duration = Duration::from_secs(15);

/// Permission to make one connection now.
#[derive(Debug)]
pub(super) struct DialGrant(());

/// The waits before a shard's connections.
#[derive(Debug)]
pub(super) struct Dialing {
    backoff: Backoff,
    /// When the last connections were made.
    dialed: VecDeque<Instant>,
    jitter: f64,
}

impl Default for Dialing {
    fn default() -> Self {
        Self { backoff: Backoff::new(Policy::DISCORD), dialed: VecDeque::with_capacity(MOST), jitter: 0.0 }
    }
}

impl Dialing {
    /// Notes READY or RESUMED. Failures are forgotten once the session has lasted.
    pub(super) fn succeeded(&mut self) {
        self.backoff.succeeded(Instant::now().into_std());
    }

    /// Notes a failed connection, or one that ended too early. `jitter` from 0 to 1 spreads shards out.
    pub(super) fn failed(&mut self, jitter: f64) {
        self.backoff.failed(Instant::now().into_std());
        self.jitter = jitter;
    }

    /// Whether the session has lasted long enough since READY or RESUMED.
    pub(super) fn is_steady(&self) -> bool {
        self.backoff.is_steady(Instant::now().into_std())
    }

    /// Returns the number of failures since a session last lasted.
    pub(super) fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// Returns the wait before the next connection.
    pub(super) fn wait(&self) -> Duration {
        let window = match self.dialed.front() {
            Some(first) if self.dialed.len() >= MOST => {
                (*first + WITHIN).saturating_duration_since(Instant::now())
            }
            _ => Duration::ZERO,
        };
        self.backoff.wait(self.jitter).max(window)
    }

    /// Waits, and grants one connection. Cancel safe.
    pub(super) async fn grant(&mut self) -> DialGrant {
        tokio::time::sleep(self.wait()).await;
        if self.dialed.len() >= MOST {
            self.dialed.pop_front();
        }
        self.dialed.push_back(Instant::now());
        DialGrant(())
    }
}

#[cfg(test)]
mod tests;

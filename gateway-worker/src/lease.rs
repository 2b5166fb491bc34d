//! The worker's own view of its lease: whether it may run its shards.
//!
//! A renewal counts from the moment it was *sent*, and the worker uses the TTL less 20 %: so its window always ends before
//! any other process thinks that it has. Either path renews, the coordinator's acknowledgement or the store's; a refusal by
//! either ends it at once and for good.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::clock::BootTime;

/// Reports whose acknowledgement is still awaited; more than this are out only when nothing comes back.
const MOST_PENDING: usize = 64;

/// The end of a lease that was refused, or never given.
const OVER: u64 = 0;

/// The lease of one incarnation, as its shards look at it: a clone sees every change at once.
#[derive(Clone, Debug, Default)]
pub struct LeaseWindow {
    ends_at_ms: Arc<AtomicU64>,
}

impl LeaseWindow {
    /// The worker may act at this moment.
    pub fn is_open(&self, now: BootTime) -> bool {
        now.as_millis() < self.ends_at_ms.load(Ordering::Acquire)
    }

    /// How long it stays open unless it is renewed.
    pub fn left(&self, now: BootTime) -> Duration {
        let ends_at = BootTime::from_millis(self.ends_at_ms.load(Ordering::Acquire));
        ends_at.since(now)
    }
}

/// The reckoning of one incarnation's lease. Clones are the same lease: the link renews it with what the coordinator acknowledges, the
/// renewal task with what the store grants, and neither waits for the other.
#[derive(Clone, Debug, Default)]
pub struct Lease {
    window: LeaseWindow,
    reckoning: Arc<Mutex<Reckoning>>,
}

#[derive(Debug, Default)]
struct Reckoning {
    refused: bool,
    /// When each report that is not acknowledged yet was sent.
    sent: BTreeMap<u64, BootTime>,
}

impl Lease {
    /// What the shards look at.
    pub fn window(&self) -> &LeaseWindow {
        &self.window
    }

    /// A report goes out.
    pub fn report_sent(&self, sequence: u64, now: BootTime) {
        let sent = &mut self.lock().sent;
        sent.insert(sequence, now);
        while sent.len() > MOST_PENDING {
            sent.pop_first();
        }
    }

    /// The coordinator acknowledged a report.
    pub fn report_acknowledged(&self, sequence: u64, ttl: Duration) {
        let sent_at = {
            let sent = &mut self.lock().sent;
            let sent_at = sent.get(&sequence).copied();
            if sent_at.is_some() {
                *sent = sent.split_off(&(sequence + 1));
            }
            sent_at
        };
        if let Some(sent_at) = sent_at {
            self.renewed(sent_at, ttl);
        }
    }

    /// A renewal that was sent at that moment was granted: a registration, an acknowledgement, the store's.
    pub fn renewed(&self, sent_at: BootTime, ttl: Duration) {
        // Under the lock, so that a refusal is never overtaken.
        let reckoning = self.lock();
        if !reckoning.refused {
            let ends_at = sent_at.after(ttl.mul_f64(0.8)).as_millis();
            self.window.ends_at_ms.fetch_max(ends_at, Ordering::AcqRel);
        }
    }

    /// Either path refused: over at once.
    pub fn refused(&self) {
        let mut reckoning = self.lock();
        reckoning.refused = true;
        self.window.ends_at_ms.store(OVER, Ordering::Release);
    }

    /// See [`LeaseWindow::is_open`].
    pub fn is_open(&self, now: BootTime) -> bool {
        self.window.is_open(now)
    }

    fn lock(&self) -> MutexGuard<'_, Reckoning> {
        self.reckoning.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    fn at(ms: u64) -> BootTime {
        BootTime::from_millis(ms)
    }

    #[test]
    fn renewal_counts_from_when_it_was_sent() {
        let lease = Lease::default();
        let window = lease.window().clone();
        assert!(!window.is_open(at(0)), "a lease that was not given");
        lease.report_sent(1, at(1_000));
        // The acknowledgement takes three seconds; the window is 4 s from the sending.
        lease.report_acknowledged(1, TTL);
        assert!(window.is_open(at(4_999)));
        assert!(!window.is_open(at(5_000)));
    }

    #[test]
    fn either_path_renews_and_none_shortens() {
        let lease = Lease::default();
        lease.renewed(at(2_000), TTL);
        lease.renewed(at(1_000), TTL);
        assert!(lease.is_open(at(5_999)));
    }

    #[test]
    fn unknown_acknowledgement_renews_nothing() {
        let lease = Lease::default();
        lease.report_sent(2, at(10));
        lease.report_acknowledged(7, TTL);
        lease.report_acknowledged(1, TTL);
        assert!(!lease.is_open(at(11)));
    }

    #[test]
    fn refusal_is_final() {
        let lease = Lease::default();
        let window = lease.window().clone();
        lease.renewed(at(1_000), TTL);
        lease.refused();
        assert!(!window.is_open(at(1_001)));
        lease.renewed(at(1_100), TTL);
        assert!(!window.is_open(at(1_101)));
    }

    #[test]
    fn unacknowledged_reports_are_forgotten() {
        let lease = Lease::default();
        for sequence in 0..1_000 {
            lease.report_sent(sequence, at(sequence));
        }
        assert_eq!(lease.lock().sent.len(), MOST_PENDING);
    }
}

//! Whether this worker may run its shards: its own reckoning of the lease.
//!
//! A renewal counts from the moment it was *sent*, and the worker uses the TTL less 20 %: so its window always ends before
//! anybody else thinks that it has. Either path renews, the coordinator's acknowledgement or the store's; a refusal by
//! either ends it at once and for good.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::clock::BootTime;

/// Reports whose acknowledgement is still awaited; more than this are out only when nothing comes back.
const MOST_PENDING: usize = 64;

/// The end of a lease that was refused, or never given.
const OVER: u64 = 0;

/// One life's lease, as its shards look at it: a clone sees every change at once.
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

/// The reckoning. One per life, owned by the worker's link.
#[derive(Debug)]
pub struct Lease {
    window: LeaseWindow,
    refused: bool,
    /// When each report that is not acknowledged yet was sent.
    sent: BTreeMap<u64, BootTime>,
}

impl Lease {
    /// A lease that was not given yet.
    pub fn new(window: LeaseWindow) -> Self {
        Self { window, refused: false, sent: BTreeMap::new() }
    }

    /// A report goes out.
    pub fn report_sent(&mut self, sequence: u64, now: BootTime) {
        self.sent.insert(sequence, now);
        while self.sent.len() > MOST_PENDING {
            self.sent.pop_first();
        }
    }

    /// The coordinator acknowledged a report.
    pub fn report_acknowledged(&mut self, sequence: u64, ttl: Duration) {
        let Some(&sent_at) = self.sent.get(&sequence) else { return };
        self.sent = self.sent.split_off(&(sequence + 1));
        self.renewed(sent_at, ttl);
    }

    /// A renewal that was sent at that moment was granted: a registration, an acknowledgement, the store's.
    pub fn renewed(&mut self, sent_at: BootTime, ttl: Duration) {
        if !self.refused {
            let ends_at = sent_at.after(ttl.mul_f64(0.8)).as_millis();
            self.window.ends_at_ms.fetch_max(ends_at, Ordering::AcqRel);
        }
    }

    /// Either path refused: over at once.
    pub fn refused(&mut self) {
        self.refused = true;
        self.window.ends_at_ms.store(OVER, Ordering::Release);
    }

    /// See [`LeaseWindow::is_open`].
    pub fn is_open(&self, now: BootTime) -> bool {
        self.window.is_open(now)
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
    fn a_renewal_counts_from_when_it_was_sent() {
        let window = LeaseWindow::default();
        let mut lease = Lease::new(window.clone());
        assert!(!window.is_open(at(0)), "a lease that was not given");
        lease.report_sent(1, at(1_000));
        // The acknowledgement takes three seconds; the window is 4 s from the sending.
        lease.report_acknowledged(1, TTL);
        assert!(window.is_open(at(4_999)));
        assert!(!window.is_open(at(5_000)));
    }

    #[test]
    fn either_path_renews_and_none_shortens() {
        let mut lease = Lease::new(LeaseWindow::default());
        lease.renewed(at(2_000), TTL);
        lease.renewed(at(1_000), TTL);
        assert!(lease.is_open(at(5_999)));
    }

    #[test]
    fn an_acknowledgement_of_nothing_renews_nothing() {
        let mut lease = Lease::new(LeaseWindow::default());
        lease.report_sent(2, at(10));
        lease.report_acknowledged(7, TTL);
        lease.report_acknowledged(1, TTL);
        assert!(!lease.is_open(at(11)));
    }

    #[test]
    fn a_refusal_is_for_good() {
        let window = LeaseWindow::default();
        let mut lease = Lease::new(window.clone());
        lease.renewed(at(1_000), TTL);
        lease.refused();
        assert!(!window.is_open(at(1_001)));
        lease.renewed(at(1_100), TTL);
        assert!(!window.is_open(at(1_101)));
    }

    #[test]
    fn what_is_never_acknowledged_is_forgotten() {
        let mut lease = Lease::new(LeaseWindow::default());
        for sequence in 0..1_000 {
            lease.report_sent(sequence, at(sequence));
        }
        assert_eq!(lease.sent.len(), MOST_PENDING);
    }
}

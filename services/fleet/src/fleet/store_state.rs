//! How far the fleet store can be believed, and what was asked of it.

use std::time::Duration;

use fleet_model::{Incarnation, WorkerId};

use super::{Effect, Now, RevocationCause, unregistered::UnregisteredWorkers};

/// Whether the store can be believed when it says that a lease has lapsed. Not if it was away or restarted within the last
/// time to live of a lease: then it may have lost a renewal.
#[derive(Clone, Copy, Debug)]
pub(super) enum StoreTrust {
    Away,
    Since(Duration),
    /// The coordinator before trusted it to its end.
    Whole,
}

/// The state of the fleet store as this coordinator sees it.
#[derive(Clone, Debug)]
pub(super) struct StoreState {
    pub(super) trust: StoreTrust,
    /// Incarnations that were revoked on evidence, and when: a store that loses its last writes loses these too.
    pub(super) revoked_lately: Vec<(WorkerId, Incarnation, Duration)>,
    pub(super) unregistered: UnregisteredWorkers,
}

impl StoreState {
    pub(super) fn new(is_whole: bool, now: Now) -> Self {
        Self {
            trust: if is_whole { StoreTrust::Whole } else { StoreTrust::Since(now.mono) },
            revoked_lately: Vec::new(),
            unregistered: UnregisteredWorkers::default(),
        }
    }

    /// Returns whether the store answers. Without it no epoch can be written: shards keep running, none can move.
    pub(super) fn is_up(&self) -> bool {
        !matches!(self.trust, StoreTrust::Away)
    }

    /// Returns whether the store can be believed when it says that a lease has lapsed.
    pub(super) fn is_trusted(&self, lease_ttl: Duration, now: Now) -> bool {
        match self.trust {
            StoreTrust::Away => false,
            StoreTrust::Whole => true,
            StoreTrust::Since(since) => now.mono.saturating_sub(since) >= lease_ttl,
        }
    }

    /// Remembers a revocation on evidence, in case the store loses it.
    pub(super) fn note_revocation(&mut self, worker: &WorkerId, incarnation: Incarnation, now: Now) {
        self.revoked_lately.push((worker.clone(), incarnation, now.mono));
    }

    /// Forgets revocations that are older than `kept`: leases that lived then have lapsed in any store.
    pub(super) fn forget_revocations(&mut self, kept: Duration, now: Now) {
        self.revoked_lately.retain(|(_, _, at)| now.mono.saturating_sub(*at) < kept);
    }

    /// Revokes the remembered incarnations again.
    pub(super) fn repeat_revocations(&self) -> impl Iterator<Item = Effect> {
        self.revoked_lately.iter().map(|(worker, incarnation, _)| Effect::Revoke {
            worker: worker.clone(),
            incarnation: incarnation.clone(),
            cause: RevocationCause::Evidence,
        })
    }
}

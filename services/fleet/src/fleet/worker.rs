//! What this coordinator knows of one worker.

use std::{collections::BTreeSet, time::Duration};

use fleet_model::{Assignment, Incarnation, ShardSlot, WorkerFigures, WorkerProfile};

use super::{
    evidence::{BrokenStream, WorkerAddresses},
    excluded::TokenRecord,
};

/// One worker.
#[derive(Clone, Debug)]
pub(super) struct KnownWorker {
    pub(super) incarnation: Incarnation,
    pub(super) profile: WorkerProfile,
    pub(super) liveness: Liveness,
    pub(super) draining: bool,
    /// Why it was told to drain; repeated when the worker reconnects.
    pub(super) drain_reason: Option<String>,
    pub(super) token: TokenRecord,
    /// The worker cannot reach the store; it gets no more shards while another worker can take them.
    pub(super) store_away: bool,
    pub(super) rss_bytes: u64,
    pub(super) figures: Option<WorkerFigures>,
    /// The last assignment that was sent.
    pub(super) assignment: Assignment,
    /// The shards that it owns, and some that it has owned: its reports are about no others.
    pub(super) owned: BTreeSet<ShardSlot>,
    /// No shard moves to it before this moment: it died recently and must stay alive for a while first.
    pub(super) calm_until: Duration,
}

/// Signs of life of a worker.
#[derive(Clone, Debug)]
pub(super) struct Liveness {
    /// It registered with this coordinator.
    pub(super) heard: bool,
    /// Its heartbeat stream is open.
    pub(super) connected: bool,
    pub(super) last_heard: Duration,
    /// Its window closed while the store could not be believed. It stays closed here until the store can be.
    pub(super) lapsed: bool,
    /// When the store may next be asked about its lease; `None` when it was not asked.
    pub(super) lease_check: Option<Duration>,
    /// The store could not say whether its lease holds when it was last asked.
    pub(super) lease_unknown: bool,
    /// A supervisor reported an exit that the probe did not confirm.
    pub(super) exit_unconfirmed: bool,
    pub(super) addresses: WorkerAddresses,
    /// Its stream broke, and it was not heard since.
    pub(super) broken: Option<BrokenStream>,
}

impl Liveness {
    /// A worker that was heard, or read from the store, just now.
    pub(super) fn new(registered: bool, addresses: WorkerAddresses, now: Duration) -> Self {
        Self {
            heard: registered,
            connected: registered,
            last_heard: now,
            lapsed: false,
            lease_check: None,
            lease_unknown: false,
            exit_unconfirmed: false,
            addresses,
            broken: None,
        }
    }

    /// Notes a report. Returns whether the worker was not connected before, or its window has closed or opened.
    pub(super) fn note_report(&mut self, lapsed: bool, now: Duration) -> bool {
        let changed = !self.connected || self.lapsed != lapsed;
        self.lapsed = lapsed;
        self.connected = true;
        self.broken = None;
        self.last_heard = now;
        self.lease_check = None;
        self.lease_unknown = false;
        changed
    }
}

impl KnownWorker {
    /// A worker of the store's records, which has not registered here yet.
    pub(super) fn recovered(incarnation: Incarnation, url: String, now: Duration) -> Self {
        Self {
            incarnation,
            profile: WorkerProfile { url, ..WorkerProfile::default() },
            liveness: Liveness::new(false, WorkerAddresses::default(), now),
            draining: false,
            drain_reason: None,
            token: TokenRecord::default(),
            store_away: false,
            rss_bytes: 0,
            figures: None,
            assignment: Assignment::default(),
            owned: BTreeSet::new(),
            calm_until: Duration::ZERO,
        }
    }

    /// Returns whether it can be given shards, apart from generations.
    pub(super) fn is_available(&self) -> bool {
        self.liveness.connected && !self.draining && !self.token.excluded
    }
}

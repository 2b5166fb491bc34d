//! How a fleet begins: from nothing, or from what a coordinator before this one wrote down.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{Assignment, Epoch, Incarnation, ShardNumber, Term, WorkerId};

use super::{Effect, Fleet, Note, Now, Owner, Phase, Rules, Slot, StoreTrust, Worker};

/// How many shards the bot has. A fleet that runs keeps its number; only one that runs nothing takes the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardTotal {
    /// Not known yet whether something runs.
    Open {
        /// What the settings or Discord say.
        wanted: u32,
    },
    /// Settled.
    Settled {
        /// What is.
        total: u32,
        /// What the settings or Discord say.
        wanted: u32,
    },
}

impl ShardTotal {
    /// The number, once settled.
    pub fn settled(self) -> Option<u32> {
        match self {
            Self::Open { .. } => None,
            Self::Settled { total, .. } => Some(total),
        }
    }

    /// The number that the settings or Discord want, when it is another than what runs.
    pub fn unmet_wish(self) -> Option<u32> {
        match self {
            Self::Settled { total, wanted } if total != wanted => Some(wanted),
            _ => None,
        }
    }
}

/// What the store holds of a fleet, less what is void.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The shard total that was written down.
    pub shard_total: Option<u32>,
    /// The workers.
    pub workers: Vec<RecoveredWorker>,
    /// The owners.
    pub owners: Vec<RecoveredOwner>,
    /// Some coordinator has used this store before.
    pub had_predecessor: bool,
}

/// A worker that was written down.
#[derive(Clone, Debug)]
pub struct RecoveredWorker {
    /// Its name.
    pub worker: WorkerId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Where it answers.
    pub url: String,
}

/// An owner that was written down.
#[derive(Clone, Debug)]
pub struct RecoveredOwner {
    /// The shard.
    pub shard: ShardNumber,
    /// Its owner.
    pub worker: WorkerId,
    /// That worker's life.
    pub incarnation: Incarnation,
    /// The epoch.
    pub epoch: Epoch,
}

impl Fleet {
    /// A fleet as a coordinator finds it when its term begins. `wanted` is the shard total that the settings or Discord
    /// ask for.
    pub fn new(rules: Rules, term: Term, wanted: u32, recovered: Recovered, now: Now) -> Self {
        let mut fleet = Self {
            rules,
            term,
            total: ShardTotal::Open { wanted },
            slots: Vec::new(),
            workers: BTreeMap::new(),
            settle_until: now.mono + rules.settle,
            grace_until: now.mono,
            last_tick: now.mono,
            store: StoreTrust::Since(now.mono),
            effects: Vec::new(),
        };
        if recovered.had_predecessor {
            fleet.grace_until = now.mono + fleet.grace();
        }
        fleet.recover(recovered, now.mono);
        fleet
    }

    fn recover(&mut self, recovered: Recovered, now: Duration) {
        for RecoveredWorker { worker, incarnation, url } in recovered.workers {
            let known = Worker {
                incarnation,
                url,
                version: String::new(),
                capacity: None,
                connected: false,
                draining: false,
                last_heard: now,
                rss_bytes: 0,
                assignment: Assignment::default(),
                lease_check: None,
            };
            self.workers.insert(worker, known);
        }
        let Some(total) = recovered.shard_total else { return };
        self.slots.resize_with(total as usize, Slot::default);
        for RecoveredOwner { shard, worker, incarnation, epoch } in recovered.owners {
            let known = self.workers.get(&worker).is_some_and(|w| w.incarnation == incarnation);
            let Some(slot) = self.slots.get_mut(shard.0 as usize) else { continue };
            slot.highest = slot.highest.max(epoch);
            // An owner that is not written down as a worker left, or was revoked: its shards are free.
            if known {
                slot.owner = Some(Owner { worker, incarnation, epoch, phase: Phase::Running, since: now });
            }
        }
        // Even if every lease looks lapsed: a worker that was cut off may renew it yet. Whoever is really gone is found
        // out as always.
        if self.runs_nothing() {
            self.slots.clear();
        } else {
            let ShardTotal::Open { wanted } = self.total else { return };
            self.total = ShardTotal::Settled { total, wanted };
        }
    }

    /// A fleet that has come to run nothing may take another total.
    pub(super) fn reopen_total(&mut self, now: Now) {
        if let Some(wanted) = self.total.unmet_wish()
            && self.runs_nothing()
        {
            self.total = ShardTotal::Open { wanted };
            self.slots.clear();
            self.settle_until = self.settle_until.max(now.mono + self.rules.settle);
        }
    }

    /// Settles the total at what runs, or, when nothing does for as long as we wait for workers, at what is wanted.
    pub(super) fn settle_total(&mut self, now: Now) {
        if let ShardTotal::Open { wanted } = self.total
            && now.mono >= self.settle_until.max(self.grace_until)
            && self.workers.values().any(|worker| worker.connected)
        {
            self.settle_total_at(wanted);
        }
    }

    pub(super) fn settle_total_at(&mut self, total: u32) {
        let ShardTotal::Open { wanted } = self.total else { return };
        self.total = ShardTotal::Settled { total, wanted };
        self.slots.resize_with(total as usize, Slot::default);
        self.effects.push(Effect::WriteTotal(total));
        self.note(Note::TotalSettled(total));
    }
}

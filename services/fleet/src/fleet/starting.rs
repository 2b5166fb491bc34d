//! How a fleet begins: from nothing, or from what a coordinator before this one wrote down.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{Assignment, Epoch, Incarnation, ShardNumber, Term, WorkerId};

use super::{
    DeathBreaker, Fleet, FleetRules, Formats, Intent, KillReports, KnownWorker, LastRan, Now, Phase,
    ShardOwner, ShardTotal, Slot, StoreTrust, UnregisteredWorkers, WantedTotal, WorkerAddresses,
    excluded::TokenRecord,
};

/// What the store holds of a fleet, less what is void.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The shard total that was written down.
    pub shard_total: Option<u32>,
    /// The workers.
    pub workers: Vec<RecoveredWorker>,
    /// The owners.
    pub owners: Vec<RecoveredOwner>,
    /// When shards last ran, in milliseconds since the Unix epoch, if that was written down.
    pub last_ran_unix_ms: Option<u64>,
    /// What operators want, if that was written down.
    pub intent: Intent,
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
    pub fn new(rules: FleetRules, term: Term, wanted: WantedTotal, recovered: Recovered, now: Now) -> Self {
        let mut fleet = Self {
            rules,
            term,
            total: ShardTotal::Open { wanted },
            written_total: recovered.shard_total,
            last_ran: LastRan { at_unix_ms: recovered.last_ran_unix_ms, ..LastRan::default() },
            ran: recovered.last_ran_unix_ms.is_some() || !recovered.owners.is_empty(),
            slots: Vec::new(),
            workers: BTreeMap::new(),
            intent: recovered.intent.clone(),
            stopping: false,
            active_gone_since: None,
            settle_until: now.mono + rules.settle,
            grace_until: now.mono,
            unregistered_until: now.mono,
            last_tick: now.mono,
            store: StoreTrust::Since(now.mono),
            had_predecessor: recovered.had_predecessor,
            unregistered: UnregisteredWorkers::default(),
            revoked_lately: Vec::new(),
            breaker: DeathBreaker::default(),
            kills: KillReports::default(),
            effects: Vec::new(),
        };
        if recovered.had_predecessor {
            fleet.grace_until = now.mono + fleet.grace();
            fleet.unregistered_until = fleet.grace_until;
        }
        fleet.recover(recovered, now);
        fleet
    }

    fn recover(&mut self, recovered: Recovered, now: Now) {
        for RecoveredWorker { worker, incarnation, url } in recovered.workers {
            let known = KnownWorker {
                incarnation,
                url,
                version: String::new(),
                capacity: None,
                generation: None,
                needs: None,
                formats: Formats::default(),
                heard: false,
                connected: false,
                draining: false,
                token: TokenRecord::default(),
                store_away: false,
                exit_unconfirmed: false,
                drain_reason: None,
                last_heard: now.mono,
                lapsed: false,
                rss_bytes: 0,
                assignment: Assignment::default(),
                lease_check: None,
                addresses: WorkerAddresses::default(),
                broken: None,
                calm_until: Duration::ZERO,
            };
            self.workers.insert(worker, known);
        }
        // A total that only the store's record names is not taken; workers that run it say so when they register.
        let is_borne_out = |total: &u32| {
            self.is_near_wanted(*total) || recovered.owners.len().saturating_mul(2) >= *total as usize
        };
        let Some(total) = recovered.shard_total.filter(is_borne_out) else { return };
        let ran = self.ran;
        self.slots.resize_with(total as usize, || Slot { ran, ..Slot::default() });
        for RecoveredOwner { shard, worker, incarnation, epoch } in recovered.owners {
            let known = self.workers.get(&worker).is_some_and(|w| w.incarnation == incarnation);
            let Some(slot) = self.slots.get_mut(shard.0 as usize) else { continue };
            slot.highest = slot.highest.max(epoch);
            slot.ran = true;
            // An owner that is not written down as a worker left, or was revoked: its shards are free.
            if known {
                slot.owner = Some(ShardOwner {
                    worker,
                    incarnation,
                    epoch,
                    phase: Phase::Running,
                    since: now.mono,
                    found: true,
                    handed_over: None,
                    identifies: false,
                    start_ended: false,
                    careful: false,
                    suspected: false,
                    killed: Vec::new(),
                    ran_before: false,
                });
            }
        }
        // Even if every lease looks lapsed: a worker that was cut off may renew it yet. Whoever is really gone is found
        // out as always.
        let ShardTotal::Open { wanted } = self.total else { return };
        let keeps = !wanted.explicit && self.can_be_resumed(now);
        if self.runs_nothing() && !keeps {
            self.slots.clear();
        } else {
            self.total = ShardTotal::Settled { total, wanted };
        }
    }
}

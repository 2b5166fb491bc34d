//! How a fleet begins: from nothing, or from the records of an earlier coordinator.

use std::collections::BTreeMap;

use fleet_model::{Epoch, Generation, HeadSigning, Incarnation, ShardKey, Term, WorkerId};

use super::{
    DeathRecords, Fleet, FleetRules, HeadSigningState, Intent, KnownWorker, Now, Pace, ShardTotal, Slot,
    StoreState, TermState, TotalState, WantedTotal, slot::ShardOwner, total::LastRan,
};

/// The store's valid records of a fleet.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The shard total.
    pub shard_total: Option<u32>,
    /// The workers.
    pub workers: Vec<RecoveredWorker>,
    /// The owners.
    pub owners: Vec<RecoveredOwner>,
    /// When shards last ran, in milliseconds since the Unix epoch.
    pub last_ran_unix_ms: Option<u64>,
    /// How the heads of checkpoints are signed.
    pub head_signing: HeadSigning,
    /// What operators want.
    pub intent: Intent,
    /// The generation to activate if the records name none; from the settings.
    pub named_generation: Option<Generation>,
    /// Another coordinator has used this store before.
    pub had_predecessor: bool,
    /// The coordinator before has provably ended, and had trusted this very store: these are all records that it wrote, and none is lost.
    pub is_whole: bool,
}

/// A worker of the store's records.
#[derive(Clone, Debug)]
pub struct RecoveredWorker {
    /// Its name.
    pub worker: WorkerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its advertised URL.
    pub url: String,
}

/// An owner of the store's records.
#[derive(Clone, Debug)]
pub struct RecoveredOwner {
    /// The shard.
    pub shard: ShardKey,
    /// Its owner.
    pub worker: WorkerId,
    /// That worker's incarnation.
    pub incarnation: Incarnation,
    /// The epoch.
    pub epoch: Epoch,
}

impl Fleet {
    /// The fleet at the beginning of a term. `wanted` is the shard total that the settings or Discord ask for.
    pub fn new(rules: FleetRules, term: Term, wanted: WantedTotal, recovered: Recovered, now: Now) -> Self {
        let mut fleet = Self {
            term: TermState::new(term, &recovered, &rules, now),
            rules,
            total: TotalState {
                current: ShardTotal::Open { wanted },
                written: recovered.shard_total,
                last_ran: LastRan { at_unix_ms: recovered.last_ran_unix_ms, ..LastRan::default() },
                ran: recovered.last_ran_unix_ms.is_some() || !recovered.owners.is_empty(),
            },
            slots: Vec::new(),
            workers: BTreeMap::new(),
            heads: HeadSigningState::new(recovered.head_signing),
            intent: recovered.intent.clone(),
            named_generation: recovered.named_generation.clone(),
            store: StoreState::new(recovered.is_whole, now),
            deaths: DeathRecords::default(),
            pace: Pace::default(),
            effects: Vec::new(),
        };
        fleet.recover(recovered, now);
        fleet
    }

    fn recover(&mut self, recovered: Recovered, now: Now) {
        for RecoveredWorker { worker, incarnation, url } in recovered.workers {
            self.workers.insert(worker, KnownWorker::recovered(incarnation, url, now.mono));
        }
        // A total that only the store's record names is not taken; workers that run it report it when they register.
        let is_supported = |total: &u32| {
            self.total.is_near_wanted(*total) || recovered.owners.len().saturating_mul(2) >= *total as usize
        };
        let Some(total) = recovered.shard_total.filter(is_supported) else { return };
        let ran = self.total.ran;
        self.slots = Slot::all(total, ran);
        for RecoveredOwner { shard, worker, incarnation, epoch } in recovered.owners {
            let known = self.workers.get_mut(&worker).filter(|known| known.incarnation == incarnation);
            let Some(slot) = self.slots.get_mut(shard.slot().0 as usize) else { continue };
            slot.highest = slot.highest.max(epoch);
            slot.ran = true;
            // An owner without a worker's record left, or was revoked: its shards have no owner.
            if let Some(known) = known {
                known.owned.insert(shard.slot());
                slot.owner = Some(ShardOwner::found(worker, incarnation, epoch, now.mono));
            }
        }
        // Even if every lease looks lapsed: a worker that was cut off may still renew it. A dead one is found as usual.
        let ShardTotal::Open { wanted } = self.total.current else { return };
        let keeps = !wanted.explicit && self.total.can_be_resumed(now);
        if self.runs_nothing() && !keeps {
            self.slots.clear();
        } else {
            self.total.current = ShardTotal::Settled { total, wanted };
        }
    }
}

//! What must never happen, and what must happen in the end.

use super::*;

/// How many beats a world without faults may take: silence, grace, and the longest wait of the breaker after three deaths.
const IN_THE_END: usize = 60;

impl World {
    /// Checks the world after a part of a beat, and at its end.
    pub(in super::super) fn check(&mut self, at_the_end: bool) {
        for shard in 0..SHARDS {
            self.check_handlers(shard, at_the_end);
            self.check_epochs(shard);
        }
        for one in &self.coordinators {
            let is_listed = |slot: &Slot| {
                let owner = slot.owner.as_ref().and_then(|owner| one.fleet.workers.get(&owner.worker));
                owner.is_none_or(|owner| owner.owned.contains(&slot.key.slot()))
            };
            assert!(one.fleet.slots.iter().all(is_listed), "{:?}", one.fleet);
        }
    }

    fn harmed(&mut self, harm: Harm) {
        self.harm.get_or_insert(harm);
    }

    /// Two that handle a shard at once.
    fn check_handlers(&mut self, shard: usize, at_the_end: bool) {
        let handlers =
            self.workers.iter().enumerate().filter(|(_, worker)| worker.handles(self.fences, shard));
        let mut handlers: Vec<usize> = handlers.map(|(n, _)| n).collect();
        let highest = handlers.iter().filter_map(|&n| self.workers[n].running[shard]).max();
        self.handled[shard] = self.handled[shard].max(highest.unwrap_or_default());
        handlers.sort_by_key(|&n| self.workers[n].running[shard]);
        handlers.pop();
        if at_the_end {
            let losers = handlers.iter().map(|&n| (n, self.workers[n].life)).collect::<BTreeSet<_>>();
            self.overlaps[shard].retain(|loser, _| losers.contains(loser));
        }
        for loser in handlers {
            let worker = &self.workers[loser];
            if let Some(&term) = self.wrongly_lost.get(&(loser, worker.life)) {
                if self.is_forgotten(term) || !at_the_end {
                    continue;
                }
                let could_hear = worker.cut_from_store == 0 && self.store.away == 0;
                let overlap = self.overlaps[shard].entry((loser, worker.life)).or_default();
                overlap.beats += 1;
                overlap.could_hear += u8::from(could_hear);
                // A store that forgot the verdict is told again as soon as that is noticed.
                let renewals = if self.store.lost { WINDOW_BEATS } else { 1 };
                if overlap.could_hear > renewals || overlap.beats > WINDOW_BEATS {
                    self.harmed(Harm::WrongVerdictLasts);
                }
            } else {
                self.harmed(Harm::TwoHandle);
            }
        }
    }

    /// Returns whether the store has lost a verdict of this term, and no coordinator of the term can repeat it.
    fn is_forgotten(&self, term: u8) -> bool {
        let remembers = |(i, one): (usize, &Coordinator)| {
            one.term == term && !one.lost && one.stopped == 0 && self.reaches_store(i)
        };
        self.store.lost && !self.coordinators.iter().enumerate().any(remembers)
    }

    /// Checks that no worker has handled a shard since its copy. A shard begins with its worker's copy if that is complete and
    /// of the epoch that was handed over. It waits for its worker's window, and a worker that reads too late that it has the shard stays without
    /// one; then it claims the checkpoint, which a store within reach refuses if another worker has the shard.
    pub(in super::super) fn check_copies(
        &mut self,
        n: usize,
        copies: [Option<u64>; SHARDS],
        before: [Option<u64>; SHARDS],
        set: Set,
    ) {
        let worker = &self.workers[n];
        let is_open = worker.window_is_open(self.fences);
        let reaches_store = worker.cut_from_store == 0 && self.store.away == 0;
        for shard in 0..SHARDS {
            let (Some(copied), Some(epoch)) = (copies[shard], set.shards[shard]) else { continue };
            let waits = !is_open && epoch < self.handled[shard];
            let is_refused = reaches_store && self.store.refuses_epoch(self.fences, shard, epoch);
            let begins = set.shards[shard] != before[shard] && !waits && !is_refused;
            let is_whole = self.let_go[shard] >= copied;
            let is_used = is_whole && set.handed_over[shard] == Some(copied);
            if begins && is_used && self.handled[shard] > copied {
                self.harmed(Harm::StaleCopy);
            }
        }
    }

    /// Two under one epoch.
    fn check_epochs(&mut self, shard: usize) {
        let epochs: Vec<u64> = self.workers.iter().filter_map(|worker| worker.running[shard]).collect();
        let different: BTreeSet<u64> = epochs.iter().copied().collect();
        if different.len() < epochs.len() {
            self.harmed(Harm::OneEpochTwice);
        }
    }

    /// An IDENTIFY goes out: the shard must be its sender's, as far as anything is written.
    pub(in super::super) fn check_identify(&mut self, n: usize, shard: usize, epoch: u64) {
        let own = OwnerRow { life: (n, self.workers[n].life), epoch };
        let others = self.store.now.owners[shard]
            .is_some_and(|row| row.epoch > own.epoch || row.epoch == own.epoch && row.life != own.life);
        if others {
            self.harmed(Harm::StrangeIdentify);
        }
    }

    /// A checkpoint was written by one that lost its shard to another.
    pub(in super::super) fn check_checkpoint(&mut self, n: usize, shard: usize, epoch: u64, taken: bool) {
        let lost_to =
            |(other, worker): (usize, &SimWorker)| other != n && worker.running[shard] > Some(epoch);
        // What a store forgot it can't fence.
        if taken && !self.store.lost && self.workers.iter().enumerate().any(lost_to) {
            self.harmed(Harm::LosersWriteTaken);
        }
    }

    /// Each shard has one owner, and everybody agrees who that is.
    pub(in super::super) fn is_settled(&self) -> bool {
        let [one] = self.coordinators.as_slice() else { return false };
        self.workers.iter().all(|worker| worker.stream == Some(one.term))
            && (0..SHARDS).all(|shard| {
                let handle = |(_, worker): &(usize, &SimWorker)| worker.handles(self.fences, shard);
                let handlers: Vec<_> = self.workers.iter().enumerate().filter(handle).collect();
                let [(n, worker)] = handlers.as_slice() else { return false };
                let Some(epoch) = worker.running[shard] else { return false };
                let written = self.store.now.owners[shard]
                    .is_some_and(|row| row.life == (*n, worker.life) && row.epoch == epoch);
                written && one.fleet.owner(ShardSlot(shard as u32)) == Some((&name(*n), Epoch(epoch)))
            })
    }

    /// What is well by itself comes to have one owner for each shard.
    pub(in super::super) fn settles(&self) -> bool {
        if self.is_settled() {
            return true;
        }
        let mut world = self.clone();
        for _ in 0..IN_THE_END {
            world.beat(Order::Quick);
            if world.harm.is_some() {
                return false;
            }
            if world.is_settled() {
                return true;
            }
        }
        false
    }
}

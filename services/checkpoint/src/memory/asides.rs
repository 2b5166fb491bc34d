//! The notes and what is set aside, without a clock: the time goes in as an argument. Fences are looked at before.
//!
//! `redis/scripts` says the same in Lua; the contract suite holds the two together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fleet_model::{Epoch, ShardSlot};
use tokio::time::Instant;

use crate::{
    KEPT, MOST_SET_ASIDE, MOST_SET_ASIDE_BYTES, NoteAnswer, Position, SET_ASIDE_KEPT, SetAside,
    SetAsideSummary,
};

/// Everything that is kept.
#[derive(Debug, Default)]
pub(super) struct MemorySetAsides {
    notes: HashMap<ShardSlot, Notes>,
    aside: HashMap<ShardSlot, BTreeMap<Position, KeptEvent>>,
}

#[derive(Debug)]
struct Notes {
    /// The epochs of the owners that noted each.
    owners: BTreeMap<Position, BTreeSet<Epoch>>,
    expires_at: Instant,
}

#[derive(Debug)]
struct KeptEvent {
    event: SetAside,
    since: Instant,
}

impl MemorySetAsides {
    pub(super) fn note(
        &mut self,
        shard: ShardSlot,
        epoch: Epoch,
        at: Position,
        below: u32,
        now: Instant,
    ) -> NoteAnswer {
        self.notes.retain(|_, notes| notes.expires_at > now);
        let owners = self.notes.get(&shard).and_then(|notes| notes.owners.get(&at));
        let others = owners.into_iter().flatten().filter(|owner| **owner != epoch);
        let before = others.count() as u32;
        if before >= below {
            return NoteAnswer::No { before };
        }
        let notes =
            self.notes.entry(shard).or_insert_with(|| Notes { owners: BTreeMap::new(), expires_at: now });
        notes.owners.entry(at).or_default().insert(epoch);
        notes.expires_at = now + KEPT;
        NoteAnswer::Yes { before }
    }

    pub(super) fn void_notes(&mut self, shard: ShardSlot, at: Option<Position>, owners: &[Epoch]) {
        let Some(notes) = self.notes.get_mut(&shard) else { return };
        for (_, noted_by) in notes.owners.iter_mut().filter(|(event, _)| at.is_none_or(|at| at == **event)) {
            noted_by.retain(|owner| !owners.contains(owner));
        }
    }

    pub(super) fn take_back(&mut self, shard: ShardSlot, at: Position) {
        if let Some(notes) = self.notes.get_mut(&shard) {
            notes.owners.remove(&at);
        }
    }

    /// How many went to make room.
    pub(super) fn set_aside(&mut self, shard: ShardSlot, event: &SetAside, now: Instant) -> u32 {
        let aside = self.live(shard, now);
        let at = event.summary.at;
        aside.insert(at, KeptEvent { event: event.clone(), since: now });
        let mut bytes: usize = aside.values().map(|kept| kept.event.text.len()).sum();
        let mut forgotten = 0;
        while aside.len() > MOST_SET_ASIDE || bytes > MOST_SET_ASIDE_BYTES {
            let others = aside.iter().filter(|(other, _)| **other != at);
            let Some(oldest) = others.min_by_key(|(at, kept)| (kept.since, **at)).map(|(at, _)| *at) else {
                break;
            };
            bytes -= aside.remove(&oldest).map_or(0, |kept| kept.event.text.len());
            forgotten += 1;
        }
        forgotten
    }

    pub(super) fn list_aside(&mut self, shard: ShardSlot, now: Instant) -> Vec<SetAsideSummary> {
        self.live(shard, now).values().map(|kept| kept.event.summary.clone()).collect()
    }

    pub(super) fn get_aside(&mut self, shard: ShardSlot, at: Position, now: Instant) -> Option<SetAside> {
        self.live(shard, now).get(&at).map(|kept| kept.event.clone())
    }

    pub(super) fn drop_aside(&mut self, shard: ShardSlot, at: Position, now: Instant) -> bool {
        self.live(shard, now).remove(&at).is_some()
    }

    fn live(&mut self, shard: ShardSlot, now: Instant) -> &mut BTreeMap<Position, KeptEvent> {
        let aside = self.aside.entry(shard).or_default();
        aside.retain(|_, kept| now - kept.since < SET_ASIDE_KEPT);
        aside
    }
}

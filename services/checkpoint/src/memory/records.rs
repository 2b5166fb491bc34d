//! The checkpoints and their rules, without a clock: the time goes in as an argument.
//!
//! `redis/scripts` says the same in Lua; the contract suite holds the two together. One rule is Redis's alone: there the shard's
//! owner in the fleet store fences too.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use fleet_model::{Epoch, ShardKey};
use tokio::time::Instant;

use crate::{
    ClaimAnswer, Cursor, Freshness, KEPT, Page, PageRead, RecordKey, StepAnswer, StoredCheckpoint,
    StoredHead, WriteStep, page::PAGE, store::SERIALS,
};

/// Everything that is kept.
#[derive(Debug, Default)]
pub(super) struct Records {
    shards: HashMap<ShardKey, Checkpoint>,
}

#[derive(Debug)]
struct Checkpoint {
    epoch: Epoch,
    /// The previous owner's epoch.
    before: Option<Epoch>,
    serial: u64,
    records: BTreeMap<RecordKey, Bytes>,
    head: Option<Head>,
    expires_at: Instant,
}

#[derive(Debug)]
struct Head {
    bytes: Bytes,
    total: u32,
    written_at: Instant,
}

impl Records {
    pub(super) fn claim(&mut self, shard: ShardKey, epoch: Epoch, now: Instant) -> ClaimAnswer {
        self.shards.retain(|_, checkpoint| checkpoint.expires_at > now);
        let checkpoint = self.shards.entry(shard).or_insert_with(|| Checkpoint::new(epoch, now));
        if checkpoint.epoch > epoch {
            return ClaimAnswer::Outranked(checkpoint.epoch);
        }
        // A repeated claim, whose first answer was lost, gets that answer again.
        if checkpoint.epoch != epoch {
            checkpoint.before = Some(checkpoint.epoch);
        }
        checkpoint.epoch = epoch;
        checkpoint.expires_at = now + KEPT;
        let head = checkpoint.head.as_ref();
        ClaimAnswer::Yours(StoredCheckpoint {
            serial: checkpoint.serial,
            records: checkpoint.records.len() as u64,
            head: head.map(|head| StoredHead { bytes: head.bytes.clone(), age: now - head.written_at }),
            owner_before: checkpoint.before,
        })
    }

    pub(super) fn write(
        &mut self,
        shard: ShardKey,
        epoch: Epoch,
        serial: u64,
        step: &WriteStep,
        now: Instant,
    ) -> StepAnswer {
        let live = self.live(shard, now);
        let (stored_epoch, stored_serial) =
            live.map_or((Epoch(0), 0), |checkpoint| (checkpoint.epoch, checkpoint.serial));
        if stored_epoch > epoch {
            return StepAnswer::Outranked(stored_epoch);
        }
        let known = match live {
            _ if step.fresh => stored_serial <= serial,
            Some(_) => (stored_epoch, stored_serial) == (epoch, serial),
            None => false,
        };
        if !known || serial >= SERIALS {
            return StepAnswer::Lost { serial: stored_serial };
        }
        let before = live.filter(|live| live.epoch == epoch).and_then(|live| live.before);
        if step.fresh {
            self.shards.remove(&shard);
        }
        let checkpoint = self.shards.entry(shard).or_insert_with(|| Checkpoint::new(epoch, now));
        checkpoint.before = before;
        checkpoint.serial = serial + 1;
        for key in &step.remove {
            checkpoint.records.remove(key);
        }
        checkpoint.records.extend(step.set.iter().cloned());
        if let Some(head) = &step.head {
            checkpoint.head = Some(Head { bytes: head.bytes.clone(), total: head.total, written_at: now });
        }
        checkpoint.expires_at = now + KEPT;
        StepAnswer::Yes { serial: checkpoint.serial }
    }

    pub(super) fn read(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        serial: u64,
        cursor: Cursor,
        now: Instant,
    ) -> PageRead {
        let Some(checkpoint) = self.live(shard, now) else { return PageRead::Lost { serial: 0 } };
        if checkpoint.epoch > epoch {
            return PageRead::Outranked(checkpoint.epoch);
        }
        if (checkpoint.epoch, checkpoint.serial) != (epoch, serial) {
            return PageRead::Lost { serial: checkpoint.serial };
        }
        let mut page = Page { records: Vec::new(), next: None };
        let (mut bytes, mut position) = (0, cursor.position);
        for (key, record) in checkpoint.records.iter().skip(position as usize).take(cursor.count as usize) {
            if bytes > PAGE {
                break;
            }
            position += 1;
            bytes += record.len();
            page.records.push((key.to_string(), record.clone()));
        }
        if position < checkpoint.records.len() as u64 {
            page.next = Some(cursor.after(position, page.records.len(), bytes));
        }
        PageRead::Page(page)
    }

    pub(super) fn freshness(&self, shard: ShardKey, now: Instant) -> Option<Freshness> {
        let checkpoint = self.live(shard, now)?;
        let head = checkpoint.head.as_ref()?;
        Some(Freshness {
            epoch: checkpoint.epoch,
            total: head.total,
            age: now - head.written_at,
            records: checkpoint.records.len() as u64,
        })
    }

    /// The epoch that outranks this one, if one does.
    pub(super) fn above(&self, shard: ShardKey, epoch: Epoch, now: Instant) -> Option<Epoch> {
        self.live(shard, now).map(|checkpoint| checkpoint.epoch).filter(|known| *known > epoch)
    }

    fn live(&self, shard: ShardKey, now: Instant) -> Option<&Checkpoint> {
        self.shards.get(&shard).filter(|checkpoint| checkpoint.expires_at > now)
    }
}

impl Checkpoint {
    fn new(epoch: Epoch, now: Instant) -> Self {
        Self { epoch, before: None, serial: 0, records: BTreeMap::new(), head: None, expires_at: now + KEPT }
    }
}

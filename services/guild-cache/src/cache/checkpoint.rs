//! The names of changed records, and the bytes of records.

use std::collections::BTreeSet;

use super::{Kind, RecordKey, ShardCache};
use crate::{
    block::Packed,
    key::Changed,
    record::{Facts, Record},
};

/// The records of one guild to write, all of one moment, and to remove.
#[derive(Debug, Default)]
pub struct GuildRecords {
    /// Records of members, to be written in this order and before `together`. They may be newer than the core. A block that was split off is
    /// written before the block that it was split from.
    pub members: Vec<(RecordKey, Vec<u8>)>,
    /// Records to write in one step, after `members`. The last one is the core, which has the guild's stamp.
    pub together: Vec<(RecordKey, Vec<u8>)>,
    /// Records to remove, in the step of `together` or after it.
    pub removed: Vec<RecordKey>,
}

impl ShardCache {
    /// Takes the names of the records that have changed since the last call.
    pub fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changes.changed)
    }

    /// Takes back the names of records that could not be written.
    pub fn give_back(&mut self, changed: Changed) {
        self.changes.changed.merge(changed);
    }

    /// Notes all records as changed, so that all are written.
    pub fn note_everything(&mut self) {
        let keys: Vec<RecordKey> =
            self.each_guild().filter(|guild| !guild.is_pending).flat_map(crate::guild::Guild::keys).collect();
        for key in keys {
            self.changes.note(key);
        }
        self.changes.note_own_user();
    }

    /// Begins a copy: from now on changes are noted for the copy too. Returns the guilds to copy.
    pub fn begin_copy(&mut self) -> Vec<u64> {
        self.changes.since_copy = Some(Changed::default());
        self.each_guild().filter(|guild| !guild.is_pending).map(|guild| guild.id).collect()
    }

    /// Ends a copy. Returns the records that have changed since the copy began; `None` when no copy was begun.
    pub fn end_copy(&mut self) -> Option<Changed> {
        self.changes.since_copy.take()
    }

    /// The names of a guild's records in `changed`, and of those that have changed since `changed` was taken. Adds the latter to `changed`.
    pub fn changed_records(&mut self, guild: u64, changed: &mut Changed) -> BTreeSet<RecordKey> {
        let more = self.changes.changed.take_guild(guild);
        changed.records.extend(more);
        changed.of_guild(guild)
    }

    /// The records of a guild that [`ShardCache::changed_records`] names.
    pub fn records(&mut self, guild: u64, changed: &mut Changed) -> GuildRecords {
        let keys = self.changed_records(guild, changed);
        self.records_of(guild, keys)
    }

    /// The named records of a guild as they are now. Changes stay noted.
    pub fn records_of(&mut self, guild: u64, mut keys: BTreeSet<RecordKey>) -> GuildRecords {
        self.encode(guild, &mut keys)
    }

    /// All records of a guild.
    pub fn all_records(&mut self, guild: u64) -> GuildRecords {
        let mut keys: BTreeSet<RecordKey> =
            self.guild_ref(guild).map(|guild| guild.keys().into_iter().collect()).unwrap_or_default();
        self.encode(guild, &mut keys)
    }

    fn encode(&mut self, guild: u64, keys: &mut BTreeSet<RecordKey>) -> GuildRecords {
        let mut records = GuildRecords::default();
        if keys.is_empty() {
            return records;
        }
        // The core has the stamp, so it is written with every other record.
        keys.insert(RecordKey { guild, kind: Kind::Core, low: 0 });
        for key in keys.iter().rev().copied() {
            let list = if key.kind == Kind::Members { &mut records.members } else { &mut records.together };
            match self.record(key) {
                Some(bytes) => list.push((key, bytes)),
                None => records.removed.push(key),
            }
        }
        records
    }

    /// The names of all records of a guild.
    pub fn record_keys(&self, guild: u64) -> Vec<RecordKey> {
        self.guild_ref(guild).map(crate::guild::Guild::keys).unwrap_or_default()
    }

    /// A record as it is now; `None` when there is no such record.
    pub fn record(&mut self, key: RecordKey) -> Option<Vec<u8>> {
        let slot = *self.guilds.get(&key.guild)?;
        let (rules, codec) = (&self.rules, &*self.codec);
        let guild = self.slots[slot as usize].as_deref_mut().filter(|guild| !guild.is_pending)?;
        let stamp = if key.kind == Kind::Members { guild.members_stamp() } else { guild.stamp };
        if key.kind.is_list() {
            if !rules.keeps(key.kind) || key.kind == Kind::Presences {
                return None;
            }
            let range = guild.lists[key.kind.place()].range(key.low, codec)?;
            let Packed { count, size, bytes: block } = range.packed;
            return Some(Record { key, stamp, high: range.high, count, size, facts: &[], block }.encode());
        }
        let facts = if key.kind == Kind::Core {
            let ids = |kind: Kind| guild.list(kind).ids();
            Facts {
                members: guild.members,
                is_unavailable: guild.is_unavailable,
                had_lists: guild.had_lists,
                doubt: guild.doubt,
                channels: if rules.keeps(Kind::Channels) {
                    Vec::new()
                } else {
                    ids(Kind::Channels).collect()
                },
                voice: if rules.keeps(Kind::Voice) { Vec::new() } else { guild.voice.clone() },
            }
            .encode()
        } else {
            Vec::new()
        };
        let block = if key.kind == Kind::Core { &mut guild.core } else { &mut guild.extras };
        block.seal(codec);
        let Packed { count, size, bytes: block } = block.packed()?;
        Some(Record { key, stamp, high: u64::MAX, count, size, facts: &facts, block }.encode())
    }
}

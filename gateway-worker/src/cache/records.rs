//! What is known, as the records of checkpoints and copies, in the format that every worker of the fleet reads.
//!
//! From format 3 on they are the blocks of the cache. While the fleet has workers that read older formats only, they are
//! [lists of objects](super::old_records).

use std::collections::BTreeSet;

use bytes::Bytes;
use checkpoint::{FormatError, RecordKey};
use guild_cache::{Changed, Kind};

use super::{
    Contents, ShardCache, old_records,
    written::{GuildRecords, WrittenAs},
};

impl ShardCache {
    /// Takes what has changed in this session since it was last taken; `None` when another session has begun.
    pub(crate) fn take_changes(&self, session: u64) -> Option<Changed> {
        let mut contents = self.write();
        contents.is_of(session).then(|| contents.cache.take_changed())
    }

    /// Gives back what could not be written.
    pub(crate) fn give_back(&self, session: u64, changed: Changed) {
        let mut contents = self.write();
        if contents.is_of(session) {
            contents.cache.give_back(changed);
        }
    }

    /// Everything is to be written.
    pub(crate) fn note_everything(&self, session: u64) {
        let mut contents = self.write();
        if contents.is_of(session) {
            contents.cache.note_everything();
        }
    }

    /// The records of a guild, all of one moment, with what has changed of it since `changed` was taken, which is added there.
    /// Empty when another session has begun.
    pub(crate) fn records(
        &self,
        session: u64,
        guild: u64,
        changed: &mut Changed,
        form: WrittenAs,
    ) -> Result<GuildRecords, FormatError> {
        let mut contents = self.write();
        if !contents.is_of(session) {
            return Ok(GuildRecords::default());
        }
        let keys = contents.cache.changed_records(guild, changed);
        contents.records(guild, keys, form)
    }

    /// Another worker begins to copy the shard: the guilds that there are. `None` when another session has begun.
    pub(crate) fn begin_copy(&self, session: u64) -> Option<Vec<u64>> {
        let mut contents = self.write();
        contents.is_of(session).then(|| contents.cache.begin_copy())
    }

    /// All records of a guild, of one moment. Empty when another session has begun.
    pub(crate) fn all_records(
        &self,
        session: u64,
        guild: u64,
        format: u16,
    ) -> Result<GuildRecords, FormatError> {
        let mut contents = self.write();
        if !contents.is_of(session) {
            return Ok(GuildRecords::default());
        }
        let keys = contents.cache.record_keys(guild).into_iter().collect();
        contents.records(guild, keys, WrittenAs::only(format))
    }

    /// The rest of the copy is not needed.
    pub(crate) fn drop_copy(&self, session: u64) {
        let mut contents = self.write();
        if contents.is_of(session) {
            contents.cache.end_copy();
        }
    }

    /// The records of what has changed since the copy began, when it ends: of this moment. `None` when another session has begun
    /// since.
    pub(crate) fn end_copy(
        &self,
        session: u64,
        format: u16,
    ) -> Result<Option<Vec<GuildRecords>>, FormatError> {
        let mut contents = self.write();
        if !contents.is_of(session) {
            return Ok(None);
        }
        let Some(changed) = contents.cache.end_copy() else { return Ok(None) };
        let records = changed
            .guilds()
            .into_iter()
            .map(|guild| contents.records(guild, changed.of_guild(guild), WrittenAs::only(format)));
        records.collect::<Result<_, _>>().map(Some)
    }
}

impl Contents {
    fn is_of(&self, session: u64) -> bool {
        self.cache.session() == session
    }

    fn records(
        &mut self,
        guild: u64,
        mut keys: BTreeSet<guild_cache::RecordKey>,
        form: WrittenAs,
    ) -> Result<GuildRecords, FormatError> {
        if form.moves {
            keys.extend(self.cache.record_keys(guild));
        }
        if !form.is_blocks() {
            let blocks = self.old_blocks(guild);
            let mut records = old_records::write(&self.cache, guild, &keys, blocks, form)?;
            if form.moves {
                records.gone.extend(keys.into_iter().map(key));
            }
            return Ok(records);
        }
        let guild_cache::GuildRecords { members, together, removed } = self.cache.records_of(guild, keys);
        let encoded = |(of, bytes): (guild_cache::RecordKey, Vec<u8>)| (key(of), Bytes::from(bytes));
        let mut gone: Vec<RecordKey> = removed.into_iter().map(key).collect();
        if form.moves {
            gone.extend(old_records::keys(guild, self.old_blocks(guild)));
        }
        Ok(GuildRecords {
            members: members.into_iter().map(encoded).collect(),
            together: together.into_iter().map(encoded).collect(),
            gone,
        })
    }

    /// Over how many records of formats 1 and 2 a guild's members are spread.
    fn old_blocks(&mut self, guild: u64) -> u32 {
        let cached = self.cache.ids(guild, Kind::Members).len();
        *self.old_blocks.entry(guild).or_insert_with(|| old_records::blocks_for(cached))
    }
}

/// The name of a block's record.
fn key(key: guild_cache::RecordKey) -> RecordKey {
    let guild_cache::RecordKey { guild, kind, low } = key;
    RecordKey::Block { guild, kind: kind as u8, low }
}

#[cfg(test)]
pub(super) mod tests;

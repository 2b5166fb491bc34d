//! The cache as records of checkpoints and copies, in the newest format that every worker of the fleet reads.
//!
//! From format 3 on, records are the blocks of the cache. In older formats they are [lists of objects](super::old_records).

use std::collections::BTreeSet;

use bytes::Bytes;
use checkpoint::{FormatError, RecordKey};
use guild_cache::Changed;

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

    /// Returns the changed records of a guild, all of one moment: those in `changed` and those that have changed since `changed` was taken.
    /// Adds the latter to `changed`. Empty when another session has begun.
    pub(crate) fn records(
        &self,
        session: u64,
        guild: u64,
        changed: &mut Changed,
        form: WrittenAs,
    ) -> Result<GuildRecords, FormatError> {
        let collected = {
            let mut contents = self.write();
            if !contents.is_of(session) {
                return Ok(GuildRecords::default());
            }
            let keys = contents.cache.changed_records(guild, changed);
            contents.collect(guild, keys, form)
        };
        collected.encode()
    }

    /// Begins a copy of the shard for another worker. Returns the guilds to send; `None` when another session has begun.
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
        let collected = {
            let mut contents = self.write();
            if !contents.is_of(session) {
                return Ok(GuildRecords::default());
            }
            let keys = contents.cache.record_keys(guild).into_iter().collect();
            contents.collect(guild, keys, WrittenAs::only(format))
        };
        collected.encode()
    }

    /// Ends a copy whose rest is not needed.
    pub(crate) fn drop_copy(&self, session: u64) {
        let mut contents = self.write();
        if contents.is_of(session) {
            contents.cache.end_copy();
        }
    }

    /// Ends a copy. Returns the records that have changed since the copy began, as they are now. From now on no block is split or joined.
    /// `None` when no copy was begun or another session has begun.
    pub(crate) fn end_copy(
        &self,
        session: u64,
        format: u16,
    ) -> Result<Option<Vec<GuildRecords>>, FormatError> {
        let collected: Vec<Collected> = {
            let mut contents = self.write();
            if !contents.is_of(session) {
                return Ok(None);
            }
            let Some(changed) = contents.cache.end_copy() else { return Ok(None) };
            contents.is_handed_over = true;
            let guilds = changed.guilds().into_iter();
            guilds
                .map(|guild| contents.collect(guild, changed.of_guild(guild), WrittenAs::only(format)))
                .collect()
        };
        collected.into_iter().map(Collected::encode).collect::<Result<_, _>>().map(Some)
    }
}

/// The records of one guild at one moment.
#[derive(Debug)]
enum Collected {
    /// Records that are blocks, already encoded.
    Blocks(GuildRecords),
    /// Lists that must still be encoded, and further records to remove.
    Lists(Box<old_records::Lists>, Vec<RecordKey>),
}

impl Collected {
    /// Encodes the records. This takes long for lists, so it must not be called while the cache is locked.
    fn encode(self) -> Result<GuildRecords, FormatError> {
        match self {
            Self::Blocks(records) => Ok(records),
            Self::Lists(lists, gone) => {
                let mut records = lists.encode()?;
                records.gone.extend(gone);
                Ok(records)
            }
        }
    }
}

impl Contents {
    fn is_of(&self, session: u64) -> bool {
        self.cache.session() == session
    }

    fn collect(
        &mut self,
        guild: u64,
        mut keys: BTreeSet<guild_cache::RecordKey>,
        form: WrittenAs,
    ) -> Collected {
        if form.moves {
            keys.extend(self.cache.record_keys(guild));
        }
        if !form.is_blocks() {
            let blocks = self.old_blocks(guild);
            let lists = old_records::collect(&self.cache, guild, &keys, blocks, form);
            let gone = if form.moves { keys.into_iter().map(key).collect() } else { Vec::new() };
            return Collected::Lists(Box::new(lists), gone);
        }
        let guild_cache::GuildRecords { members, together, removed } = self.cache.records_of(guild, keys);
        let encoded = |(of, bytes): (guild_cache::RecordKey, Vec<u8>)| (key(of), Bytes::from(bytes));
        let mut gone: Vec<RecordKey> = removed.into_iter().map(key).collect();
        if form.moves {
            gone.extend(old_records::keys(guild, self.old_blocks(guild)));
        }
        Collected::Blocks(GuildRecords {
            members: members.into_iter().map(encoded).collect(),
            together: together.into_iter().map(encoded).collect(),
            gone,
        })
    }

    /// Number of records of a guild's members in formats 1 and 2; 0 before its GUILD_CREATE, when there are none.
    fn old_blocks(&mut self, guild: u64) -> u32 {
        if let Some(blocks) = self.old_blocks.get(&guild) {
            return *blocks;
        }
        let Some(known) = self.cache.guild(guild) else { return 0 };
        let Some(members) = known.members else { return 0 };
        // Most members of a large guild come after its GUILD_CREATE.
        let blocks = old_records::blocks_for(members.max(known.cached_members));
        self.old_blocks.insert(guild, blocks);
        blocks
    }
}

/// The name of a block's record.
fn key(key: guild_cache::RecordKey) -> RecordKey {
    let guild_cache::RecordKey { guild, kind, low } = key;
    RecordKey::Block { guild, kind: kind as u8, low }
}

#[cfg(test)]
pub(super) mod tests;

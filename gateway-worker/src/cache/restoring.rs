//! Makes a cache from records: of a checkpoint, or of a copy while the other worker still runs the shard.
//!
//! Records may come in any order, more than once, and in different formats. The core of a guild decides which format counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use checkpoint::{FormatError, Head, Record, RecordKey, decode_record};
use guild_cache::{Kind, RecordError, ShardDoubt};

use super::{CODEC, CacheSettings, old_records::OldGuild};

/// Records from which no guild can be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error("record {key}: {source}")]
    Record { key: RecordKey, source: FormatError },
    #[error("record {key}: {source}")]
    Block { key: RecordKey, source: RecordError },
    #[error("the records of guild {0} cannot be read: they are not JSON")]
    Guild(u64),
}

/// The kinds of keys that records have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layouts {
    /// The keys of formats 1 and 2.
    pub(crate) lists: bool,
    /// The keys of formats with blocks.
    pub(crate) blocks: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Restoring {
    blocks: guild_cache::Restoring,
    old: BTreeMap<u64, OldGuild>,
    /// Guilds of `old` whose blocks must be made from their records.
    stale: BTreeSet<u64>,
    layouts: Layouts,
}

/// New contents of a cache.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(super) cache: guild_cache::ShardCache,
    pub(super) old_blocks: HashMap<u64, u32>,
    layouts: Layouts,
}

impl Prepared {
    /// The kinds of keys that the records had.
    pub(crate) fn layouts(&self) -> Layouts {
        self.layouts
    }
}

impl Layouts {
    /// The keys of a format.
    pub(crate) fn of(format: u16) -> Self {
        let blocks = format >= checkpoint::FORMAT_OF_BLOCKS;
        Self { lists: !blocks, blocks }
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { lists: self.lists || other.lists, blocks: self.blocks || other.blocks }
    }

    /// Whether some are not the keys of `format`.
    pub(crate) fn has_other_than(self, format: u16) -> bool {
        self.and(Self::of(format)) != Self::of(format)
    }
}

impl Restoring {
    pub(super) fn new(settings: &CacheSettings) -> Self {
        Self {
            blocks: guild_cache::Restoring::new(settings.rules(), CODEC.clone()),
            old: BTreeMap::new(),
            stale: BTreeSet::new(),
            layouts: Layouts::default(),
        }
    }

    /// Takes a record of a guild, which replaces an older one with its key. Returns any other record.
    pub(crate) fn take(&mut self, key: RecordKey, bytes: &[u8]) -> Result<Option<Record>, RestoreError> {
        if let RecordKey::Block { guild, kind, low } = key {
            self.layouts.blocks = true;
            let kind =
                Kind::from_byte(kind).ok_or(RestoreError::Record { key, source: FormatError::Misplaced })?;
            let of = guild_cache::RecordKey { guild, kind, low };
            return match self.blocks.take(of, bytes) {
                Ok(()) => Ok(None),
                Err(source) => Err(RestoreError::Block { key, source }),
            };
        }
        let record = decode_record(key, bytes).map_err(|source| RestoreError::Record { key, source })?;
        let Some(guild) = key.guild() else { return Ok(Some(record)) };
        self.layouts.lists = true;
        self.stale.insert(guild);
        Ok(self.old.entry(guild).or_default().take(key, record))
    }

    /// Removes a guild's record that the sender or store has removed.
    pub(crate) fn remove(&mut self, key: RecordKey) {
        match key {
            RecordKey::Block { guild, kind, low } => {
                if let Some(kind) = Kind::from_byte(kind) {
                    self.blocks.remove(guild_cache::RecordKey { guild, kind, low });
                }
            }
            _ => {
                if let Some(guild) = key.guild()
                    && let Some(old) = self.old.get_mut(&guild)
                {
                    old.remove(key);
                    self.stale.insert(guild);
                }
            }
        }
    }

    /// Makes the blocks of the next guild whose records are lists. False when no such guild is left.
    ///
    /// # Errors
    /// A record of the guild cannot be read.
    pub(crate) fn next_guild(&mut self) -> Result<bool, RestoreError> {
        let Some(guild) = self.stale.pop_first() else { return Ok(false) };
        let created = self.old.get(&guild).map_or(Ok(None), |old| old.created(guild));
        match created.map_err(|_| RestoreError::Guild(guild))? {
            Some((text, facts)) => {
                self.blocks.remove_guild(guild);
                self.blocks.take_guild_create(&text, &facts).map_err(|_| RestoreError::Guild(guild))?;
            }
            // The bot left the guild, unless blocks of the guild have come.
            None if !self.layouts.blocks => self.blocks.remove_guild(guild),
            None => {}
        }
        Ok(true)
    }

    /// Makes the cache, after the blocks of all guilds are made.
    pub(crate) fn finish(self, head: &Head) -> Prepared {
        let Self { blocks, old, layouts, .. } = self;
        let own_user = head.own_user.as_deref().and_then(|user| str::from_utf8(user).ok());
        let head = guild_cache::Head {
            session: head.session.ordinal,
            expecting: head.expecting.clone(),
            doubt: ShardDoubt::of_code(head.doubt),
            own_user: own_user.map(str::to_owned),
        };
        let old_blocks =
            old.iter().map(|(guild, old)| (*guild, old.blocks())).filter(|(_, blocks)| *blocks > 0);
        Prepared { old_blocks: old_blocks.collect(), cache: blocks.finish(&head), layouts }
    }
}

#[cfg(test)]
mod tests;

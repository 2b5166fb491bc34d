//! A cache that is being copied from another worker, part by part, while that one runs on.
//!
//! Records come in any order and again; a guild is made of them once they are all there, and made anew when some of them come
//! again.

use std::collections::{BTreeMap, BTreeSet};

use checkpoint::{Head, Record, RecordKey};
use twilight_model::{gateway::payload::incoming::UserUpdate, id::Id};

use super::{
    CacheSettings, Contents,
    records::{Prepared, RestoreError, RestoredGuild},
};
use crate::{reading::ShardDoubt, tally::Tally};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Copy {
    contents: Contents,
    guilds: BTreeMap<u64, RestoredGuild>,
    /// Guilds that are to be made of their records.
    stale: BTreeSet<u64>,
}

impl Copy {
    /// Nothing yet.
    pub(crate) fn new(settings: &CacheSettings) -> Self {
        Self {
            contents: Contents::new(settings, 0, Tally::default()),
            guilds: BTreeMap::new(),
            stale: BTreeSet::new(),
        }
    }

    /// Takes a guild's record in; gives any other back.
    pub(crate) fn take(&mut self, key: RecordKey, record: Record) -> Option<Record> {
        let Some(guild) = key.guild() else { return Some(record) };
        self.stale.insert(guild);
        self.guilds.entry(guild).or_default().take(key, record)
    }

    /// A guild's record is gone.
    pub(crate) fn remove(&mut self, key: RecordKey) {
        let Some(guild) = key.guild() else { return };
        self.stale.insert(guild);
        if let Some(guild) = self.guilds.get_mut(&guild) {
            guild.remove(key);
        }
    }

    /// Makes the next guild of its records. False when there is none left.
    ///
    /// # Errors
    /// A record of it makes no sense.
    pub(crate) fn next_guild(&mut self) -> Result<bool, RestoreError> {
        let Some(id) = self.stale.pop_first() else { return Ok(false) };
        let mut book = self.contents.book();
        if book.tally.guild(id).is_some() {
            if let Some(id) = Id::new_checked(id) {
                self.contents.remove_guild(&mut book, id);
            }
            book.members.forget(id);
            book.tally.guild_left(id);
        }
        if let Some(guild) = self.guilds.get(&id) {
            self.contents.restore_guild(&mut book, id, guild)?;
        }
        Ok(true)
    }

    /// All guilds are made, and the head is there.
    ///
    /// # Errors
    /// The bot's own user makes no sense.
    pub(crate) fn finish(self, head: &Head) -> Result<Prepared, RestoreError> {
        let Self { mut contents, .. } = self;
        contents.session = head.session.ordinal;
        {
            let mut book = contents.book();
            head.expecting.iter().for_each(|guild| book.tally.expect(*guild));
            book.doubt = ShardDoubt::of_code(head.doubt);
        }
        if let Some(user) = &head.own_user {
            let user =
                serde_json::from_slice(user).map_err(|error| RestoreError::OwnUser((&error).into()))?;
            contents.store.update(&UserUpdate(user));
        }
        Ok(Prepared(contents))
    }
}

#[cfg(test)]
mod tests;

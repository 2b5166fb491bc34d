//! What is known, as records that another worker can go on with, and back.
//!
//! The records hold Discord's objects as Discord's API writes them. A guild comes back into a cache the way it first came: as a
//! GUILD_CREATE, put together from its records.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use checkpoint::{Extras, GuildCore, Members as MemberBlock, Record, RecordKey};
use serde::Serialize;
use serde_json::{Map, Value, json};
use twilight_cache_inmemory::{DefaultInMemoryCache, Reference, ResourceType};
use twilight_model::{
    gateway::payload::incoming::{GuildCreate, UserUpdate},
    guild::Guild,
    id::{Id, marker::GuildMarker},
};

use super::{
    Book, Changed, Contents, ShardCache,
    changes::{GuildChanges, block_of},
    count::voices,
    members::Members,
};
use crate::{
    payload::Misplaced,
    reading::{Doubt, ShardDoubt},
    tally::{MOST_MEMBERS, NewGuild, Tally},
};

/// The records of one guild that are to be written, and those that are to go.
#[derive(Debug, Default)]
pub(crate) struct GuildRecords {
    /// To be written in one step: all of one moment.
    pub(crate) together: Vec<(RecordKey, Record)>,
    /// Blocks of members, to be written before `together`: newer ones do no harm.
    pub(crate) members: Vec<(RecordKey, Record)>,
    /// To be removed.
    pub(crate) gone: Vec<RecordKey>,
}

/// Records that no guild can be made of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error("the record of guild {guild} cannot be read: {source}")]
    Guild { guild: u64, source: Misplaced },
    #[error("the record of the bot's own user cannot be read: {0}")]
    OwnUser(Misplaced),
}

/// What a cache is restored from.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) session: u64,
    pub(crate) expecting: Vec<u64>,
    pub(crate) doubt: Option<ShardDoubt>,
    pub(crate) own_user: Option<Bytes>,
    pub(crate) guilds: BTreeMap<u64, RestoredGuild>,
}

/// The records of one guild.
#[derive(Debug, Default)]
pub(crate) struct RestoredGuild {
    core: Option<GuildCore>,
    channels: Bytes,
    roles: Bytes,
    extras: Extras,
    /// By block.
    members: BTreeMap<u32, Bytes>,
    /// The highest stamp of them.
    members_stamp: u64,
}

impl Restored {
    /// Takes a guild's record in; gives any other back.
    pub(crate) fn take(&mut self, key: RecordKey, record: Record) -> Option<Record> {
        let Some(id) = key.guild() else { return Some(record) };
        self.guilds.entry(id).or_default().take(key, record)
    }
}

impl RestoredGuild {
    /// Takes a record of the guild in, in place of an older one; gives any other back.
    pub(super) fn take(&mut self, key: RecordKey, record: Record) -> Option<Record> {
        match (key, record) {
            (_, Record::Core(core)) => self.core = Some(core),
            (_, Record::Channels(list)) => self.channels = list,
            (_, Record::Roles(list)) => self.roles = list,
            (_, Record::Extras(extras)) => self.extras = extras,
            (RecordKey::Members(_, block), Record::Members(members)) => {
                self.members_stamp = self.members_stamp.max(members.stamp);
                self.members.insert(block, members.list);
            }
            (_, other) => return Some(other),
        }
        None
    }

    /// A record of the guild is gone.
    pub(super) fn remove(&mut self, key: RecordKey) {
        match key {
            RecordKey::Core(_) => self.core = None,
            RecordKey::Channels(_) => self.channels = Bytes::new(),
            RecordKey::Roles(_) => self.roles = Bytes::new(),
            RecordKey::Extras(_) => self.extras = Extras::default(),
            RecordKey::Members(_, block) => {
                self.members.remove(&block);
            }
            RecordKey::Pending(..) => {}
        }
    }
}

impl ShardCache {
    /// Takes what has changed in this session since it was last taken; `None` when another session has begun.
    pub(crate) fn take_changes(&self, session: u64) -> Option<Changed> {
        let contents = self.contents.load();
        (contents.session == session).then(|| contents.book().changes.take())
    }

    /// Gives back what could not be written.
    pub(crate) fn give_back(&self, session: u64, changed: Changed) {
        let contents = self.contents.load();
        if contents.session == session {
            contents.book().changes.give_back(changed);
        }
    }

    /// Everything is to be written.
    pub(crate) fn note_everything(&self, session: u64) {
        let contents = self.contents.load();
        if contents.session == session {
            let mut book = contents.book();
            let guilds = book.tally.known_guilds();
            book.changes.note_everything(guilds);
        }
    }

    /// The records of a guild, all of one moment, with what has changed of it since `changes` were taken, which is added there.
    /// Empty when another session has begun.
    pub(crate) fn records(&self, session: u64, guild: u64, changes: &mut GuildChanges) -> GuildRecords {
        let contents = self.contents.load();
        if contents.session != session {
            return GuildRecords::default();
        }
        let mut book = contents.book();
        book.changes.take_more(guild, changes);
        contents.records(&book, guild, changes)
    }

    /// Another worker begins to copy the shard: the guilds that there are. `None` when another session has begun.
    pub(crate) fn begin_copy(&self, session: u64) -> Option<Vec<u64>> {
        let contents = self.contents.load();
        (contents.session == session).then(|| {
            let mut book = contents.book();
            book.changes.begin_copy();
            book.tally.known_guilds()
        })
    }

    /// All records of a guild, of one moment. Empty when another session has begun.
    pub(crate) fn all_records(&self, session: u64, guild: u64) -> GuildRecords {
        let contents = self.contents.load();
        if contents.session != session {
            return GuildRecords::default();
        }
        let book = contents.book();
        let everything = GuildChanges::everything(book.changes.blocks(guild));
        contents.records(&book, guild, &everything)
    }

    /// Nobody wants the rest of the copy.
    pub(crate) fn drop_copy(&self, session: u64) {
        let contents = self.contents.load();
        if contents.session == session {
            contents.book().changes.end_copy();
        }
    }

    /// The records of what has changed since the copy began, when it ends: of this moment. `None` when another session has begun
    /// since.
    pub(crate) fn end_copy(&self, session: u64) -> Option<Vec<GuildRecords>> {
        let contents = self.contents.load();
        if contents.session != session {
            return None;
        }
        let mut book = contents.book();
        let changed = book.changes.end_copy()?;
        Some(changed.guilds.iter().map(|(guild, changes)| contents.records(&book, *guild, changes)).collect())
    }

    /// The guilds that READY named and of which nothing has come; with `all`, every guild.
    pub(crate) fn guilds_to_expect(&self, all: bool) -> Vec<u64> {
        let contents = self.contents.load();
        let book = contents.book();
        if all { book.tally.all_guilds() } else { book.tally.pending_guilds() }
    }

    /// The bot's own user as Discord's object, when it is kept.
    pub(crate) fn own_user(&self) -> Option<Bytes> {
        self.contents.load().store.current_user().map(|user| json_bytes(&user))
    }

    /// Begins to make of records what [`ShardCache::adopt`] takes.
    ///
    /// # Errors
    /// The bot's own user makes no sense.
    pub(crate) fn prepare(&self, restored: Restored) -> Result<Preparing, RestoreError> {
        let Restored { session, expecting, doubt, own_user, guilds } = restored;
        let contents = Contents::new(&self.settings, session, Tally::expecting(expecting));
        contents.book().doubt = doubt;
        if let Some(user) = own_user {
            let user =
                serde_json::from_slice(&user).map_err(|error| RestoreError::OwnUser((&error).into()))?;
            contents.store.update(&UserUpdate(user));
        }
        Ok(Preparing { contents, guilds })
    }

    /// Becomes what was prepared.
    pub(crate) fn adopt(&self, prepared: Prepared) {
        self.contents.store(std::sync::Arc::new(prepared.0));
    }

    /// Becomes what the records say.
    #[cfg(test)]
    pub(crate) fn restore(&self, restored: Restored) -> Result<(), RestoreError> {
        let mut preparing = self.prepare(restored)?;
        while preparing.next_guild()? {}
        self.adopt(preparing.finish());
        Ok(())
    }
}

/// A cache that is being made of records, guild by guild: a thousand of them take a while.
#[derive(Debug)]
pub(crate) struct Preparing {
    contents: Contents,
    guilds: BTreeMap<u64, RestoredGuild>,
}

/// What a cache can become.
#[derive(Debug)]
pub(crate) struct Prepared(pub(super) Contents);

impl Preparing {
    /// Takes the next guild in. False when there is none left.
    ///
    /// # Errors
    /// A record of it makes no sense.
    pub(crate) fn next_guild(&mut self) -> Result<bool, RestoreError> {
        let Some((id, guild)) = self.guilds.pop_first() else { return Ok(false) };
        self.contents.restore_guild(&mut self.contents.book(), id, &guild)?;
        Ok(true)
    }

    /// All guilds are in.
    pub(crate) fn finish(self) -> Prepared {
        Prepared(self.contents)
    }
}

impl Contents {
    fn records(&self, book: &Book, guild: u64, changes: &GuildChanges) -> GuildRecords {
        let mut records = GuildRecords::default();
        let blocks = book.changes.blocks(guild);
        if changes.gone {
            records.gone.extend([
                RecordKey::Core(guild),
                RecordKey::Channels(guild),
                RecordKey::Roles(guild),
                RecordKey::Extras(guild),
            ]);
            records.gone.extend((0..blocks).map(|block| RecordKey::Members(guild, block)));
        }
        // One that is still to come is in the head.
        let known = book.tally.guild(guild).filter(|_| !book.tally.is_pending(guild));
        let (Some(known), Some(id)) = (known, Id::new_checked(guild)) else { return records };
        let store = &self.store;
        if changes.parts.channels {
            records.together.push((RecordKey::Channels(guild), Record::Channels(channels(store, id))));
        }
        if changes.parts.roles {
            records.together.push((RecordKey::Roles(guild), Record::Roles(roles(store, id))));
        }
        if changes.parts.extras {
            records.together.push((RecordKey::Extras(guild), Record::Extras(extras(store, id))));
        }
        if changes.parts.core || !records.together.is_empty() {
            // It carries the stamp, so it goes with each of the others.
            let core = GuildCore {
                stamp: book.changes.stamp(guild),
                members: known.members,
                channels: book.tally.channels_of(guild),
                in_voice: book.tally.in_voice(guild),
                unavailable: known.unavailable,
                object: store.guild(id).map(|guild| guild_json(guild.value(), known.members)),
                voice_states: voice_states(store, id),
                member_blocks: if known.members.is_some() { blocks } else { 0 },
                doubt: known.doubt.bits(),
            };
            records.together.push((RecordKey::Core(guild), Record::Core(core)));
        }
        if !changes.member_blocks.is_empty() {
            let stamp = book.changes.stamp(guild);
            for (block, list) in members(&book.members, guild, blocks, &changes.member_blocks) {
                let key = RecordKey::Members(guild, block);
                match list {
                    Some(list) => records.members.push((key, Record::Members(MemberBlock { stamp, list }))),
                    None => records.gone.push(key),
                }
            }
        }
        let written: HashSet<RecordKey> =
            records.together.iter().chain(&records.members).map(|(key, _)| *key).collect();
        records.gone.retain(|key| !written.contains(key));
        records
    }

    pub(super) fn restore_guild(
        &self,
        book: &mut Book,
        id: u64,
        guild: &RestoredGuild,
    ) -> Result<(), RestoreError> {
        let broken = |error: serde_json::Error| RestoreError::Guild { guild: id, source: (&error).into() };
        // Blocks of members without a core: they were written just before the guild left, or before its core could be.
        let Some(core) = &guild.core else { return Ok(()) };
        let never_came = core.members.is_none();
        if !never_came {
            let created = guild_object(id, core, guild);
            // As text: it is what events are read from, so that a guild's types are compiled once.
            let created =
                str::from_utf8(&created).map_err(|error| broken(serde::de::Error::custom(error)))?;
            let created: Guild = serde_json::from_str(created).map_err(broken)?;
            let counted = counted(core, &created);
            book.tally.guild_came(id, counted);
            book.members.forget(id);
            if self.kept.contains(ResourceType::MEMBER) {
                created.members.iter().for_each(|member| book.members.put(id, member));
                if guild.members_stamp > core.stamp {
                    book.members.are_ahead(id, guild.members_stamp);
                }
            }
            self.store.update(&GuildCreate::Available(created));
        }
        if core.unavailable || never_came {
            book.tally.guild_unavailable(id);
        }
        book.changes.restored(id, core.stamp, core.member_blocks);
        Ok(())
    }
}

/// The counts in a guild's records: ids where the records name them, else numbers.
fn counted(core: &GuildCore, guild: &Guild) -> NewGuild {
    let named =
        guild.channels.iter().filter(|channel| !channel.kind.is_thread()).map(|channel| channel.id.get());
    let channels: BTreeSet<u64> = named.collect();
    let told = voices(&guild.voice_states);
    NewGuild {
        members: core.members.unwrap_or(0).min(MOST_MEMBERS),
        unnamed_channels: if channels.is_empty() { core.channels } else { 0 },
        channels,
        in_voice: core.in_voice.iter().map(|user| (*user, told.get(user).copied().unwrap_or(0))).collect(),
        doubt: Doubt::of_bits(core.doubt),
    }
}

fn json_bytes(value: &impl Serialize) -> Bytes {
    // twilight's types have string keys and no failing `Serialize`.
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}

/// An object's fields, without those that are null: twilight's cache writes null where Discord leaves a field out.
pub(super) fn value(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(mut object)) => {
            object.retain(|_, value| !value.is_null());
            object
        }
        _ => Map::new(),
    }
}

/// A GUILD_CREATE's object out of a guild's records. What is no JSON among them makes it none.
fn guild_object(id: u64, core: &GuildCore, guild: &RestoredGuild) -> Vec<u8> {
    let object = core.object.clone().unwrap_or_else(|| bare_guild(id));
    // The lists go in behind the object's own fields.
    let mut text = object.trim_ascii_end().strip_suffix(b"}").unwrap_or(&object).to_vec();
    let extras = &guild.extras;
    let lists = [
        ("channels", &guild.channels),
        ("roles", &guild.roles),
        ("emojis", &extras.emojis),
        ("stickers", &extras.stickers),
        ("stage_instances", &extras.stage_instances),
        ("guild_scheduled_events", &extras.scheduled_events),
        ("voice_states", &core.voice_states),
    ];
    for (name, list) in lists {
        text.extend_from_slice(format!(",\"{name}\":").as_bytes());
        text.extend_from_slice(if list.is_empty() { b"[]" } else { list });
    }
    text.extend_from_slice(b",\"members\":[");
    let mut first = true;
    for block in guild.members.values() {
        let inside = block.trim_ascii().strip_prefix(b"[").and_then(|block| block.strip_suffix(b"]"));
        // A block that is no array is kept as it is, so that the whole can't be read.
        let inside = inside.unwrap_or(block);
        if !inside.is_empty() && !std::mem::replace(&mut first, false) {
            text.push(b',');
        }
        text.extend_from_slice(inside);
    }
    text.extend_from_slice(b"]}");
    text
}

/// The guild's own fields; its lists are records of their own.
fn guild_json(guild: &twilight_cache_inmemory::model::CachedGuild, members: Option<u64>) -> Bytes {
    json_bytes(&guild_fields(guild, members))
}

/// The guild's own fields, with the member count of this cache.
pub(super) fn guild_fields(
    guild: &twilight_cache_inmemory::model::CachedGuild,
    members: Option<u64>,
) -> Map<String, Value> {
    let mut object = value(guild);
    object.remove("guild_scheduled_events");
    if let Some(members) = members {
        object.insert("member_count".to_owned(), members.into());
    }
    object
}

fn channels(store: &DefaultInMemoryCache, guild: Id<GuildMarker>) -> Bytes {
    let ids: Vec<_> =
        store.guild_channels(guild).map(|ids| ids.iter().copied().collect()).unwrap_or_default();
    let channels: Vec<_> = ids.into_iter().filter_map(|id| store.channel(id)).collect();
    json_bytes(&channels.iter().map(Reference::value).collect::<Vec<_>>())
}

pub(super) fn roles(store: &DefaultInMemoryCache, guild: Id<GuildMarker>) -> Bytes {
    let ids: Vec<_> = store.guild_roles(guild).map(|ids| ids.iter().copied().collect()).unwrap_or_default();
    let roles: Vec<_> = ids.into_iter().filter_map(|id| store.role(id)).collect();
    json_bytes(&roles.iter().map(|role| role.value().resource()).collect::<Vec<_>>())
}

fn voice_states(store: &DefaultInMemoryCache, guild: Id<GuildMarker>) -> Bytes {
    let users: Vec<_> =
        store.guild_voice_states(guild).map(|ids| ids.iter().copied().collect()).unwrap_or_default();
    let states: Vec<_> = users.into_iter().filter_map(|user| store.voice_state(user, guild)).collect();
    json_bytes(&states.iter().map(Reference::value).collect::<Vec<_>>())
}

pub(super) fn extras(store: &DefaultInMemoryCache, guild: Id<GuildMarker>) -> Extras {
    let emojis: Vec<_> =
        store.guild_emojis(guild).map(|ids| ids.iter().copied().collect()).unwrap_or_default();
    let emojis =
        emojis.into_iter().filter_map(|id| Some(Value::Object(value(store.emoji(id)?.value().resource()))));
    let stickers: Vec<_> =
        store.guild_stickers(guild).map(|ids| ids.iter().copied().collect()).unwrap_or_default();
    let stickers = stickers.into_iter().filter_map(|id| {
        let mut sticker = value(store.sticker(id)?.value().resource());
        if let Some(kind) = sticker.remove("kind") {
            sticker.insert("type".to_owned(), kind);
        }
        Some(Value::Object(sticker))
    });
    let stages: Vec<_> =
        store.guild_stage_instances(guild).map(|ids| ids.iter().copied().collect()).unwrap_or_default();
    let stages = stages
        .into_iter()
        .filter_map(|id| Some(Value::Object(value(store.stage_instance(id)?.value().resource()))));
    let planned: Vec<_> =
        store.scheduled_events(guild).map(|ids| ids.iter().copied().collect()).unwrap_or_default();
    let planned = planned
        .into_iter()
        .filter_map(|id| Some(Value::Object(value(store.scheduled_event(id)?.value().resource()))));
    Extras {
        emojis: json_bytes(&emojis.collect::<Vec<_>>()),
        stickers: json_bytes(&stickers.collect::<Vec<_>>()),
        stage_instances: json_bytes(&stages.collect::<Vec<_>>()),
        scheduled_events: json_bytes(&planned.collect::<Vec<_>>()),
    }
}

/// A member with its user, in Discord's format.
pub(super) fn member(known: &Members, guild: u64, user: u64) -> Option<Map<String, Value>> {
    let mut object = value(known.get(guild, user)?);
    object.remove("user_id");
    object.insert("user".to_owned(), Value::Object(value(known.user(user)?)));
    Some(object)
}

/// The wanted blocks of a guild's members; `None` for an empty one.
fn members(known: &Members, guild: u64, blocks: u32, wanted: &BTreeSet<u32>) -> BTreeMap<u32, Option<Bytes>> {
    let mut lists: BTreeMap<u32, Vec<Value>> = wanted.iter().map(|block| (*block, Vec::new())).collect();
    for (user, _) in known.of(guild) {
        let Some(list) = lists.get_mut(&block_of(user, blocks)) else { continue };
        let Some(mut object) = member(known, guild, user) else { continue };
        for flag in ["deaf", "mute"] {
            // What a message tells of a member leaves these open.
            if object.get(flag).is_none_or(Value::is_null) {
                object.insert(flag.to_owned(), Value::Bool(false));
            }
        }
        list.push(Value::Object(object));
    }
    let written =
        lists.into_iter().map(|(block, list)| (block, (!list.is_empty()).then(|| json_bytes(&list))));
    written.collect()
}

/// A guild object for a cache that keeps none: what twilight's type asks for
/// ([Guild](https://discord.com/developers/docs/resources/guild#guild-object)).
fn bare_guild(id: u64) -> Bytes {
    json_bytes(&json!({
        "id": id.to_string(),
        "name": "",
        "owner_id": id.to_string(),
        "afk_timeout": 300,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "features": [],
        "mfa_level": 0,
        "nsfw_level": 0,
        "preferred_locale": "en-US",
        "premium_progress_bar_enabled": false,
        "system_channel_flags": 0,
        "verification_level": 0,
    }))
}

#[cfg(test)]
pub(crate) mod tests;

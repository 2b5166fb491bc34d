//! Records of formats 1 and 2, for workers that read no newer format: lists of Discord's objects. A guild's members are spread over a
//! fixed number of records.
//!
//! A record is written again when one of its objects has changed. When one member has changed, all records of the guild's members are
//! written, because the cache does not know which members left. These formats have no soundboard sounds.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use bytes::Bytes;
use checkpoint::{Extras, FormatError, GuildCore, Members, Record, RecordKey, encode_record};
use guild_cache::{Doubt, GuildFacts, Kind, Objects, Resources, ShardCache, read_elements, read_fields};

use super::written::{GuildRecords, WrittenAs};

/// Approximate number of members in one record.
const MEMBERS_PER_BLOCK: u64 = 256;
/// The most records of one guild's members.
const MOST_BLOCKS: u32 = 4096;
/// The channel of a connected user when the record names only the user.
const UNKNOWN_CHANNEL: u64 = 1;

/// Number of records for this number of members.
pub(super) fn blocks_for(members: u64) -> u32 {
    let wanted = members.div_ceil(MEMBERS_PER_BLOCK).max(1);
    u32::try_from(wanted).unwrap_or(MOST_BLOCKS).min(MOST_BLOCKS).next_power_of_two()
}

/// The number of the record that holds a member.
fn block_of(user: u64, blocks: u32) -> u32 {
    // The low 22 bits of an id are not evenly distributed; the rest is a time, which spreads well enough.
    ((user >> 22) % u64::from(blocks.max(1))) as u32
}

/// The names of all records that a guild can have.
pub(super) fn keys(guild: u64, blocks: u32) -> impl Iterator<Item = RecordKey> {
    let single = [
        RecordKey::Core(guild),
        RecordKey::Channels(guild),
        RecordKey::Roles(guild),
        RecordKey::Extras(guild),
    ];
    single.into_iter().chain((0..blocks).map(move |block| RecordKey::Members(guild, block)))
}

/// The contents of a guild's records at one moment. Their texts are unpacked, joined and compressed without the cache's lock.
#[derive(Debug)]
pub(super) struct Lists {
    guild: u64,
    format: u16,
    gone: Vec<RecordKey>,
    /// `None` when the guild has no records any more. The core has the stamp, so it is written with every other record.
    core: Option<GuildCore>,
    voice_states: Option<Objects>,
    /// Channels and threads.
    channels: Option<[Objects; 2]>,
    roles: Option<Objects>,
    extras: Option<String>,
    members: Option<Objects>,
    members_stamp: u64,
    /// Number of records of members.
    blocks: u32,
}

/// Collects the contents of a guild's records that hold `changed` blocks. `blocks`: number of records of its members.
pub(super) fn collect(
    cache: &ShardCache,
    guild: u64,
    changed: &BTreeSet<guild_cache::RecordKey>,
    blocks: u32,
    form: WrittenAs,
) -> Lists {
    let mut lists = Lists {
        guild,
        format: form.format,
        gone: Vec::new(),
        core: None,
        voice_states: None,
        channels: None,
        roles: None,
        extras: None,
        members: None,
        members_stamp: cache.members_stamp(guild),
        blocks,
    };
    if changed.is_empty() {
        return lists;
    }
    // A guild that is still to come is named in the head.
    let Some(known) = cache.guild(guild).filter(|known| !known.is_pending) else {
        lists.gone.extend(keys(guild, blocks));
        return lists;
    };
    let has = |kinds: &[Kind]| form.moves || changed.iter().any(|key| kinds.contains(&key.kind));
    let objects = |kind| cache.objects(guild, kind);
    let keeps_voice = cache.rules().resources.has(Resources::VOICE_STATES);
    lists.voice_states = keeps_voice.then(|| objects(Kind::Voice));
    lists.channels =
        has(&[Kind::Channels, Kind::Threads]).then(|| [Kind::Channels, Kind::Threads].map(objects));
    lists.roles = has(&[Kind::Roles]).then(|| objects(Kind::Roles));
    lists.extras = has(&[Kind::Extras]).then(|| cache.extras(guild).unwrap_or_default());
    lists.members = has(&[Kind::Members]).then(|| objects(Kind::Members));
    lists.core = Some(GuildCore {
        stamp: cache.stamp(guild),
        members: known.members,
        channels: known.channels,
        in_voice: cache.connected(guild).iter().map(|(user, _)| *user).collect(),
        unavailable: known.is_unavailable,
        object: cache.guild_fields(guild).map(|fields| Bytes::from(readable(&fields).into_owned())),
        voice_states: Bytes::new(),
        member_blocks: if known.members.is_some() { blocks } else { 0 },
        doubt: known.doubt.bits(),
    });
    lists
}

impl Lists {
    /// Encodes the records.
    pub(super) fn encode(self) -> Result<GuildRecords, FormatError> {
        let Self { guild, format, gone, core, voice_states, channels, roles, extras: lists, members, .. } =
            self;
        let mut records = GuildRecords { gone, ..GuildRecords::default() };
        let Some(mut core) = core else { return Ok(records) };
        core.voice_states = voice_states.map(|states| array(&[states])).unwrap_or_default();
        let channels = channels.map(|lists| (RecordKey::Channels(guild), Record::Channels(array(&lists))));
        let roles = roles.map(|list| (RecordKey::Roles(guild), Record::Roles(array(&[list]))));
        let extras = lists.map(|text| (RecordKey::Extras(guild), Record::Extras(extras(&text))));
        let core = Some((RecordKey::Core(guild), Record::Core(core)));
        for (key, record) in [channels, roles, extras, core].into_iter().flatten() {
            records.together.push((key, encode_record(&record, format)?));
        }
        let Some(members) = members else { return Ok(records) };
        let mut lists: HashMap<u32, String> = HashMap::new();
        members.each(|user, text| add(lists.entry(block_of(user, self.blocks)).or_default(), text));
        for block in 0..self.blocks {
            let key = RecordKey::Members(guild, block);
            let Some(list) = lists.remove(&block) else {
                records.gone.push(key);
                continue;
            };
            let record =
                Record::Members(Members { stamp: self.members_stamp, list: Bytes::from(list + "]") });
            records.members.push((key, encode_record(&record, format)?));
        }
        Ok(records)
    }
}

/// Objects as a JSON array.
fn array(lists: &[Objects]) -> Bytes {
    let mut array = String::new();
    for objects in lists {
        objects.each(|_, text| add(&mut array, text));
    }
    if array.is_empty() { Bytes::from_static(b"[]") } else { Bytes::from(array + "]") }
}

/// Adds an element to an array that has no closing bracket yet.
fn add(list: &mut String, text: &str) {
    list.push(if list.is_empty() { '[' } else { ',' });
    list.push_str(&readable(text));
}

/// An object as older workers can read it: without half a surrogate pair, which they refuse.
fn readable(text: &str) -> Cow<'_, str> {
    outside_text::without_lone_surrogates(text)
}

fn extras(text: &str) -> Extras {
    let text = readable(text);
    let names = ["emojis", "stickers", "stage_instances", "guild_scheduled_events"];
    let lists = read_fields(&text, names).map(|list| Bytes::copy_from_slice(list.unwrap_or("[]").as_bytes()));
    let [emojis, stickers, stage_instances, scheduled_events] = lists;
    Extras { emojis, stickers, stage_instances, scheduled_events }
}

/// The records of one guild that have arrived.
#[derive(Debug, Default)]
pub(super) struct OldGuild {
    core: Option<GuildCore>,
    channels: Bytes,
    roles: Bytes,
    extras: Extras,
    /// By number of the record.
    members: BTreeMap<u32, Bytes>,
    /// The highest stamp of these records.
    members_stamp: u64,
    /// Number of records of members, as far as it is known.
    blocks: u32,
}

impl OldGuild {
    /// Takes a record of the guild, which replaces an older one with its key. Returns any other record.
    pub(super) fn take(&mut self, key: RecordKey, record: Record) -> Option<Record> {
        match (key, record) {
            (_, Record::Core(core)) => {
                self.blocks = self.blocks.max(core.member_blocks.min(MOST_BLOCKS));
                self.core = Some(core);
            }
            (_, Record::Channels(list)) => self.channels = list,
            (_, Record::Roles(list)) => self.roles = list,
            (_, Record::Extras(extras)) => self.extras = extras,
            (RecordKey::Members(_, block), Record::Members(members)) => {
                self.blocks = self.blocks.max(block.saturating_add(1).min(MOST_BLOCKS));
                self.members_stamp = self.members_stamp.max(members.stamp);
                self.members.insert(block, members.list);
            }
            (_, other) => return Some(other),
        }
        None
    }

    /// Removes a record that the sender or store has removed.
    pub(super) fn remove(&mut self, key: RecordKey) {
        match key {
            RecordKey::Core(_) => self.core = None,
            RecordKey::Channels(_) => self.channels = Bytes::new(),
            RecordKey::Roles(_) => self.roles = Bytes::new(),
            RecordKey::Extras(_) => self.extras = Extras::default(),
            RecordKey::Members(_, block) => {
                self.members.remove(&block);
            }
            RecordKey::Pending(..) | RecordKey::Block { .. } => {}
        }
    }

    pub(super) fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The guild as a GUILD_CREATE, and the facts that a GUILD_CREATE does not hold. `Ok(None)` without a core: the writer stopped before
    /// it wrote the core, or the bot left the guild just after the other records were written. `Err`: the records are not JSON.
    pub(super) fn created(&self, guild: u64) -> Result<Option<(String, GuildFacts)>, NotJson> {
        let Some(core) = &self.core else { return Ok(None) };
        let (channels, threads) = split_threads(list(&self.channels)?)?;
        let mut doubt = Doubt::of_bits(core.doubt);
        if channels.is_empty() && core.channels > 0 {
            // The record counts the channels and does not name them.
            doubt = doubt.and(Doubt::COUNTS);
        }
        let object =
            core.object.as_deref().map_or(Ok(""), |object| str::from_utf8(object).map_err(|_| NotJson))?;
        let mut text = match object.trim().strip_suffix('}').map(str::trim_end) {
            Some("{") | None if core.object.is_none() => format!("{{\"id\":\"{guild}\""),
            Some("{") | None => return Err(NotJson),
            Some(fields) => fields.to_owned(),
        };
        let mut voice_states = elements(list(&core.voice_states)?)?.join(",");
        if voice_states.is_empty() {
            let connected = core.in_voice.iter();
            let states: Vec<String> = connected
                .map(|user| format!(r#"{{"user_id":"{user}","channel_id":"{UNKNOWN_CHANNEL}"}}"#))
                .collect();
            voice_states = states.join(",");
        }
        let members: Result<Vec<String>, NotJson> =
            self.members.values().map(|block| Ok(elements(list(block)?)?.join(","))).collect();
        let members: Vec<String> = members?.into_iter().filter(|block| !block.is_empty()).collect();
        let extras = &self.extras;
        for (name, inside) in [
            ("channels", channels),
            ("threads", threads),
            ("roles", elements(list(&self.roles)?)?.join(",")),
            ("emojis", elements(list(&extras.emojis)?)?.join(",")),
            ("stickers", elements(list(&extras.stickers)?)?.join(",")),
            ("stage_instances", elements(list(&extras.stage_instances)?)?.join(",")),
            ("guild_scheduled_events", elements(list(&extras.scheduled_events)?)?.join(",")),
            ("voice_states", voice_states),
            ("members", members.join(",")),
        ] {
            text.extend([",\"", name, "\":[", &inside, "]"]);
        }
        text.push('}');
        let facts = GuildFacts {
            stamp: core.stamp,
            members_stamp: self.members_stamp,
            members: core.members,
            is_unavailable: core.unavailable,
            doubt: doubt.bits(),
        };
        Ok(Some((text, facts)))
    }
}

/// A record that is not JSON, or not a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson;

/// A list as text; a list that was not kept is empty.
fn list(bytes: &Bytes) -> Result<&str, NotJson> {
    if bytes.is_empty() { Ok("[]") } else { str::from_utf8(bytes).map_err(|_| NotJson) }
}

fn elements(list: &str) -> Result<Vec<&str>, NotJson> {
    read_elements(list).ok_or(NotJson)
}

/// Splits the list of a record into channels and threads. Each result is the elements with commas between them.
fn split_threads(list: &str) -> Result<(String, String), NotJson> {
    let is_thread = |channel: &&str| matches!(read_fields(channel, ["type"])[0], Some("10" | "11" | "12"));
    let (threads, channels): (Vec<&str>, Vec<&str>) = elements(list)?.into_iter().partition(is_thread);
    Ok((channels.join(","), threads.join(",")))
}

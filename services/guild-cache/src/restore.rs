//! Makes a cache from records: of a checkpoint, or of a copy while the other worker still runs the shard. Records may come in any order and
//! more than once.
//!
//! The store is not trusted. A record's bounds, checksum, size, JSON and ids are checked before it is kept. Then its frame becomes the block,
//! unchanged.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    block::Block,
    cache::{SessionGuilds, ShardCache},
    codec::Codec,
    doubt::{Losses, ShardDoubt},
    event::{GuildText, element},
    guild::{Guild, channel_of, keeps_extras, kept_extras},
    key::{Kind, RecordKey},
    list::List,
    object,
    record::{Facts, Record, RecordError},
    rules::{MOST_PENDING, Rules, largest_list, most},
    scan::Scan,
};

mod overlaps;

use overlaps::without_overlaps;

/// See the module's documentation.
#[derive(Debug)]
pub struct Restoring {
    rules: Rules,
    codec: Arc<Codec>,
    guilds: BTreeMap<u64, Parts>,
}

/// The head of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The session's ordinal.
    pub session: u64,
    /// The guilds that are still to come.
    pub expecting: Vec<u64>,
    /// What is in doubt about the shard.
    pub doubt: Option<ShardDoubt>,
    /// The text of the bot's own user.
    pub own_user: Option<String>,
}

/// The records of a guild that have arrived.
#[derive(Debug, Default)]
struct Parts {
    core: Option<Core>,
    extras: Option<Block>,
    /// `extras` has only some of the lists in its record, because this worker does not keep the others.
    is_cut: bool,
    pieces: BTreeMap<(Kind, u64), Piece>,
    /// Objects of each list, by [`Kind::place`], and bytes of their texts.
    sizes: [(usize, usize); 6],
}

#[derive(Debug)]
struct Core {
    facts: Facts,
    stamp: u64,
    name: Option<String>,
    block: Block,
}

/// A block with the ids that it may hold.
#[derive(Debug)]
struct Piece {
    high: u64,
    stamp: u64,
    block: Block,
    /// For blocks of voice states: users and their channels.
    voice: Vec<(u64, u64)>,
}

impl Restoring {
    /// Makes a restore without records.
    pub fn new(rules: Rules, codec: Arc<Codec>) -> Self {
        Self { rules, codec, guilds: BTreeMap::new() }
    }

    /// Takes a record, which replaces an older one with this key.
    ///
    /// # Errors
    /// The bytes are not a valid record of this key, or exceed a bound.
    pub fn take(&mut self, key: RecordKey, bytes: &[u8]) -> Result<(), RecordError> {
        let record = Record::decode(bytes)?;
        if record.key != key || key.guild == 0 {
            return Err(RecordError::Misplaced);
        }
        if self.guilds.len() >= MOST_PENDING && !self.guilds.contains_key(&key.guild) {
            return Err(RecordError::TooLarge);
        }
        if key.kind.is_list() {
            let piece = piece(&record, &self.codec)?;
            return self.guilds.entry(key.guild).or_default().put(key.kind, key.low, piece);
        }
        let mut block = Block::from_packed(0, &record.packed());
        let (mut name, mut kept) = (None, None);
        let is_right = block.check(&self.codec, |id, text| {
            let Ok(object) = object::read_all(text, ["id", "name"], &[]) else { return false };
            name = object.found[1].and_then(object::lossy_string);
            kept = Some(text)
                .filter(|text| key.kind == Kind::Extras && !keeps_extras(text, self.rules.resources))
                .map(|text| kept_extras(text, self.rules.resources));
            let is_of_guild =
                key.kind == Kind::Extras || object.found[0].and_then(object::id) == Some(key.guild);
            id == key.guild && is_of_guild && object.lost == 0
        });
        if !is_right || record.count > 1 {
            return Err(RecordError::Damaged("it is not a guild's object"));
        }
        if key.kind == Kind::Extras {
            let parts = self.guilds.entry(key.guild).or_default();
            parts.is_cut = kept.is_some();
            if let Some(kept) = kept {
                block = Block::pack(0, [(key.guild, kept.as_str())].into_iter(), &self.codec);
            }
            parts.extras = Some(block);
            return Ok(());
        }
        let facts = Facts::decode(record.facts)?;
        let core = Core { facts, stamp: record.stamp, name, block };
        self.guilds.entry(key.guild).or_default().core = Some(core);
        Ok(())
    }

    /// Removes a record that the sender or store has removed.
    pub fn remove(&mut self, key: RecordKey) {
        let Some(parts) = self.guilds.get_mut(&key.guild) else { return };
        match key.kind {
            Kind::Core => parts.core = None,
            Kind::Extras => parts.extras = None,
            kind => parts.remove(kind, key.low),
        }
    }

    /// Removes all records of a guild.
    pub fn remove_guild(&mut self, guild: u64) {
        self.guilds.remove(&guild);
    }

    /// Makes the cache.
    pub fn finish(self, head: &Head) -> ShardCache {
        let Self { rules, codec, guilds } = self;
        let mut cache = ShardCache::new(rules, codec);
        let start = SessionGuilds {
            guilds: head.expecting.clone(),
            names_more: false,
            own_user: head.own_user.clone(),
        };
        cache.begin_session(head.session, &start);
        for (id, mut parts) in guilds {
            // Blocks without a core: the writer stopped before it wrote the core, or the bot left the guild just after the blocks were written.
            let Some(core) = parts.core.take() else { continue };
            let mut touched = Vec::new();
            let guild = guild(id, core, parts, &cache, &mut touched);
            cache.restore_guild(guild, touched);
        }
        cache.restore_doubt(head.doubt);
        cache
    }
}

impl Parts {
    /// Takes a block, which replaces an older one with this key.
    fn put(&mut self, kind: Kind, low: u64, piece: Piece) -> Result<(), RecordError> {
        self.remove(kind, low);
        let (count, bytes) = &mut self.sizes[kind.place()];
        let (more, text) = piece.size();
        // Blocks that overlap hold some objects twice.
        if *count + more > most(kind) * 2 || *bytes + text > largest_list(kind) {
            return Err(RecordError::TooLarge);
        }
        *count += more;
        *bytes += text;
        self.pieces.insert((kind, low), piece);
        Ok(())
    }

    fn remove(&mut self, kind: Kind, low: u64) {
        let Some(piece) = self.pieces.remove(&(kind, low)) else { return };
        let (count, bytes) = &mut self.sizes[kind.place()];
        let (fewer, text) = piece.size();
        *count -= fewer;
        *bytes -= text;
    }
}

impl Piece {
    /// The number of objects, and the bytes of their texts.
    fn size(&self) -> (usize, usize) {
        (self.block.count(), self.block.size())
    }
}

/// Checks a record of a list.
fn piece(record: &Record<'_>, codec: &Codec) -> Result<Piece, RecordError> {
    let (kind, low) = (record.key.kind, record.key.low);
    let is_inside = |id: u64| id >= low && (id < record.high || record.high == u64::MAX);
    let (mut last, mut voice) = (0, Vec::new());
    let block = Block::from_packed(low, &record.packed());
    let is_right = block.check(codec, |id, text| {
        let (mut scan, mut losses) = (Scan::new(text), Losses::default());
        let found = element(&mut scan, kind, &mut losses);
        let is_this = found.is_ok_and(|found| found.is_some_and(|(found, _)| found == id));
        if kind == Kind::Voice {
            voice.extend(channel_of(text).map(|channel| (id, channel)));
        }
        let is_next = id > std::mem::replace(&mut last, id);
        is_this && losses.is_empty() && scan.end().is_ok() && is_next && is_inside(id)
    });
    if !is_right || record.count == 0 {
        return Err(RecordError::Damaged("its objects cannot be read, or are not in order"));
    }
    Ok(Piece { high: record.high, stamp: record.stamp, block, voice })
}

/// Makes a guild from its parts. Adds the names of records that must be written again or removed to `touched`.
fn guild(id: u64, core: Core, parts: Parts, cache: &ShardCache, touched: &mut Vec<RecordKey>) -> Guild {
    let (rules, codec) = (cache.rules(), cache.codec());
    let mut guild = Guild::unavailable(id, false);
    let Parts { extras, is_cut, pieces, .. } = parts;
    let Core { facts, stamp, name, block } = core;
    guild.stamp = stamp;
    guild.doubt = facts.doubt;
    guild.members = facts.members;
    guild.is_unavailable = facts.is_unavailable || facts.members.is_none();
    let key = |kind: Kind, low: u64| RecordKey { guild: id, kind, low };
    if facts.members.is_none() {
        touched.extend(pieces.keys().map(|(kind, low)| key(*kind, *low)));
        return guild;
    }
    if rules.keeps(Kind::Core) {
        guild.name = name.map(String::into_boxed_str);
        guild.core = block;
    }
    let kept_lists = Kind::LISTS.into_iter().filter(|kind| rules.keeps(*kind));
    guild.had_lists = facts.had_lists & kept_lists.fold(0, |bits, kind| bits | 1 << kind.place());
    if guild.had_lists != facts.had_lists {
        touched.push(key(Kind::Core, 0));
    }
    if is_cut {
        touched.push(key(Kind::Extras, 0));
    }
    guild.extras = extras.unwrap_or_else(|| Block::empty(0));
    guild.voice = facts.voice;
    let mut channels = facts.channels;
    let mut lists: HashMap<Kind, Vec<(u64, Piece)>> = HashMap::new();
    for ((kind, low), piece) in pieces {
        lists.entry(kind).or_default().push((low, piece));
    }
    for (kind, pieces) in lists {
        let is_kept = rules.keeps(kind);
        let mut lows: Vec<u64> =
            if is_kept { Vec::new() } else { pieces.iter().map(|(low, _)| *low).collect() };
        if kind == Kind::Members {
            let newest = pieces.iter().map(|(_, piece)| piece.stamp).max().unwrap_or(0);
            guild.ahead = if newest > stamp { newest } else { 0 };
        }
        let mut pieces = without_overlaps(pieces, codec, &mut lows);
        touched.extend(lows.into_iter().map(|low| key(kind, low)));
        // Voice states and channels are counted even if only the previous owner kept their texts.
        if kind == Kind::Voice && (is_kept || guild.voice.is_empty()) {
            guild.voice = pieces.iter().flat_map(|(_, piece)| piece.voice.iter().copied()).collect();
        }
        if kind == Kind::Channels && !is_kept && channels.is_empty() {
            channels = pieces.iter().flat_map(|(_, piece)| piece.block.ids()).collect();
        }
        if !is_kept {
            continue;
        }
        if pieces.first().is_some_and(|(low, _)| *low != 0) {
            pieces.insert(0, (0, Piece { high: 0, stamp: 0, block: Block::empty(0), voice: Vec::new() }));
        }
        guild.lists[kind.place()] =
            List::from_blocks(pieces.into_iter().map(|(_, piece)| piece.block).collect());
    }
    if !rules.keeps(Kind::Channels) {
        let ids: Vec<(u64, &str)> = channels.iter().map(|id| (*id, "")).collect();
        guild.lists[Kind::Channels.place()] = List::build(&ids, crate::guild::IDS_PER_BLOCK, codec);
    }
    guild
}

impl Restoring {
    /// Takes a guild that was written in another format. `text`: a GUILD_CREATE made from its records. `facts`: the rest of the records.
    ///
    /// # Errors
    /// The text is not a guild.
    pub fn take_guild_create(&mut self, text: &str, facts: &GuildFacts) -> Result<(), RecordError> {
        let mut losses = Losses::default();
        let read =
            GuildText::read(text, &mut losses).map_err(|_| RecordError::Damaged("it is not a guild"))?;
        let id = read.id;
        // A temporary cache reads the guild and makes its records.
        let mut one =
            ShardCache::new(Rules { notes_changes: false, ..self.rules.clone() }, Arc::clone(&self.codec));
        one.adopt_text(read, facts, losses);
        let records = one.all_records(id);
        for (key, bytes) in records.members.iter().chain(&records.together) {
            self.take(*key, bytes)?;
        }
        let pieces = self.guilds.get_mut(&id).into_iter().flat_map(|parts| &mut parts.pieces);
        for (_, piece) in pieces.filter(|((kind, _), _)| *kind == Kind::Members) {
            piece.stamp = piece.stamp.max(facts.members_stamp);
        }
        Ok(())
    }
}

/// The facts about a guild in records of formats 1 and 2 that a GUILD_CREATE does not hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct GuildFacts {
    /// The sequence of the last event that the guild's records hold.
    pub stamp: u64,
    /// The sequence of the last event that the records of its members hold, which may be newer.
    pub members_stamp: u64,
    /// Number of members, if Discord has sent it.
    pub members: Option<u64>,
    /// The guild had an outage.
    pub is_unavailable: bool,
    /// The [`Doubt`](crate::Doubt) about the guild, as in the record.
    pub doubt: u32,
}

#[cfg(test)]
mod tests;

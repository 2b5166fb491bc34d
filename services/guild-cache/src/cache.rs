//! The cache of one shard: its guilds, the changes that events make, and what is in doubt.

use std::{collections::HashMap, sync::Arc};

use crate::{
    codec::Codec,
    doubt::{Doubt, Losses, Part, ShardDoubt},
    event::{Event, Parsed, guild_of, parse},
    guild::{Edit, Guild},
    key::{Changes, Kind, RecordKey},
    list::Touched,
    messages::{self, Messages},
    object,
    rules::{LATE_EVENTS, MOST_PENDING, Resources, Rules},
    scan::Scan,
    users::Users,
};

mod answers;
mod checkpoint;
mod figures;
mod restored;
mod session;

pub use answers::{GuildInfo, Objects, only_fields, read_elements, read_fields, read_string};
pub use checkpoint::GuildRecords;
pub use figures::Figures;
pub use session::SessionGuilds;

/// When a shard has more open text than this, all of it is compressed at once.
const MOST_OPEN: usize = 8 * 1024 * 1024;
/// The most guilds that are remembered after the bot has left them.
const MOST_LEFT: usize = 10_000;

/// See the module's documentation.
#[derive(Debug)]
pub struct ShardCache {
    rules: Rules,
    codec: Arc<Codec>,
    session: u64,
    /// The sequence of the last event of the session that the cache was given.
    sequence: u64,
    /// The slot of each guild.
    guilds: HashMap<u64, u32>,
    slots: Vec<Option<Box<Guild>>>,
    free: Vec<u32>,
    /// Slots of guilds with open blocks.
    open: Vec<u32>,
    /// Approximate bytes of open text.
    open_bytes: usize,
    users: Users,
    figures: Figures,
    messages: Messages,
    own_user: Option<Box<str>>,
    doubt: Option<ShardDoubt>,
    /// Guilds that the bot has left, with the sequence of the event that said so.
    left: HashMap<u64, u64>,
    changes: Changes,
}

/// The result of applying an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The event's guild.
    pub guild: Option<u64>,
    /// The cache uses events of this name.
    pub is_used: bool,
    /// The event could not be read. If [`is_structural`] says so, its guild or the whole shard is in doubt.
    pub is_unreadable: bool,
    /// Parts of the event that were left out.
    pub losses: Losses,
}

impl ShardCache {
    /// An empty cache.
    pub fn new(rules: Rules, codec: Arc<Codec>) -> Self {
        let changes = Changes { is_off: !rules.notes_changes, ..Changes::default() };
        Self {
            rules,
            codec,
            session: 0,
            sequence: 0,
            guilds: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            open: Vec::new(),
            open_bytes: 0,
            users: Users::default(),
            figures: Figures::default(),
            messages: Messages::default(),
            own_user: None,
            doubt: None,
            left: HashMap::new(),
            changes,
        }
    }

    /// What is kept.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Applies an event of the session. `data`: the text of its field `d`. An event that was already in the records from which this cache
    /// was restored changes nothing. READY goes to [`ShardCache::begin_session`] instead.
    pub fn apply(&mut self, name: &str, data: &str, sequence: u64) -> Applied {
        let parsed = match parse(name, data, self.rules.resources) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Applied::default(),
            Err(_) => {
                let guild = guild_of(name, data);
                if is_structural(name) {
                    self.doubt_event(guild);
                }
                let mut losses = Losses::default();
                losses.add(Part::Event, 1);
                return Applied { guild, is_used: true, is_unreadable: true, losses };
            }
        };
        self.sequence = sequence;
        let Parsed { guild, event, mut losses } = parsed;
        self.apply_parsed(guild, event, &mut losses);
        if self.open_bytes + self.messages.open_bytes() > MOST_OPEN {
            self.seal_all();
        }
        Applied { guild, is_used: true, is_unreadable: false, losses }
    }

    fn apply_parsed(&mut self, guild: Option<u64>, event: Event<'_>, losses: &mut Losses) {
        let Some(guild) = guild else {
            match event {
                Event::OwnUser(text) => self.set_own_user(text),
                event => self.apply_message(0, event),
            }
            return;
        };
        if self.guild_ref(guild).is_some_and(|known| self.sequence <= known.stamp)
            || self.left.get(&guild).is_some_and(|left| self.sequence <= *left)
        {
            return;
        }
        match event {
            Event::Left => self.guild_left(guild),
            Event::Came(_) | Event::Outage => {
                let slot = self.slot_for(guild);
                self.edit(slot, losses, |edit| edit.apply(event));
            }
            // Events of pending guilds and of guilds that the bot has left change nothing: a GUILD_CREATE will bring everything.
            _ if self.guild_ref(guild).is_none_or(|known| known.members.is_none()) => self.expect(guild),
            Event::Message { .. }
            | Event::MessageUpdate { .. }
            | Event::MessagesGone { .. }
            | Event::Reaction { .. } => self.apply_message(guild, event),
            event => {
                let slot = self.guilds[&guild];
                self.edit(slot, losses, |edit| edit.apply(event));
            }
        }
    }

    fn apply_message(&mut self, guild: u64, event: Event<'_>) {
        let Self { messages, rules, codec, own_user, .. } = self;
        match event {
            Event::Message { channel, element: (id, text) } => {
                messages.put(guild, channel, id, &text, rules, codec);
            }
            Event::MessageUpdate { channel, id, patch } => {
                messages.update(channel, id, codec, |old| object::merge(old, &patch));
            }
            Event::MessagesGone { channel, ids } => messages.remove(channel, &ids, codec),
            Event::Reaction { channel, message, reaction } => {
                let own = own_user.as_ref().and_then(|user| object::field(user, "id")).and_then(object::id);
                messages.update(channel, message, codec, |old| messages::react(old, &reaction, own));
            }
            _ => {}
        }
    }

    /// Compresses open blocks, and removes messages that are too old. Must be called about once a second.
    pub fn seal(&mut self, now_unix_ms: u64) {
        self.seal_all();
        self.messages.seal(now_unix_ms, &self.rules, &self.codec);
        self.users.shrink();
    }

    /// How many times [`ShardCache::seal_next`] must be called to compress everything that is open.
    pub fn open_parts(&self) -> usize {
        self.open.len() + self.messages.open_blocks()
    }

    /// Compresses the open blocks of one guild, or one block of messages. A caller can release its lock between two calls. False when
    /// nothing is open.
    pub fn seal_next(&mut self) -> bool {
        let Some(slot) = self.open.pop() else {
            self.open_bytes = 0;
            return self.messages.seal_next(&self.codec);
        };
        self.edit(slot, &mut Losses::default(), |edit| {
            edit.seal();
        });
        true
    }

    fn seal_all(&mut self) {
        while self.seal_next() {}
    }

    /// Changes a guild and updates the figures.
    fn edit(&mut self, slot: u32, losses: &mut Losses, with: impl FnOnce(&mut Edit<'_>)) {
        let Some(guild) = self.slots[slot as usize].as_deref_mut() else { return };
        let (before, was_open, open_before) = (guild.figures(), guild.is_open(), guild.open_bytes());
        let mut edit = Edit {
            guild,
            slot,
            sequence: self.sequence,
            codec: &self.codec,
            rules: &self.rules,
            users: &mut self.users,
            own_user: self.own_user.as_deref(),
            messages: &mut self.messages,
            changes: &mut self.changes,
            losses,
            touched: Touched::default(),
            has_changed: false,
        };
        with(&mut edit);
        // Together, after what may panic.
        self.figures.subtract(before);
        self.figures.add(guild.figures());
        if guild.is_open() && !was_open {
            self.open.push(slot);
        }
        self.open_bytes += guild.open_bytes().saturating_sub(open_before);
    }

    pub(crate) fn guild_ref(&self, guild: u64) -> Option<&Guild> {
        self.slots[*self.guilds.get(&guild)? as usize].as_deref()
    }

    /// The guild's slot. A guild that is not known is added, unavailable until its GUILD_CREATE comes.
    fn slot_for(&mut self, guild: u64) -> u32 {
        if let Some(slot) = self.guilds.get(&guild) {
            return *slot;
        }
        self.left.remove(&guild);
        self.insert(Guild::unavailable(guild, false))
    }

    fn insert(&mut self, guild: Guild) -> u32 {
        self.figures.add(guild.figures());
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.guilds.insert(guild.id, slot);
        self.slots[slot as usize] = Some(Box::new(guild));
        slot
    }

    fn guild_left(&mut self, guild: u64) {
        if let Some(slot) = self.guilds.remove(&guild) {
            self.edit_slot_away(slot);
            self.messages.guild_gone(guild);
        }
        // Guilds that are not known are remembered too, because a guild's records may have been removed before this event was replayed.
        if self.left.len() >= MOST_LEFT {
            let oldest = self.sequence.saturating_sub(LATE_EVENTS);
            self.left.retain(|_, left| *left > oldest);
        }
        if self.left.len() < MOST_LEFT {
            self.left.insert(guild, self.sequence);
        }
    }

    /// Removes the guild in a slot, with its users and records.
    fn edit_slot_away(&mut self, slot: u32) {
        self.edit(slot, &mut Losses::default(), |edit| {
            edit.forget_users();
        });
        if let Some(guild) = self.slots[slot as usize].take() {
            self.figures.subtract(guild.figures());
            guild.keys().into_iter().for_each(|key| self.changes.note(key));
        }
        self.free.push(slot);
    }

    /// Adds a pending guild that READY did not name but that has events.
    fn expect(&mut self, guild: u64) {
        let has_just_left =
            self.left.get(&guild).is_some_and(|left| self.sequence < left.saturating_add(LATE_EVENTS));
        if self.guilds.contains_key(&guild) || has_just_left {
            return;
        }
        if (self.figures.pending as usize) < MOST_PENDING {
            self.insert(Guild::unavailable(guild, true));
        } else {
            self.doubt = Some(ShardDoubt::Event);
        }
    }

    /// Notes that an event could not be read: its guild is in doubt, or the whole shard if the guild is unknown.
    pub fn doubt_event(&mut self, guild: Option<u64>) {
        match guild.map(|guild| (guild, self.guilds.get(&guild).copied())) {
            Some((_, Some(slot))) => self.doubt_guild(slot),
            Some((guild, None)) => self.expect(guild),
            None => self.doubt = Some(ShardDoubt::Event),
        }
    }

    fn doubt_guild(&mut self, slot: u32) {
        self.edit(slot, &mut Losses::default(), |edit| {
            edit.guild.doubt = Doubt::GUILD;
            edit.changes.note(RecordKey { guild: edit.guild.id, kind: Kind::Core, low: 0 });
        });
    }

    /// Notes that events of the session are missing: everything is in doubt until the next session.
    pub fn doubt_everything(&mut self) {
        let slots: Vec<u32> = self.guilds.values().copied().collect();
        for slot in slots {
            self.doubt_guild(slot);
        }
        self.doubt = Some(ShardDoubt::Events);
    }

    /// Notes that `guild` had an event that the cache does not use.
    pub fn note_guild(&mut self, guild: u64, sequence: u64) {
        self.sequence = sequence;
        self.expect(guild);
    }

    fn set_own_user(&mut self, text: &str) {
        // Both USER_UPDATE and READY have the whole user.
        self.own_user = Some(text.into());
        self.changes.note_own_user();
    }
}

/// Whether an unreadable event of this name leaves its guild in doubt.
pub fn is_structural(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["CHANNEL_", "THREAD_", "GUILD_ROLE_", "GUILD_MEMBER", "VOICE_STATE_"];
    const NAMES: [&str; 5] =
        ["GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE", "GUILD_EMOJIS_UPDATE", "GUILD_STICKERS_UPDATE"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests;

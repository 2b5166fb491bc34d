//! One guild: the fields that counts and lookups need, and the blocks of its objects.
//!
//! [`Edit`] changes a guild and notes the records that change with it.

use crate::{
    block::Block,
    codec::Codec,
    doubt::Doubt,
    key::{Kind, RecordKey},
    list::List,
    moves::Moves,
    object::{all_fields, close, is_key, push_field, with_field},
};

mod edit;
mod extras;
mod members;

pub(crate) use edit::{Edit, IDS_PER_BLOCK, channel_of};
pub(crate) use extras::{keeps_extras, kept_extras};

/// When a guild has more open text than this, all of it is compressed at once.
const MOST_OPEN: usize = 64 * 1024;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Guild {
    pub(crate) id: u64,
    pub(crate) name: Option<Box<str>>,
    /// `None` when the guild has been unavailable since READY.
    pub(crate) members: Option<u64>,
    /// Sequence of the last event that changed the guild.
    pub(crate) stamp: u64,
    /// The cached members, but not their number, include everything up to this sequence. 0 unless a restore found newer records of members.
    pub(crate) ahead: u64,
    pub(crate) doubt: Doubt,
    pub(crate) is_unavailable: bool,
    /// The guild's GUILD_CREATE has not come yet, nor a notice of an outage.
    pub(crate) is_pending: bool,
    /// Which of [`Kind::LISTS`] its GUILD_CREATE had: one bit for each [`Kind::place`].
    pub(crate) had_lists: u8,
    pub(crate) core: Block,
    pub(crate) extras: Block,
    /// By [`Kind::place`].
    pub(crate) lists: [List; 6],
    /// The voice channels of connected users, by user.
    pub(crate) voice: Vec<(u64, u64)>,
    moves: Option<Box<Moves>>,
    /// Open blocks.
    open: Vec<(Kind, u64)>,
    /// Approximate bytes of open text.
    open_bytes: usize,
}

/// The part of one guild in the shard's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GuildFigures {
    pub(crate) members: u64,
    pub(crate) cached_members: u64,
    pub(crate) channels: u32,
    pub(crate) voice: u32,
    pub(crate) is_uncertain: bool,
    pub(crate) is_unknown: bool,
    pub(crate) is_pending: bool,
    pub(crate) lacks_members: bool,
}

impl Guild {
    /// A guild of which only the id is known.
    pub(crate) fn unavailable(id: u64, is_pending: bool) -> Self {
        Self {
            id,
            name: None,
            members: None,
            stamp: 0,
            ahead: 0,
            doubt: Doubt::NONE,
            is_unavailable: true,
            is_pending,
            had_lists: 0,
            core: Block::empty(0),
            extras: Block::empty(0),
            lists: Default::default(),
            voice: Vec::new(),
            moves: None,
            open: Vec::new(),
            open_bytes: 0,
        }
    }

    pub(crate) fn list(&self, kind: Kind) -> &List {
        &self.lists[kind.place()]
    }

    /// The sequence of the last event that the cached members include.
    pub(crate) fn members_stamp(&self) -> u64 {
        self.stamp.max(self.ahead)
    }

    /// Approximate bytes of open text.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Whether a block is open.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(crate) fn figures(&self) -> GuildFigures {
        GuildFigures {
            members: self.members.unwrap_or(0),
            cached_members: self.list(Kind::Members).len() as u64,
            channels: self.list(Kind::Channels).len() as u32,
            voice: self.voice.len() as u32,
            is_uncertain: self.members.is_none() || self.doubt.has(Doubt::COUNTS),
            is_unknown: self.members.is_none(),
            is_pending: self.is_pending,
            lacks_members: self.doubt.has(Doubt::MEMBERS),
        }
    }

    /// The guild's own fields and the lists of a guild object: roles, emojis and stickers.
    pub(crate) fn object(&self, codec: &Codec) -> Option<String> {
        self.text(codec, &[Kind::Roles], |extra| matches!(extra, "emojis" | "stickers"))
    }

    /// The guild's own fields, without its lists.
    pub(crate) fn fields(&self, codec: &Codec) -> Option<String> {
        self.text(codec, &[], |_| false)
    }

    /// The guild's current state as the data of a GUILD_CREATE.
    pub(crate) fn create(&self, codec: &Codec) -> Option<String> {
        self.text(codec, &Kind::LISTS, |_| true)
    }

    /// The guild's own fields as they are now, and the wanted lists.
    fn text(&self, codec: &Codec, kinds: &[Kind], wants_extra: impl Fn(&str) -> bool) -> Option<String> {
        let core = self.core.get(self.id, codec)?;
        let extras = self.extras.get(self.id, codec).unwrap_or_default();
        let members = self.members.map(|members| members.to_string());
        let mut more: Vec<(&str, &str)> =
            members.iter().map(|members| ("member_count", members.as_str())).collect();
        if self.is_unavailable {
            more.push(("unavailable", "true"));
        }
        let lists: Vec<(&str, String)> =
            kinds.iter().filter_map(|kind| Some((kind.list_name(), self.list_text(*kind, codec)?))).collect();
        more.extend(lists.iter().map(|(name, list)| (*name, list.as_str())));
        more.extend(all_fields(&extras).into_iter().filter(|(name, _)| wants_extra(name)));
        let mut text = String::with_capacity(
            core.len() + more.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>(),
        );
        // The core can have a field of the same name, if an earlier value was not a list.
        let is_own = |key: &str| !more.iter().any(|(name, _)| is_key(key, name));
        for (key, value) in
            all_fields(&core).into_iter().filter(|(key, _)| is_own(key)).chain(more.iter().copied())
        {
            push_field(&mut text, key, value);
        }
        Some(close(text))
    }

    /// A list as JSON; `None` when it is empty and the GUILD_CREATE did not have it.
    fn list_text(&self, kind: Kind, codec: &Codec) -> Option<String> {
        let mut text = String::new();
        self.list(kind).each(codec, |_, element| {
            text.push(if text.is_empty() { '[' } else { ',' });
            text.push_str(element);
        });
        let had = self.had_lists & (1 << kind.place()) != 0;
        match (text.is_empty(), had) {
            (true, true) => Some("[]".to_owned()),
            (true, false) => None,
            (false, _) => {
                text.push(']');
                Some(text)
            }
        }
    }

    /// The names of all records of the guild.
    pub(crate) fn keys(&self) -> Vec<RecordKey> {
        let guild = self.id;
        let mut keys = vec![
            RecordKey { guild, kind: Kind::Core, low: 0 },
            RecordKey { guild, kind: Kind::Extras, low: 0 },
        ];
        for kind in Kind::LISTS.into_iter().filter(|kind| *kind != Kind::Presences) {
            keys.extend(self.list(kind).lows().map(|low| RecordKey { guild, kind, low }));
        }
        keys
    }

    /// Bytes of the guild, without the allocator's overhead and without its part of the index of users.
    pub(crate) fn memory(&self) -> usize {
        let lists: usize = self.lists.iter().map(List::memory).sum();
        size_of::<Self>()
            + self.name.as_ref().map_or(0, |name| name.len())
            + self.core.memory()
            + self.extras.memory()
            + lists
            + self.voice.capacity() * size_of::<(u64, u64)>()
            + self.moves.as_ref().map_or(0, |moves| moves.memory())
            + self.open.capacity() * size_of::<(Kind, u64)>()
    }
}

impl Edit<'_> {
    /// Compresses the open blocks, and frees memory that is no longer used.
    pub(crate) fn seal(&mut self) {
        self.guild.open_bytes = 0;
        for (kind, low) in std::mem::take(&mut self.guild.open) {
            match kind {
                Kind::Core => self.guild.core.seal(self.codec),
                Kind::Extras => self.guild.extras.seal(self.codec),
                _ => {
                    let per_block = self.per_block(kind);
                    self.guild.lists[kind.place()].seal(low, per_block, self.codec, &mut self.touched);
                    self.note_touched(kind);
                }
            }
        }
        if self.guild.voice.capacity() > self.guild.voice.len() + 8 {
            self.guild.voice.shrink_to_fit();
        }
        self.guild.open = Vec::new();
        self.guild.open_bytes = 0;
    }
}

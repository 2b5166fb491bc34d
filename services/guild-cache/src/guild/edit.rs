//! Changes to one guild. Each change notes the records that it affects.

use super::{Block, Codec, Doubt, Guild, Kind, List, MOST_OPEN, RecordKey, with_field};
use crate::{
    doubt::{Losses, Part},
    event::{Element, Event, GuildText},
    key::Changes,
    list::Touched,
    messages::Messages,
    object,
    rules::{LARGEST_OBJECT, Rules, most},
    users::Users,
};

/// Ids without text in a full block.
pub(crate) const IDS_PER_BLOCK: usize = 128;

/// Fields of channels that Discord sends in separate events and not with CHANNEL_UPDATE.
const SENT_APART: [&str; 2] = ["status", "voice_start_time"];

/// A guild that is being changed.
pub(crate) struct Edit<'a> {
    pub(crate) guild: &'a mut Guild,
    pub(crate) slot: u32,
    pub(crate) sequence: u64,
    pub(crate) codec: &'a Codec,
    pub(crate) rules: &'a Rules,
    pub(crate) users: &'a mut Users,
    pub(crate) own_user: Option<&'a str>,
    pub(crate) messages: &'a mut Messages,
    pub(crate) changes: &'a mut Changes,
    pub(crate) losses: &'a mut Losses,
    pub(crate) touched: Touched,
    pub(crate) has_changed: bool,
}

impl Edit<'_> {
    /// Applies an event to the guild.
    pub(crate) fn apply(&mut self, event: Event<'_>) {
        match event {
            Event::Came(text) => self.came(*text),
            Event::Updated(text) => self.updated(*text),
            Event::Outage => {
                self.guild.is_unavailable = true;
                self.guild.is_pending = false;
                self.note(Kind::Core, 0);
            }
            Event::Put { kind, element: (id, text) } => {
                self.put(kind, id, &text);
            }
            Event::PutChannel { element: (id, text) } => self.put_channel(id, &text),
            Event::Merge { kind, element: (id, patch), adds } => {
                if !self.update(kind, id, |old| object::merge(old, &patch)) && adds {
                    self.put(kind, id, &patch);
                }
            }
            Event::Set { kinds, id, field, value } => {
                let set = |old: &str| match &value {
                    Some(value) => with_field(old, field, value),
                    None => object::without_field(old, field),
                };
                // An id is in at most one list.
                let _ = kinds.iter().any(|kind| self.update(*kind, id, set));
            }
            Event::Remove { kind: Kind::Members, id } => self.left(id),
            Event::Remove { kind, id } => {
                self.remove(kind, id);
                if kind == Kind::Channels {
                    self.channel_gone(id);
                }
            }
            Event::Threads { parents, threads } => self.sync_threads(parents.as_deref(), &threads),
            Event::ThreadMembers { thread, count, added, removed } => {
                self.change_thread_members(thread, count, &added, &removed);
            }
            Event::Joined { element: (id, text) } => self.joined(id, &text),
            Event::Chunk { members, presences } => {
                for (id, text) in &members {
                    self.put_member(*id, text);
                }
                for (id, text) in &presences {
                    self.put(Kind::Presences, *id, text);
                }
            }
            Event::Voice { user, channel, text, member } => {
                self.set_voice(user, channel, &text);
                // Discord sends this event also for a user who has left the guild, after GUILD_MEMBER_REMOVE. It must not add the member again.
                if let Some((id, text)) = member
                    && (channel.is_some() || self.guild.list(Kind::Members).contains(id))
                {
                    self.put_member(id, &text);
                }
            }
            Event::Extra { list, value } => self.edit_extras(|extras| Some(with_field(extras, list, value))),
            Event::PutExtra { list, element: (id, text) } => self.put_extra(list, id, &text),
            Event::RemoveExtra { list, id } => self.remove_extra(list, id),
            Event::Follows { event, adds } => self.follow(event, adds),
            Event::Left
            | Event::Message { .. }
            | Event::MessageUpdate { .. }
            | Event::MessagesGone { .. }
            | Event::Reaction { .. }
            | Event::OwnUser(_) => {}
        }
        if self.guild.open_bytes > MOST_OPEN {
            self.seal();
        }
        let doubt = self.guild.doubt.and(self.losses.doubt());
        if doubt != self.guild.doubt {
            self.guild.doubt = doubt;
            self.note(Kind::Core, 0);
        }
        if self.has_changed {
            self.guild.stamp = self.sequence;
        }
    }

    fn came(&mut self, text: GuildText<'_>) {
        self.guild.keys().into_iter().for_each(|key| self.changes.note(key));
        self.forget_users();
        let codec = self.codec;
        let id = text.id;
        let single = |text: &str, is_kept: bool| {
            if is_kept { Block::pack(0, [(id, text)].into_iter(), codec) } else { Block::empty(0) }
        };
        let mut guild = Guild::unavailable(id, false);
        guild.is_unavailable = false;
        guild.name = text.name.filter(|_| self.rules.keeps(Kind::Core)).map(String::into_boxed_str);
        guild.core = single(&text.core, self.rules.keeps(Kind::Core));
        guild.extras = single(&self.kept_extras(&text.extras), true);
        let listed = text.lists[Kind::Members.place()].as_ref().map_or(0, Vec::len);
        for (kind, list) in Kind::LISTS.into_iter().zip(text.lists) {
            let Some(list) = list else { continue };
            guild.had_lists |= u8::from(self.rules.keeps(kind)) << kind.place();
            if kind == Kind::Voice {
                guild.voice =
                    list.iter().filter_map(|(user, text)| Some((*user, channel_of(text)?))).collect();
            }
            if self.holds(kind) {
                let text_of = |text| if self.rules.keeps(kind) { text } else { "" };
                let entries: Vec<(u64, &str)> =
                    list.iter().map(|(id, text)| (*id, text_of(&**text))).collect();
                guild.lists[kind.place()] = List::build(&entries, self.per_block(kind), codec);
            }
        }
        guild.members = Some(text.member_count.unwrap_or(listed as u64));
        guild.doubt = if text.member_count.is_none() { Doubt::COUNTS } else { Doubt::NONE };
        *self.guild = guild;
        self.index_users();
        self.guild.keys().into_iter().for_each(|key| self.changes.note(key));
        self.has_changed = true;
    }

    fn updated(&mut self, mut text: GuildText<'_>) {
        if self.rules.keeps(Kind::Core) {
            if let Some(name) = text.name.take() {
                self.guild.name = Some(name.into_boxed_str());
            }
            self.edit_single(Kind::Core, |core| Some(object::merge(core, &text.core)));
        }
        let extras = self.kept_extras(&text.extras);
        if extras != "{}" {
            self.edit_extras(|old| Some(object::merge(old, &extras)));
        }
        if let Some(roles) = text.lists[Kind::Roles.place()].take().filter(|_| self.rules.keeps(Kind::Roles))
        {
            let keys = self.guild.keys().into_iter().filter(|key| key.kind == Kind::Roles);
            keys.for_each(|key| self.changes.note(key));
            let entries: Vec<(u64, &str)> = roles.iter().map(|(id, text)| (*id, &**text)).collect();
            let list = List::build(&entries, self.per_block(Kind::Roles), self.codec);
            list.lows().for_each(|low| {
                self.changes.note(RecordKey { guild: self.guild.id, kind: Kind::Roles, low });
            });
            self.guild.lists[Kind::Roles.place()] = list;
            self.has_changed = true;
        }
    }

    /// Whether ids of a kind are held, with or without text.
    fn holds(&self, kind: Kind) -> bool {
        kind == Kind::Channels || self.rules.keeps(kind)
    }

    pub(super) fn per_block(&self, kind: Kind) -> usize {
        if self.rules.keeps(kind) { kind.per_block() } else { IDS_PER_BLOCK }
    }

    /// Adds or replaces an object. Returns whether it is new.
    pub(super) fn put(&mut self, kind: Kind, id: u64, text: &str) -> bool {
        if !self.holds(kind) {
            return false;
        }
        let list = &mut self.guild.lists[kind.place()];
        if list.len() >= most(kind) && !list.contains(id) {
            self.losses.add(kind.part(), 1);
            return false;
        }
        let (keeps, per_block) = (self.rules.keeps(kind), self.per_block(kind));
        let list = &mut self.guild.lists[kind.place()];
        if !keeps && list.contains(id) {
            return false;
        }
        let text = if keeps { text } else { "" };
        let is_new = list.put(id, text, per_block, self.codec, &mut self.touched);
        self.note_touched(kind);
        is_new
    }

    fn update(&mut self, kind: Kind, id: u64, with: impl FnOnce(&str) -> String) -> bool {
        let per_block = self.per_block(kind);
        let list = &mut self.guild.lists[kind.place()];
        let mut is_too_large = false;
        let found = list.update(id, per_block, self.codec, &mut self.touched, |old| {
            let new = Some(with(old)).filter(|new| new.len() <= LARGEST_OBJECT);
            is_too_large = new.is_none();
            new
        });
        self.losses.add(kind.part(), usize::from(is_too_large));
        self.note_touched(kind);
        found
    }

    /// Removes an object. Also removes the messages of a channel or thread.
    pub(super) fn remove(&mut self, kind: Kind, id: u64) -> bool {
        if matches!(kind, Kind::Channels | Kind::Threads) {
            self.messages.channel_gone(id);
        }
        let removed = self.guild.lists[kind.place()].remove(id, self.codec, &mut self.touched);
        self.note_touched(kind);
        removed
    }

    fn channel_gone(&mut self, channel: u64) {
        let gone: Vec<u64> =
            self.guild.voice.iter().filter(|(_, of)| *of == channel).map(|(user, _)| *user).collect();
        for user in gone {
            self.set_voice(user, None, "");
        }
        self.remove_threads(|_, parent| parent == Some(channel));
        self.remove_events_of_channel(channel);
    }

    fn put_channel(&mut self, id: u64, text: &str) {
        let with_old_fields = |old: &str| {
            let (old, new) = (object::fields(old, SENT_APART), object::fields(text, SENT_APART));
            let missing = SENT_APART.into_iter().zip(old).zip(new).filter(|(_, new)| new.is_none());
            missing.fold(text.to_owned(), |text, ((name, old), _)| match old {
                Some(value) => object::with_new_field(text, name, value),
                None => text,
            })
        };
        let is_known = self.rules.keeps(Kind::Channels) && self.update(Kind::Channels, id, with_old_fields);
        if !is_known {
            self.put(Kind::Channels, id, text);
        }
    }

    /// Changes a thread's `member_count`, and its `member`, which is the bot's own membership. Other members of threads are not kept.
    fn change_thread_members(
        &mut self,
        thread: u64,
        count: Option<&str>,
        added: &[Element<'_>],
        removed: &[u64],
    ) {
        let own = self.own_user.and_then(|user| object::field(user, "id")).and_then(object::id);
        let added = added.iter().find(|(user, _)| Some(*user) == own);
        let is_removed = own.is_some_and(|own| removed.contains(&own));
        self.update(Kind::Threads, thread, |old| {
            let mut text = old.to_owned();
            if let Some(count) = count {
                text = with_field(&text, "member_count", count);
            }
            match added {
                _ if is_removed => object::without_field(&text, "member"),
                Some((_, member)) => with_field(&text, "member", member),
                None => text,
            }
        });
    }

    fn sync_threads(&mut self, parents: Option<&[u64]>, threads: &[Element<'_>]) {
        self.remove_threads(|thread, parent| {
            let is_named =
                |parents: &[u64]| parent.is_some_and(|parent| parents.binary_search(&parent).is_ok());
            parents.is_none_or(is_named) && threads.binary_search_by_key(&thread, |(id, _)| *id).is_err()
        });
        for (id, text) in threads {
            self.put(Kind::Threads, *id, text);
        }
    }

    /// Removes the threads for whose id and parent `is_meant` returns true.
    fn remove_threads(&mut self, is_meant: impl Fn(u64, Option<u64>) -> bool) {
        let mut gone = Vec::new();
        self.guild.list(Kind::Threads).each(self.codec, |id, text| {
            if is_meant(id, object::field(text, "parent_id").and_then(object::id)) {
                gone.push(id);
            }
        });
        for id in gone {
            self.remove(Kind::Threads, id);
        }
    }

    fn set_voice(&mut self, user: u64, channel: Option<u64>, text: &str) {
        let place = self.guild.voice.binary_search_by_key(&user, |(user, _)| *user);
        match (place, channel) {
            (Ok(place), Some(channel)) => self.guild.voice[place].1 = channel,
            (Ok(place), None) => drop(self.guild.voice.remove(place)),
            (Err(_), Some(_)) if self.guild.voice.len() >= most(Kind::Voice) => {
                self.losses.add(Part::VoiceState, 1);
                return;
            }
            (Err(place), Some(channel)) => {
                self.guild.voice.reserve_exact(1);
                self.guild.voice.insert(place, (user, channel));
            }
            (Err(_), None) => return,
        }
        if channel.is_some() {
            self.put(Kind::Voice, user, text);
        } else {
            self.remove(Kind::Voice, user);
        }
        // Without texts of voice states, the core's record names the connected users.
        if !self.rules.keeps(Kind::Voice) {
            self.note(Kind::Core, 0);
        }
    }

    /// Changes the core or the extras. `with` returns the new text, or `None` to change nothing.
    pub(super) fn edit_single(&mut self, kind: Kind, with: impl FnOnce(&str) -> Option<String>) {
        let id = self.guild.id;
        let block = if kind == Kind::Core { &mut self.guild.core } else { &mut self.guild.extras };
        let Some(old) = block.get(id, self.codec) else { return };
        let Some(new) = with(&old).filter(|new| new.len() <= crate::rules::LARGEST_GUILD * 4) else { return };
        let (open, was_closed) = block.open(self.codec);
        open.put(id, &new);
        if was_closed {
            self.guild.open.push((kind, 0));
            self.guild.open_bytes += new.len();
        }
        self.note(kind, 0);
    }

    pub(super) fn note(&mut self, kind: Kind, low: u64) {
        self.changes.note(RecordKey { guild: self.guild.id, kind, low });
        self.has_changed = true;
    }

    pub(super) fn note_touched(&mut self, kind: Kind) {
        let guild = self.guild.id;
        let Touched { lows, opened, bytes } = &mut self.touched;
        self.has_changed |= !lows.is_empty();
        lows.drain(..).for_each(|low| self.changes.note(RecordKey { guild, kind, low }));
        self.guild.open.extend(opened.drain(..).map(|low| (kind, low)));
        self.guild.open_bytes += std::mem::take(bytes);
    }
}

/// The channel of a voice state.
pub(crate) fn channel_of(state: &str) -> Option<u64> {
    object::field(state, "channel_id").and_then(object::id)
}

//! The newest messages of each channel, up to a number and an age.
//!
//! A message's id says when it was sent. Messages beyond the number or age are removed in whole blocks, so a channel may hold up to one block
//! of further messages. These are not shown.

use std::collections::HashMap;

use crate::{
    codec::Codec,
    event::Reaction,
    list::{List, Touched},
    object::{self, close, elements, field, id, number, push_field, with_field},
    rules::{LARGEST_OBJECT, MOST_MESSAGE_CHANNELS, Rules},
};

/// Messages in a full block.
const PER_BLOCK: usize = 16;
/// The most kinds of reactions to one message; Discord allows 20.
const MOST_REACTIONS: usize = 100;
/// The first second of 2015, from which Discord's ids count
/// ([Snowflakes](https://discord.com/developers/docs/reference#snowflakes)).
const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;

#[derive(Debug, Default)]
pub(crate) struct Messages {
    channels: HashMap<u64, Channel>,
    /// Channels with open blocks.
    open: Vec<(u64, u64)>,
    /// Approximate bytes of open text.
    open_bytes: usize,
    swept_at_ms: u64,
    /// Messages with lower ids are too old.
    oldest: u64,
}

#[derive(Debug, Default)]
struct Channel {
    /// 0 for a channel outside of guilds.
    guild: u64,
    messages: List,
}

impl Messages {
    pub(crate) fn put(
        &mut self,
        guild: u64,
        channel: u64,
        id: u64,
        text: &str,
        rules: &Rules,
        codec: &Codec,
    ) {
        let is_full = self.channels.len() >= MOST_MESSAGE_CHANNELS && !self.channels.contains_key(&channel);
        if is_full || rules.messages_per_channel == 0 {
            return;
        }
        let mut touched = Touched::default();
        let known = self.channels.entry(channel).or_default();
        known.guild = guild;
        known.messages.put(id, text, PER_BLOCK, codec, &mut touched);
        known.messages.keep_newest(rules.messages_per_channel);
        self.note(channel, touched);
    }

    pub(crate) fn update(&mut self, channel: u64, id: u64, codec: &Codec, with: impl FnOnce(&str) -> String) {
        let mut touched = Touched::default();
        if let Some(known) = self.channels.get_mut(&channel) {
            let bounded = |old: &str| Some(with(old)).filter(|new| new.len() <= LARGEST_OBJECT);
            known.messages.update(id, PER_BLOCK, codec, &mut touched, bounded);
        }
        self.note(channel, touched);
    }

    pub(crate) fn remove(&mut self, channel: u64, ids: &[u64], codec: &Codec) {
        let mut touched = Touched::default();
        if let Some(known) = self.channels.get_mut(&channel) {
            for id in ids {
                known.messages.remove(*id, codec, &mut touched);
            }
            if known.messages.len() == 0 {
                self.channels.remove(&channel);
                return;
            }
        }
        self.note(channel, touched);
    }

    pub(crate) fn channel_gone(&mut self, channel: u64) {
        self.channels.remove(&channel);
    }

    pub(crate) fn guild_gone(&mut self, guild: u64) {
        self.channels.retain(|_, channel| channel.guild != guild);
        self.shrink();
    }

    pub(crate) fn get(&self, channel: u64, id: u64, rules: &Rules, codec: &Codec) -> Option<String> {
        let messages = &self.channels.get(&channel)?.messages;
        let is_shown = id >= self.oldest && messages.is_among_newest(id, rules.messages_per_channel);
        if is_shown { messages.get(id, codec) } else { None }
    }

    /// The ids of a channel's messages, oldest first.
    pub(crate) fn ids(&self, channel: u64, rules: &Rules) -> Vec<u64> {
        let mut newest: Vec<u64> =
            self.channels.get(&channel).into_iter().flat_map(|channel| self.shown(channel, rules)).collect();
        newest.reverse();
        newest
    }

    /// The shown ids of a channel, newest first.
    fn shown<'a>(&'a self, channel: &'a Channel, rules: &Rules) -> impl Iterator<Item = u64> + use<'a> {
        let newest = channel.messages.ids().rev().take(rules.messages_per_channel);
        newest.take_while(|id| *id >= self.oldest)
    }

    pub(crate) fn count(&self, rules: &Rules) -> usize {
        self.channels.values().map(|channel| self.shown(channel, rules).count()).sum()
    }

    /// Compresses the open blocks, and removes old messages when a sweep is due.
    pub(crate) fn seal(&mut self, now_ms: u64, rules: &Rules, codec: &Codec) {
        if let Some(lifetime) = rules.message_lifetime_ms
            // The clock may have been set back.
            && now_ms.abs_diff(self.swept_at_ms) >= rules.sweep_interval_ms
        {
            self.swept_at_ms = now_ms;
            let oldest_ms = now_ms.saturating_sub(lifetime).saturating_sub(DISCORD_EPOCH_MS);
            self.oldest = oldest_ms.saturating_mul(1 << 22);
            self.sweep();
        }
        while self.seal_next(codec) {}
    }

    /// Number of open blocks.
    pub(crate) fn open_blocks(&self) -> usize {
        self.open.len()
    }

    /// Approximate bytes of open text.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Compresses one block. False when none is open.
    pub(crate) fn seal_next(&mut self, codec: &Codec) -> bool {
        let Some((channel, low)) = self.open.pop() else {
            self.open = Vec::new();
            self.open_bytes = 0;
            return false;
        };
        if let Some(known) = self.channels.get_mut(&channel) {
            known.messages.seal(low, PER_BLOCK, codec, &mut Touched::default());
        }
        true
    }

    fn sweep(&mut self) {
        self.channels.retain(|_, channel| {
            channel.messages.remove_below(self.oldest);
            channel.messages.len() > 0
        });
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.channels.capacity() / 4 > self.channels.len() {
            self.channels.shrink_to(self.channels.len() * 2);
        }
    }

    fn note(&mut self, channel: u64, touched: Touched) {
        self.open.extend(touched.opened.into_iter().map(|low| (channel, low)));
        self.open_bytes += touched.bytes;
    }

    pub(crate) fn memory(&self) -> usize {
        let lists: usize = self.channels.values().map(|channel| channel.messages.memory()).sum();
        self.channels.capacity() * (size_of::<(u64, Channel)>() + 1) + lists
    }
}

/// A message with its reactions changed. `own_user`: the bot.
pub(crate) fn react(message: &str, reaction: &Reaction<'_>, own_user: Option<u64>) -> String {
    let old = field(message, "reactions").and_then(elements).unwrap_or_default();
    let mut reactions: Vec<String> = old.into_iter().map(str::to_owned).collect();
    match reaction {
        Reaction::AllRemoved => reactions.clear(),
        Reaction::EmojiRemoved { emoji } => reactions.retain(|one| !is_of(one, emoji)),
        Reaction::Added { user, emoji, is_burst } | Reaction::Removed { user, emoji, is_burst } => {
            let adds = matches!(reaction, Reaction::Added { .. });
            let place = reactions.iter().position(|one| is_of(one, emoji));
            let place = match place {
                None if adds && reactions.len() < MOST_REACTIONS => {
                    reactions.push(first_reaction(emoji));
                    Some(reactions.len() - 1)
                }
                known => known,
            };
            if let Some(place) = place {
                let changed = counted(&reactions[place], adds, *is_burst, own_user == Some(*user));
                match changed {
                    Some(changed) => reactions[place] = changed,
                    None => drop(reactions.remove(place)),
                }
            }
        }
    }
    if reactions.is_empty() {
        return object::without_field(message, "reactions");
    }
    with_field(message, "reactions", &format!("[{}]", reactions.join(",")))
}

/// Whether a reaction has this emoji: compared by id, or by name when the emoji has no id.
fn is_of(reaction: &str, emoji: &str) -> bool {
    let key = |emoji: &str| {
        let [own_id, name] = object::fields(emoji, ["id", "name"]);
        (own_id.and_then(id), name.map(str::to_owned))
    };
    let Some(known) = field(reaction, "emoji") else { return false };
    let ((known_id, known_name), (id, name)) = (key(known), key(emoji));
    known_id == id && (id.is_some() || known_name == name)
}

fn first_reaction(emoji: &str) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("emoji", emoji),
        ("count", "0"),
        ("count_details", r#"{"burst":0,"normal":0}"#),
        ("burst_colors", "[]"),
        ("me", "false"),
        ("me_burst", "false"),
    ] {
        push_field(&mut text, name, value);
    }
    close(text)
}

/// A reaction with one user more or less; `None` when no user is left.
fn counted(reaction: &str, adds: bool, is_burst: bool, is_own: bool) -> Option<String> {
    let change = |count: Option<&str>| {
        let count = count.and_then(number).unwrap_or(0);
        if adds { count.saturating_add(1) } else { count.saturating_sub(1) }
    };
    let count = change(field(reaction, "count"));
    if count == 0 {
        return None;
    }
    let mut text = with_field(reaction, "count", &count.to_string());
    if let Some(details) = field(reaction, "count_details") {
        let name = if is_burst { "burst" } else { "normal" };
        let details = with_field(details, name, &change(field(details, name)).to_string());
        text = with_field(&text, "count_details", &details);
    }
    if is_own {
        text =
            with_field(&text, if is_burst { "me_burst" } else { "me" }, if adds { "true" } else { "false" });
    }
    Some(text)
}

#[cfg(test)]
mod tests;

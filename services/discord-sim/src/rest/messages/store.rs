//! The bot's newest messages, for reading, editing and deleting.
//!
//! Pure. Messages of people are generated when they are sent and not stored.

use crate::{
    report::MessageReport,
    world::{GuildIndex, Snowflake},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Messages kept; older ones are dropped.
const KEPT: usize = 10_000;

/// A message of the bot.
#[derive(Clone, Debug)]
pub(crate) struct StoredMessage {
    /// Body that REST returns.
    pub(crate) body: Value,
    pub(crate) guild: Option<GuildIndex>,
    pub(crate) channel: Snowflake,
    /// The interaction that it answers or follows.
    pub(crate) interaction: Option<Snowflake>,
    /// Only one user sees it; the channel does not list it.
    pub(crate) ephemeral: bool,
    pub(crate) deleted: bool,
    pub(crate) at_ms: u64,
}

/// The newest messages of the bot.
#[derive(Debug, Default)]
pub(crate) struct MessageStore {
    kept: BTreeMap<Snowflake, StoredMessage>,
    /// Number of created messages, for unique ids.
    made: u64,
}

impl MessageStore {
    /// Returns a unique message id. Ids of people's messages have a small number in their lower bits.
    pub(crate) fn next_id(&mut self, now_ms: u64) -> Snowflake {
        self.made += 1;
        Snowflake::new(now_ms, 1 << 21 | self.made)
    }

    pub(crate) fn insert(&mut self, id: Snowflake, message: StoredMessage) {
        if self.kept.len() == KEPT {
            self.kept.pop_first();
        }
        self.kept.insert(id, message);
    }

    /// Returns a message unless it was deleted.
    pub(crate) fn get(&self, id: Snowflake) -> Option<&StoredMessage> {
        self.kept.get(&id).filter(|message| !message.deleted)
    }

    pub(crate) fn get_mut(&mut self, id: Snowflake) -> Option<&mut StoredMessage> {
        self.kept.get_mut(&id).filter(|message| !message.deleted)
    }

    /// Deletes a message. Returns false if it was deleted or is in another channel. An id that is not one of the bot's messages counts as
    /// a person's message, which is not stored.
    pub(crate) fn delete_in(&mut self, channel: Snowflake, id: Snowflake) -> bool {
        let Some(message) = self.kept.get_mut(&id) else { return true };
        let there = message.channel == channel && !message.deleted && !message.ephemeral;
        message.deleted |= there;
        there
    }

    /// Lists a channel's messages that are not ephemeral, newest first.
    pub(crate) fn in_channel(&self, channel: Snowflake) -> impl Iterator<Item = (Snowflake, &StoredMessage)> {
        self.kept
            .iter()
            .rev()
            .filter(move |(_, message)| message.channel == channel && !message.deleted && !message.ephemeral)
            .map(|(id, message)| (*id, message))
    }

    /// Lists all messages, oldest first.
    pub(crate) fn reports(&self, guild_id: impl Fn(GuildIndex) -> Snowflake) -> Vec<MessageReport> {
        self.kept
            .iter()
            .map(|(id, message)| MessageReport {
                id: *id,
                at_ms: message.at_ms,
                channel_id: message.channel,
                guild_id: message.guild.map(&guild_id),
                interaction_id: message.interaction,
                content: message.body["content"].as_str().unwrap_or_default().to_owned(),
                embeds: message.body["embeds"].as_array().map_or(0, Vec::len),
                attachments: message.body["attachments"].as_array().map_or(0, Vec::len),
                ephemeral: message.ephemeral,
                edited: !message.body["edited_timestamp"].is_null(),
                deleted: message.deleted,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(channel: u64) -> StoredMessage {
        StoredMessage {
            body: json!({"content": "x"}),
            guild: None,
            channel: Snowflake(channel),
            interaction: None,
            ephemeral: false,
            deleted: false,
            at_ms: 0,
        }
    }

    #[test]
    fn oldest_are_dropped_and_deleted_ones_not_found() {
        let mut store = MessageStore::default();
        let ids: Vec<_> = (0..=KEPT as u64)
            .map(|number| {
                let id = store.next_id(5);
                store.insert(id, message(number % 2));
                id
            })
            .collect();
        assert!(store.get(ids[0]).is_none() && store.get(ids[1]).is_some());
        store.get_mut(ids[2]).unwrap().deleted = true;
        assert!(store.get(ids[2]).is_none() && store.get_mut(ids[2]).is_none());
        let reports = store.reports(|_| Snowflake(0));
        assert_eq!((reports.len(), reports[1].deleted), (KEPT, true));
        let newest: Vec<_> = store.in_channel(Snowflake(0)).take(2).map(|(id, _)| id).collect();
        assert_eq!(newest, [ids[KEPT], ids[KEPT - 2]]);
    }
}

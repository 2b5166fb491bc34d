//! Events whose body is written when they happen.

use crate::{
    intents::{Gate, Intents},
    world::{GuildIndex, Snowflake},
};
use serde_json::{Value, json};
use std::borrow::Cow;

/// An event with its body.
#[derive(Debug)]
pub(crate) struct Made {
    /// The name in `t`.
    pub(crate) name: Cow<'static, str>,
    /// The guild it is about; without one it goes to shard 0.
    pub(crate) guild: Option<GuildIndex>,
    pub(crate) gate: Gate,
    body: Box<[u8]>,
    /// The body for sessions without MESSAGE_CONTENT, where it is another.
    blank: Option<Box<[u8]>>,
}

impl Made {
    /// An event; its name decides what a session needs to get it. `bot` is the bot's user id: it sees what itself has
    /// written, and what mentions it, without MESSAGE_CONTENT.
    pub(crate) fn new(
        name: impl Into<Cow<'static, str>>,
        guild: Option<GuildIndex>,
        body: &Value,
        bot: Snowflake,
    ) -> Self {
        let name = name.into();
        let gate = match &*name {
            // About the bot itself these need less. Source: https://docs.discord.com/developers/events/gateway#caveats
            "GUILD_MEMBER_UPDATE" if body["user"]["id"] == bot.to_string() => Gate::Open,
            "THREAD_MEMBERS_UPDATE" if !names_bot(body, bot) => Gate::AnyOf(Intents::GUILD_MEMBERS),
            name => Gate::of(name, guild.is_some()),
        };
        let blank = without_content(&name, guild, body, bot).map(|blank| bytes(&blank));
        Self { body: bytes(body), blank, name, guild, gate }
    }

    /// The body as a session with these intents gets it.
    pub(super) fn body(&self, intents: Intents) -> &[u8] {
        match &self.blank {
            Some(blank) if !intents.contains(Intents::MESSAGE_CONTENT) => blank,
            _ => &self.body,
        }
    }
}

fn bytes(body: &Value) -> Box<[u8]> {
    body.to_string().into_bytes().into()
}

/// Whether a THREAD_MEMBERS_UPDATE is about the bot.
fn names_bot(body: &Value, bot: Snowflake) -> bool {
    let bot = bot.to_string();
    let list = |field: &str| body[field].as_array().into_iter().flatten();
    list("added_members").any(|one| one["user_id"] == bot) || list("removed_member_ids").any(|id| *id == bot)
}

/// The body with the fields blanked that MESSAGE_CONTENT gates; `None` when it gates none.
/// [Source](https://docs.discord.com/developers/events/gateway#message-content-intent).
fn without_content(name: &str, guild: Option<GuildIndex>, body: &Value, bot: Snowflake) -> Option<Value> {
    guild?;
    let mut blanked = body.clone();
    let changed = match name {
        "MESSAGE_CREATE" | "MESSAGE_UPDATE" => blank_message(&mut blanked, &bot.to_string()),
        "AUTO_MODERATION_ACTION_EXECUTION" => {
            blank(&mut blanked, &[("content", json!("")), ("matched_content", json!(""))])
        }
        _ => false,
    };
    changed.then_some(blanked)
}

/// Blanks a message, unless the bot wrote it or it mentions the bot; also the messages in it, each judged by itself. Whether
/// anything changed.
fn blank_message(message: &mut Value, bot: &str) -> bool {
    let mentions = message["mentions"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == bot));
    let mut changed = false;
    if message["author"]["id"] != bot && !mentions {
        changed |= blank(
            message,
            &[
                ("content", json!("")),
                ("embeds", json!([])),
                ("attachments", json!([])),
                ("components", json!([])),
            ],
        );
        changed |= message.as_object_mut().is_some_and(|fields| fields.remove("poll").is_some());
    }
    if let Some(referenced) = message.get_mut("referenced_message").filter(|one| one.is_object()) {
        changed |= blank_message(referenced, bot);
    }
    for snapshot in message.get_mut("message_snapshots").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(inner) = snapshot.get_mut("message").filter(|one| one.is_object()) {
            changed |= blank_message(inner, bot);
        }
    }
    changed
}

/// Sets those of the fields that are there; whether that changed any.
fn blank(body: &mut Value, fields: &[(&str, Value)]) -> bool {
    let mut changed = false;
    for (field, blank) in fields {
        if let Some(value) = body.get_mut(*field).filter(|value| *value != blank) {
            *value = blank.clone();
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: Snowflake = Snowflake(7);

    fn seen(body: &Value, intents: Intents) -> Value {
        serde_json::from_slice(Made::new("MESSAGE_CREATE", Some(0), body, BOT).body(intents)).unwrap()
    }

    #[test]
    fn message_content_gates_fields() {
        let body =
            json!({"author": {"id": "8"}, "mentions": [], "content": "hi", "embeds": [{}], "poll": {}});
        assert_eq!(seen(&body, Intents::MESSAGE_CONTENT), body);
        let blank = json!({"author": {"id": "8"}, "mentions": [], "content": "", "embeds": []});
        assert_eq!(seen(&body, Intents::GUILD_MESSAGES), blank);
    }

    #[test]
    fn messages_in_messages_are_judged_by_themselves() {
        let quoted = json!({"author": {"id": "9"}, "content": "secret"});
        let own = json!({"author": {"id": "7"}, "content": "hi", "referenced_message": quoted,
                         "message_snapshots": [{"message": {"content": "secret"}}]});
        let text = seen(&own, Intents::GUILD_MESSAGES).to_string();
        assert!(text.contains("hi") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn events_about_the_bot_itself_need_less() {
        let gate = |name: &'static str, body: Value| Made::new(name, Some(0), &body, BOT).gate;
        assert_eq!(gate("GUILD_MEMBER_UPDATE", json!({"user": {"id": "7"}})), Gate::Open);
        assert_eq!(
            gate("GUILD_MEMBER_UPDATE", json!({"user": {"id": "8"}})),
            Gate::AnyOf(Intents::GUILD_MEMBERS)
        );
        let others = json!({"added_members": [{"user_id": "8"}]});
        assert!(!gate("THREAD_MEMBERS_UPDATE", others).lets(Intents::GUILDS));
        assert!(gate("THREAD_MEMBERS_UPDATE", json!({"removed_member_ids": ["7"]})).lets(Intents::GUILDS));
    }

    #[test]
    fn its_own_messages_and_mentions_are_not_blanked() {
        let own = json!({"author": {"id": "7"}, "mentions": [], "content": "hi"});
        assert_eq!(seen(&own, Intents::GUILD_MESSAGES), own);
        let mention = json!({"author": {"id": "8"}, "mentions": [{"id": "7"}], "content": "hi"});
        assert_eq!(seen(&mention, Intents::GUILD_MESSAGES), mention);
    }
}

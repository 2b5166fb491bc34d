//! Events whose body is written when they occur.

use crate::{
    intents::{Gate, Intents},
    world::{GuildIndex, Snowflake},
};
use serde_json::{Value, json};
use std::borrow::Cow;

/// An event with its body.
#[derive(Debug)]
pub(crate) struct PrebuiltEvent {
    /// The name in `t`.
    pub(crate) name: Cow<'static, str>,
    /// The event's guild; without one it goes to shard 0.
    pub(crate) guild: Option<GuildIndex>,
    pub(crate) gate: Gate,
    body: Box<[u8]>,
    /// The body for sessions without MESSAGE_CONTENT, if it differs.
    blank: Option<Box<[u8]>>,
}

impl PrebuiltEvent {
    /// Builds an event; its name decides which intents it needs. Without MESSAGE_CONTENT the bot, whose user id is `bot`, still sees its
    /// own messages and messages that mention it.
    pub(crate) fn new(
        name: impl Into<Cow<'static, str>>,
        guild: Option<GuildIndex>,
        body: &Value,
        bot: Snowflake,
    ) -> Self {
        let name = name.into();
        let gate = match &*name {
            // These need fewer intents if they are about the bot itself. Source: https://docs.discord.com/developers/events/gateway#caveats
            "GUILD_MEMBER_UPDATE" if body["user"]["id"] == bot.to_string() => Gate::Open,
            "THREAD_MEMBERS_UPDATE" if !names_bot(body, bot) => Gate::AnyOf(Intents::GUILD_MEMBERS),
            name => Gate::of(name, guild.is_some()),
        };
        let blank = without_content(&name, guild, body, bot).map(|blank| bytes(&blank));
        Self { body: bytes(body), blank, name, guild, gate }
    }

    /// Returns the body for a session with these intents.
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

/// Returns whether a THREAD_MEMBERS_UPDATE is about the bot.
fn names_bot(body: &Value, bot: Snowflake) -> bool {
    let bot = bot.to_string();
    let list = |field: &str| body[field].as_array().into_iter().flatten();
    list("added_members").any(|one| one["user_id"] == bot) || list("removed_member_ids").any(|id| *id == bot)
}

/// Blanks the fields that need MESSAGE_CONTENT. Returns `None` if there are no such fields.
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

/// Blanks a message and the messages inside it, except those that the bot wrote or that mention it. Returns whether anything
/// changed.
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

/// Blanks the fields that exist. Returns whether any changed.
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
        serde_json::from_slice(PrebuiltEvent::new("MESSAGE_CREATE", Some(0), body, BOT).body(intents))
            .unwrap()
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
    fn nested_messages_are_blanked_separately() {
        let quoted = json!({"author": {"id": "9"}, "content": "secret"});
        let own = json!({"author": {"id": "7"}, "content": "hi", "referenced_message": quoted,
                         "message_snapshots": [{"message": {"content": "secret"}}]});
        let text = seen(&own, Intents::GUILD_MESSAGES).to_string();
        assert!(text.contains("hi") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn events_about_the_bot_need_fewer_intents() {
        let gate = |name: &'static str, body: Value| PrebuiltEvent::new(name, Some(0), &body, BOT).gate;
        assert_eq!(gate("GUILD_MEMBER_UPDATE", json!({"user": {"id": "7"}})), Gate::Open);
        assert_eq!(
            gate("GUILD_MEMBER_UPDATE", json!({"user": {"id": "8"}})),
            Gate::AnyOf(Intents::GUILD_MEMBERS)
        );
        let others = json!({"added_members": [{"user_id": "8"}]});
        assert!(!gate("THREAD_MEMBERS_UPDATE", others).allows(Intents::GUILDS));
        assert!(gate("THREAD_MEMBERS_UPDATE", json!({"removed_member_ids": ["7"]})).allows(Intents::GUILDS));
    }

    #[test]
    fn own_messages_and_mentions_are_not_blanked() {
        let own = json!({"author": {"id": "7"}, "mentions": [], "content": "hi"});
        assert_eq!(seen(&own, Intents::GUILD_MESSAGES), own);
        let mention = json!({"author": {"id": "8"}, "mentions": [{"id": "7"}], "content": "hi"});
        assert_eq!(seen(&mention, Intents::GUILD_MESSAGES), mention);
    }
}

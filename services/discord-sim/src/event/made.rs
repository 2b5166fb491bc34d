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
        let gate = Gate::of(&name, guild.is_some());
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

/// The body with the fields blanked that MESSAGE_CONTENT gates; `None` when it gates none.
/// [Source](https://docs.discord.com/developers/events/gateway#message-content-intent).
fn without_content(name: &str, guild: Option<GuildIndex>, body: &Value, bot: Snowflake) -> Option<Value> {
    guild?;
    let bot = bot.to_string();
    let blanked: &[(&str, Value)] = match name {
        "MESSAGE_CREATE" | "MESSAGE_UPDATE" => {
            let mentioned =
                body["mentions"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == bot));
            if body["author"]["id"] == bot || mentioned {
                return None;
            }
            &[
                ("content", json!("")),
                ("embeds", json!([])),
                ("attachments", json!([])),
                ("components", json!([])),
                ("poll", Value::Null),
            ]
        }
        "AUTO_MODERATION_ACTION_EXECUTION" => &[("content", json!("")), ("matched_content", json!(""))],
        _ => return None,
    };
    let mut body = body.clone();
    let fields = body.as_object_mut()?;
    for (field, blank) in blanked {
        if *field == "poll" {
            fields.remove("poll");
        } else if let Some(value) = fields.get_mut(*field) {
            *value = blank.clone();
        }
    }
    Some(body)
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
    fn its_own_messages_and_mentions_are_not_blanked() {
        let own = json!({"author": {"id": "7"}, "mentions": [], "content": "hi"});
        assert_eq!(seen(&own, Intents::GUILD_MESSAGES), own);
        let mention = json!({"author": {"id": "8"}, "mentions": [{"id": "7"}], "content": "hi"});
        assert_eq!(seen(&mention, Intents::GUILD_MESSAGES), mention);
    }
}

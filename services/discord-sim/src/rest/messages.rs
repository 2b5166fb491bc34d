//! Writes, edits and deletes the bot's messages, with their events.
//!
//! [Source](https://docs.discord.com/developers/resources/message#message-object).

mod bulk;
pub(crate) mod draft;
mod handlers;
pub(crate) mod store;

pub(crate) use handlers::routes;

use self::{
    draft::{Draft, EPHEMERAL, LOADING, SUPPRESS_EMBEDS},
    store::StoredMessage,
};
use super::{
    error::RestError,
    lookup::{ChannelRef, snowflake},
};
use crate::{
    event::PrebuiltEvent,
    hub::Hub,
    rest::Rest,
    world::{GuildIndex, Snowflake, World, time},
};
use serde_json::{Map, Value, json};

/// Time in which an enforced nonce makes no second message. Discord documents "a few minutes".
const NONCE_LIFE_MS: u64 = 300_000;

/// The interaction that a message answers.
#[derive(Clone, Debug)]
pub(crate) struct InteractionOrigin {
    pub(crate) interaction: Snowflake,
    /// The message's type: 20 for the answer to a slash command, 23 to a context menu, 19 for follow-ups.
    pub(crate) kind: u8,
    pub(crate) metadata: Value,
    pub(crate) ephemeral: bool,
    pub(crate) loading: bool,
}

/// Writes a message and dispatches its event. Returns the message's body.
pub(crate) fn create(rest: &Rest, place: &ChannelRef, draft: &Draft) -> Value {
    let change = write(&mut rest.state().messages, &rest.hub, place, draft, None);
    change.dispatch(&rest.hub)
}

/// Writes a message.
pub(crate) fn write(
    store: &mut store::MessageStore,
    hub: &Hub,
    place: &ChannelRef,
    draft: &Draft,
    origin: Option<&InteractionOrigin>,
) -> MessageChange {
    let now_ms = time::now_ms();
    let world = &hub.world;
    let channel = place.channel_id();
    let guild = place.guild();
    let ephemeral = origin.is_some_and(|origin| origin.ephemeral);
    let at_ms = hub.now().as_millis() as u64;
    if draft.enforce_nonce
        && let Some(nonce) = &draft.nonce
        && let Some((_, same)) = store.in_channel(channel).find(|(_, message)| {
            message.body["nonce"] == *nonce && at_ms.saturating_sub(message.at_ms) < NONCE_LIFE_MS
        })
    {
        return MessageChange { event: None, body: same.body.clone(), guild, ephemeral };
    }
    let id = store.next_id(now_ms);
    let mut body = json!({
        "id": id,
        "channel_id": channel,
        "author": world.bot(),
        "content": "",
        "timestamp": time::iso(now_ms),
        "edited_timestamp": null,
        "tts": draft.tts,
        "mention_everyone": false,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "components": [],
        "pinned": false,
        "type": 0,
        "flags": draft.flags.unwrap_or(0) & !EPHEMERAL,
    });
    if let Some(nonce) = &draft.nonce {
        body["nonce"] = nonce.clone();
    }
    if let Some(reference) = &draft.reference {
        body["message_reference"] = reference.clone();
        // A forwarded message may come from elsewhere.
        if reference["type"] != 1 {
            body["message_reference"]["channel_id"] = json!(channel);
            body["type"] = 19.into();
        }
    }
    if !draft.stickers.is_empty() {
        let items = draft.stickers.iter().map(|id| json!({"id": id, "name": "sticker", "format_type": 1}));
        body["sticker_items"] = items.collect();
    }
    if let Some(origin) = origin {
        body["type"] = origin.kind.into();
        body["application_id"] = json!(world.bot_id());
        body["webhook_id"] = json!(world.bot_id());
        body["interaction_metadata"] = origin.metadata.clone();
        let flags = if origin.ephemeral { EPHEMERAL } else { 0 } | if origin.loading { LOADING } else { 0 };
        body["flags"] = (body["flags"].as_u64().unwrap_or(0) | flags).into();
    }
    let mut attachments = Vec::new();
    add_files(store, channel, draft, &mut attachments, now_ms);
    body["attachments"] = attachments.into();
    take_over(world, &mut body, draft);
    let interaction = origin.map(|origin| origin.interaction);
    let kept =
        StoredMessage { body: body.clone(), guild, channel, interaction, ephemeral, deleted: false, at_ms };
    store.insert(id, kept);
    tracing::debug!(%id, %channel, "bot wrote a message");
    MessageChange { event: Some("MESSAGE_CREATE"), body, guild, ephemeral }
}

/// Edits a message and dispatches its event.
///
/// # Errors
///
/// As [`change`].
pub(crate) fn edit(rest: &Rest, id: Snowflake, draft: &Draft) -> Result<Value, RestError> {
    let change = change(&mut rest.state().messages, &rest.hub.world, id, draft)?;
    Ok(change.dispatch(&rest.hub))
}

/// A written or edited message whose event is not dispatched yet.
#[derive(Debug)]
pub(crate) struct MessageChange {
    /// The event's name; `None` if an enforced nonce matched an existing message.
    event: Option<&'static str>,
    pub(crate) body: Value,
    guild: Option<GuildIndex>,
    ephemeral: bool,
}

impl MessageChange {
    /// Dispatches the event. Returns the message's body.
    pub(crate) fn dispatch(self, hub: &Hub) -> Value {
        if let Some(event) = self.event {
            dispatch_event(hub, event, self.guild, self.ephemeral, &self.body);
        }
        self.body
    }
}

/// Edits a message.
///
/// # Errors
///
/// The message does not exist, or would be empty.
pub(crate) fn change(
    store: &mut store::MessageStore,
    world: &World,
    id: Snowflake,
    draft: &Draft,
) -> Result<MessageChange, RestError> {
    let now_ms = time::now_ms();
    let kept = store.get(id).ok_or(RestError::UNKNOWN_MESSAGE)?;
    let (mut body, channel, guild, ephemeral) = (kept.body.clone(), kept.channel, kept.guild, kept.ephemeral);
    let mut attachments = match (&draft.attachments, body["attachments"].take()) {
        (None, Value::Array(all)) => all,
        (Some(stay), Value::Array(all)) => {
            all.into_iter().filter(|old| stay.iter().any(|one| one["id"] == old["id"])).collect()
        }
        _ => Vec::new(),
    };
    add_files(store, channel, draft, &mut attachments, now_ms);
    body["attachments"] = attachments.into();
    take_over(world, &mut body, draft);
    let fields = ["content", "embeds", "components", "attachments", "poll", "sticker_items"];
    if !fields.iter().any(|field| draft::has_value(&body[*field])) {
        return Err(RestError::EMPTY_MESSAGE);
    }
    // Filling a placeholder counts as writing, not as an edit.
    let flags = body["flags"].as_u64().unwrap_or(0);
    if flags & LOADING == 0 {
        body["edited_timestamp"] = time::iso(now_ms).into();
    }
    let stay = if draft.flags.is_some() { !(LOADING | SUPPRESS_EMBEDS) } else { !LOADING };
    body["flags"] = (flags & stay | draft.flags.unwrap_or(0) & !EPHEMERAL).into();
    if let Some(kept) = store.get_mut(id) {
        kept.body = body.clone();
    }
    Ok(MessageChange { event: Some("MESSAGE_UPDATE"), body, guild, ephemeral })
}

/// Deletes a message and dispatches its event.
///
/// # Errors
///
/// The message does not exist.
pub(crate) fn delete(rest: &Rest, id: Snowflake) -> Result<(), RestError> {
    let hub = &rest.hub;
    let (channel, guild) = {
        let mut state = rest.state();
        let kept = state.messages.get_mut(id).ok_or(RestError::UNKNOWN_MESSAGE)?;
        kept.deleted = true;
        let place = (kept.channel, kept.guild.filter(|_| !kept.ephemeral));
        state.interactions.forget(id);
        place
    };
    let mut body = json!({ "id": id, "channel_id": channel });
    if let Some(guild) = guild {
        body["guild_id"] = json!(hub.world.head(guild).id);
    }
    hub.dispatch(PrebuiltEvent::new("MESSAGE_DELETE", guild, &body, hub.world.bot_id()));
    Ok(())
}

/// Dispatches an event about a message. Ephemeral messages are dispatched like direct messages.
/// [Source](https://docs.discord.com/developers/events/gateway-events#messages).
fn dispatch_event(hub: &Hub, name: &'static str, guild: Option<GuildIndex>, ephemeral: bool, body: &Value) {
    let guild = guild.filter(|_| !ephemeral);
    let mut body = body.clone();
    if let Some(guild) = guild {
        body["guild_id"] = json!(hub.world.head(guild).id);
        body["member"] = json!(hub.world.member(guild, 0, false));
    }
    hub.dispatch(PrebuiltEvent::new(name, guild, &body, hub.world.bot_id()));
}

/// Adds attachments for uploaded files.
/// [Source](https://docs.discord.com/developers/resources/message#attachment-object).
fn add_files(
    store: &mut store::MessageStore,
    channel: Snowflake,
    draft: &Draft,
    attachments: &mut Vec<Value>,
    now_ms: u64,
) {
    for file in &draft.files {
        let id = store.next_id(now_ms);
        let described = draft.attachments.iter().flatten().find(|one| match &one["id"] {
            Value::String(text) => *text == file.number,
            number => number.as_u64().is_some_and(|number| file.number.parse() == Ok(number)),
        });
        let given = |field: &str| described.map_or(Value::Null, |one| one[field].clone());
        let name = given("filename").as_str().map_or_else(|| file.name.clone(), ToOwned::to_owned);
        let url = format!("https://cdn.discordapp.com/attachments/{channel}/{id}/{name}");
        let mut attachment = json!({
            "id": id,
            "filename": name,
            "size": file.size,
            "url": url,
            "proxy_url": url.replace("cdn.discordapp.com", "media.discordapp.net"),
        });
        if let Some(kind) = &file.content_type {
            attachment["content_type"] = kind.as_str().into();
        }
        if given("description").is_string() {
            attachment["description"] = given("description");
        }
        attachments.push(attachment);
    }
}

/// Applies a draft to a message's body.
fn take_over(world: &World, body: &mut Value, draft: &Draft) {
    for (field, value) in &draft.fields {
        body[field] = match (field.as_str(), value) {
            ("content", Value::Null) => "".into(),
            ("embeds", Value::Array(embeds)) => embeds.iter().map(rich).collect(),
            ("embeds" | "components", Value::Null) => json!([]),
            ("poll", Value::Object(poll)) => poll_body(poll),
            ("poll", _) => continue,
            _ => value.clone(),
        };
    }
    if draft.fields.contains_key("content") {
        let content = body["content"].as_str().unwrap_or_default();
        let (mentions, everyone) = mentioned(world, content, &draft.allowed_mentions);
        body["mentions"] = mentions.into();
        body["mention_everyone"] = everyone.into();
    }
}

fn rich(embed: &Value) -> Value {
    let mut embed = embed.clone();
    embed["type"] = "rich".into();
    embed
}

/// [Source](https://docs.discord.com/developers/resources/poll#poll-object).
fn poll_body(asked: &Map<String, Value>) -> Value {
    let answers = asked.get("answers").and_then(Value::as_array);
    let answers = answers
        .into_iter()
        .flatten()
        .zip(1..)
        .map(|(answer, number)| json!({ "answer_id": number, "poll_media": answer["poll_media"] }));
    let hours = asked.get("duration").and_then(Value::as_u64).unwrap_or(24).min(768);
    json!({
        "question": asked.get("question"),
        "answers": answers.collect::<Vec<_>>(),
        "expiry": time::iso(time::now_ms() + hours * 3_600_000),
        "allow_multiselect": asked.get("allow_multiselect").and_then(Value::as_bool).unwrap_or(false),
        "layout_type": 1,
    })
}

/// Returns the users that a text mentions, and whether it mentions everyone.
/// [Source](https://docs.discord.com/developers/resources/message#allowed-mentions-object).
fn mentioned(world: &World, content: &str, allowed: &Value) -> (Vec<Value>, bool) {
    let parses = |kind: &str| match &allowed["parse"] {
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        _ => allowed.is_null(),
    };
    let named = |user: Snowflake| {
        allowed["users"].as_array().is_some_and(|users| users.iter().any(|one| snowflake(one) == Some(user)))
    };
    let mut seen = Vec::new();
    for piece in content.split("<@").skip(1) {
        let Some((id, _)) = piece.trim_start_matches('!').split_once('>') else { continue };
        if let Ok(id) = id.parse().map(Snowflake)
            && (parses("users") || named(id))
            && !seen.contains(&id)
        {
            seen.push(id);
        }
    }
    let users = seen.into_iter().filter_map(|id| world.find_user(id)).map(|user| json!(world.user(user)));
    let everyone = content.contains("@everyone") || content.contains("@here");
    (users.collect(), everyone && parses("everyone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_mentions_are_listed() {
        let world = World::new(1, 5);
        let user = world.user(3);
        let text = format!("<@{}> <@!{}> <@1> @everyone", user.id, user.id);
        let (mentions, everyone) = mentioned(&world, &text, &Value::Null);
        assert_eq!((mentions, everyone), (vec![json!(user)], true));
        let (mentions, everyone) = mentioned(&world, &text, &json!({"parse": []}));
        assert_eq!((mentions.len(), everyone), (0, false));
        assert_eq!(mentioned(&world, &text, &json!({"parse": [], "users": [user.id]})).0.len(), 1);
    }
}

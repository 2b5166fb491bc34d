//! The fields that twilight's types require, with a default for all but the ids.
//!
//! `$id` stands for a required id, `$id?` for one that may be null.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Value, json};

static OBJECTS: LazyLock<BTreeMap<&'static str, Value>> = LazyLock::new(objects);
static EVENTS: LazyLock<BTreeMap<&'static str, Value>> = LazyLock::new(events);

fn objects() -> BTreeMap<&'static str, Value> {
    let user = json!({"id": "$id", "username": "", "discriminator": "0", "avatar": null});
    BTreeMap::from([
        (
            "guild",
            json!({
                "id": "$id", "name": "", "owner_id": "1", "afk_timeout": 300, "default_message_notifications": 0,
                "explicit_content_filter": 0, "features": [], "mfa_level": 0, "nsfw_level": 0, "preferred_locale": "en-US",
                "premium_progress_bar_enabled": false, "system_channel_flags": 0, "verification_level": 0, "premium_tier": 0,
                "emojis": [], "roles": [],
            }),
        ),
        ("channels", json!({"id": "$id", "type": 0})),
        ("threads", json!({"id": "$id", "type": 11})),
        (
            "roles",
            json!({
                "id": "$id", "name": "", "color": 0, "colors": {"primary_color": 0}, "flags": 0, "hoist": false, "managed": false,
                "mentionable": false, "permissions": "0", "position": 0,
            }),
        ),
        ("members", json!({"user": user, "roles": [], "deaf": false, "mute": false, "flags": 0})),
        (
            "voice_states",
            json!({
                "user_id": "$id", "channel_id": "$id?", "session_id": "", "deaf": false, "mute": false, "self_deaf": false,
                "self_mute": false, "self_video": false, "suppress": false,
            }),
        ),
        ("emojis", json!({"id": "$id", "name": ""})),
        ("stickers", json!({"id": "$id", "name": "", "tags": "", "type": 2, "format_type": 1})),
        ("user", user),
        (
            "own_user",
            json!({"id": "$id", "username": "", "discriminator": "0", "avatar": null, "mfa_enabled": false}),
        ),
    ])
}

fn events() -> BTreeMap<&'static str, Value> {
    let object = |name: &str| OBJECTS.get(name).cloned().unwrap_or_default();
    let with = |mut value: Value, more: Value| {
        if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
            fields.extend(more);
        }
        value
    };
    let guild = || json!({"guild_id": "$id"});
    let (channel, thread) = (with(object("channels"), guild()), with(object("threads"), guild()));
    let role = with(json!({"role": object("roles")}), guild());
    let member = with(object("members"), guild());
    let gone = |name: &str| json!({"guild_id": "$id", name: "$id"});
    BTreeMap::from([
        ("GUILD_CREATE", object("guild")),
        ("GUILD_UPDATE", object("guild")),
        // An unreadable guild counts as an outage: without that flag it would count as left.
        ("GUILD_DELETE", json!({"id": "$id", "unavailable": true})),
        ("CHANNEL_CREATE", channel.clone()),
        ("CHANNEL_UPDATE", channel.clone()),
        ("CHANNEL_DELETE", channel),
        ("CHANNEL_PINS_UPDATE", gone("channel_id")),
        ("THREAD_CREATE", thread.clone()),
        ("THREAD_UPDATE", thread),
        ("THREAD_DELETE", json!({"guild_id": "$id", "id": "$id", "parent_id": "1", "type": 11})),
        ("THREAD_LIST_SYNC", json!({"guild_id": "$id", "threads": [], "members": []})),
        ("GUILD_ROLE_CREATE", role.clone()),
        ("GUILD_ROLE_UPDATE", role),
        ("GUILD_ROLE_DELETE", gone("role_id")),
        ("GUILD_MEMBER_ADD", member.clone()),
        ("GUILD_MEMBER_UPDATE", member),
        ("GUILD_MEMBER_REMOVE", json!({"guild_id": "$id", "user": object("user")})),
        (
            "GUILD_MEMBERS_CHUNK",
            json!({"guild_id": "$id", "members": [], "chunk_index": 0, "chunk_count": 1, "not_found": []}),
        ),
        ("VOICE_STATE_UPDATE", with(object("voice_states"), guild())),
        ("GUILD_EMOJIS_UPDATE", json!({"guild_id": "$id", "emojis": []})),
        ("GUILD_STICKERS_UPDATE", json!({"guild_id": "$id", "stickers": []})),
        ("USER_UPDATE", object("own_user")),
    ])
}

/// The required fields of an event; `None` if the event is only read whole.
pub(super) fn of_event(name: &str) -> Option<&'static Value> {
    EVENTS.get(name)
}

/// The required fields of a list element.
pub(super) fn of_element(list: &str) -> Option<&'static Value> {
    OBJECTS.get(list).filter(|_| list.ends_with('s'))
}

pub(super) fn own_user() -> &'static Value {
    &OBJECTS["own_user"]
}

/// Whether an unreadable event of this kind leaves its guild's cached data in doubt.
pub(crate) fn is_structural(name: &str) -> bool {
    of_event(name).is_some() && name != "USER_UPDATE"
}

/// Fills in the ids; `None` when one is missing.
pub(super) fn fill(least: &Value, given: &Value) -> Option<Value> {
    Some(match least {
        Value::String(id) if id == "$id" => snowflake(given)?.into(),
        Value::String(id) if id == "$id?" && given.is_null() => Value::Null,
        Value::String(id) if id == "$id?" => snowflake(given)?.into(),
        Value::Object(fields) => {
            let none = Value::Null;
            let filled = fields
                .iter()
                .map(|(name, least)| Some((name.clone(), fill(least, given.get(name).unwrap_or(&none))?)));
            Value::Object(filled.collect::<Option<_>>()?)
        }
        other => other.clone(),
    })
}

/// An id given as text or as a number, as text.
pub(super) fn snowflake(value: &Value) -> Option<String> {
    id_of(value).map(|id| id.to_string())
}

pub(super) fn id_of(value: &Value) -> Option<u64> {
    let id = match value {
        Value::String(text) => text.parse().ok()?,
        Value::Number(number) => number.as_u64()?,
        _ => return None,
    };
    (id != 0).then_some(id)
}

//! Guilds as Discord sends them, and caches that have these guilds.

use guild_cache::SessionGuilds;
use serde_json::{Value, json};
use twilight_model::gateway::Intents;

use crate::cache::{CacheSettings, ShardCache};

pub(crate) const SESSION: u64 = 7;

pub(crate) fn settings(resources: &str) -> CacheSettings {
    CacheSettings {
        resources: resources.parse().unwrap(),
        messages_per_channel: 0,
        message_lifetime: None,
        intents: Intents::all(),
    }
}

/// Applies an event.
pub(crate) fn tell(cache: &ShardCache, name: &str, d: &Value, sequence: u64) {
    cache.apply(name, &d.to_string(), sequence);
}

/// The part of READY about these guilds.
pub(crate) fn ready(guilds: &[u64]) -> SessionGuilds {
    let user = json!({
        "id": "1", "username": "bot", "discriminator": "0", "mfa_enabled": false, "avatar": null, "bot": true,
    });
    SessionGuilds { guilds: guilds.to_vec(), names_more: false, own_user: Some(user.to_string()) }
}

/// A cache that waits for these guilds.
pub(crate) fn begun(resources: &str, guilds: &[u64]) -> ShardCache {
    let cache = ShardCache::new(settings(resources));
    cache.begin_session(SESSION, &ready(guilds));
    cache
}

pub(crate) fn user(id: u64) -> Value {
    json!({ "id": (id << 22).to_string(), "username": format!("user{id}"), "discriminator": "0", "avatar": null })
}

pub(crate) fn member(id: u64) -> Value {
    json!({
        "user": user(id), "roles": [], "deaf": false, "mute": false, "flags": 0, "nick": format!("nick{id}"),
        "joined_at": "2021-01-01T00:00:00.000000+00:00",
    })
}

pub(crate) fn role(id: u64) -> Value {
    json!({
        "id": id.to_string(), "name": format!("role{id}"), "color": 0, "colors": {"primary_color": 0}, "flags": 0,
        "hoist": false, "managed": false, "mentionable": false, "permissions": "0", "position": 1,
    })
}

pub(crate) fn channel(guild: u64, id: u64) -> Value {
    json!({ "id": id.to_string(), "type": 0, "guild_id": guild.to_string(), "name": format!("channel{id}"), "position": 0 })
}

pub(crate) fn voice(guild: u64, user: u64, channel: Option<u64>) -> Value {
    json!({
        "guild_id": guild.to_string(), "user_id": (user << 22).to_string(),
        "channel_id": channel.map(|id| id.to_string()), "session_id": "s", "deaf": false, "mute": false,
        "self_deaf": false, "self_mute": false, "self_video": false, "suppress": false,
        "request_to_speak_timestamp": null,
    })
}

pub(crate) fn guild(id: u64) -> Value {
    json!({
        "id": id.to_string(), "name": format!("guild{id}"), "owner_id": "1", "afk_timeout": 300,
        "default_message_notifications": 0, "explicit_content_filter": 0, "features": ["COMMUNITY"], "mfa_level": 0,
        "nsfw_level": 0, "preferred_locale": "en-US", "premium_progress_bar_enabled": false,
        "system_channel_flags": 0, "verification_level": 0, "premium_tier": 0, "member_count": 600, "large": true,
        "joined_at": "2021-01-01T00:00:00.000000+00:00",
        "roles": [role(id * 100)],
        "channels": [channel(id, id * 100 + 1)],
        "threads": [{
            "id": (id * 100 + 2).to_string(), "type": 11, "name": "thread", "parent_id": (id * 100 + 1).to_string(),
            "thread_metadata": {
                "archived": false, "auto_archive_duration": 60, "locked": false,
                "archive_timestamp": "2021-01-01T00:00:00.000000+00:00",
            },
        }],
        "members": [member(1), member(2), member(3)],
        "voice_states": [voice(id, 2, Some(id * 100 + 1))],
        "emojis": [{"id": (id * 100 + 30).to_string(), "name": "e", "roles": [], "require_colons": true, "managed": false, "animated": false,
            "available": true, "user": user(1)}],
        "stickers": [{"id": (id * 100 + 31).to_string(), "name": "s", "description": "d", "tags": "t", "type": 2, "format_type": 1,
            "available": true, "guild_id": id.to_string()}],
        "stage_instances": [{"id": (id * 100 + 32).to_string(), "guild_id": id.to_string(), "channel_id": "903", "topic": "t",
            "privacy_level": 2, "discoverable_disabled": false}],
        "guild_scheduled_events": [{"id": (id * 100 + 33).to_string(), "guild_id": id.to_string(), "name": "p", "privacy_level": 2,
            "status": 1, "entity_type": 3, "scheduled_start_time": "2031-01-01T00:00:00.000000+00:00",
            "scheduled_end_time": "2031-01-01T01:00:00.000000+00:00", "entity_metadata": {"location": "l"}}],
    })
}

//! Objects out of the caches: from Discord's own JSON to messages, and field masks.

use serde_json::{Map, Value};

use crate::v1;

/// A message that is made of an object of Discord's.
pub trait CachedObject: Sized {
    /// Each field's name, and the field of Discord's object that it is made of.
    const FIELDS: &'static [(&'static str, &'static str)];
    /// The fields of Discord's object that caches hold.
    const DISCORD_FIELDS: &'static [&'static str];

    /// Converts Discord's object in a guild. Missing and invalid values stay absent.
    fn from_discord(object: &Map<String, Value>, guild: u64) -> Self;

    /// Leaves all but these fields out; none when there are none.
    fn keep(&mut self, fields: &[String]);
}

macro_rules! fields {
    ($($field:ident <- $discord:literal),* $(,)?) => {
        const FIELDS: &'static [(&'static str, &'static str)] = &[$((plain(stringify!($field)), $discord)),*];

        fn keep(&mut self, fields: &[String]) {
            if fields.is_empty() {
                return;
            }
            $(
                if !fields.iter().any(|field| field == plain(stringify!($field))) {
                    self.$field = Default::default();
                }
            )*
        }
    };
}

/// A field's name as the protos have it.
const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', b't', b'y', b'p', b'e'] => "type",
        _ => name,
    }
}

impl CachedObject for v1::CachedGuild {
    fields! {
        id <- "id", name <- "name", icon <- "icon", banner <- "banner", description <- "description", owner_id <- "owner_id",
        member_count <- "member_count", preferred_locale <- "preferred_locale", features <- "features",
        premium_tier <- "premium_tier", premium_subscription_count <- "premium_subscription_count",
        afk_channel_id <- "afk_channel_id", system_channel_id <- "system_channel_id", rules_channel_id <- "rules_channel_id",
        vanity_url_code <- "vanity_url_code", verification_level <- "verification_level", nsfw_level <- "nsfw_level",
        unavailable <- "unavailable",
    }

    const DISCORD_FIELDS: &'static [&'static str] = &[
        "afk_channel_id",
        "afk_timeout",
        "application_id",
        "banner",
        "default_message_notifications",
        "description",
        "discovery_splash",
        "emojis",
        "explicit_content_filter",
        "features",
        "home_header",
        "hub_type",
        "icon",
        "id",
        "incidents_data",
        "inventory_settings",
        "joined_at",
        "large",
        "latest_onboarding_question_id",
        "max_members",
        "max_presences",
        "max_stage_video_channel_users",
        "max_video_channel_users",
        "member_count",
        "mfa_level",
        "name",
        "nsfw",
        "nsfw_level",
        "owner",
        "owner_id",
        "permissions",
        "preferred_locale",
        "premium_features",
        "premium_progress_bar_enabled",
        "premium_subscription_count",
        "premium_tier",
        "profile",
        "public_updates_channel_id",
        "region",
        "roles",
        "rules_channel_id",
        "safety_alerts_channel_id",
        "splash",
        "stickers",
        "system_channel_flags",
        "system_channel_id",
        "unavailable",
        "vanity_url_code",
        "verification_level",
        "widget_channel_id",
        "widget_enabled",
    ];

    fn from_discord(object: &Map<String, Value>, _: u64) -> Self {
        Self {
            id: id(object, "id"),
            name: text(object, "name"),
            icon: text(object, "icon"),
            banner: text(object, "banner"),
            description: text(object, "description"),
            owner_id: id(object, "owner_id"),
            member_count: number(object, "member_count"),
            preferred_locale: text(object, "preferred_locale"),
            features: list(object, "features").filter_map(|it| it.as_str().map(str::to_owned)).collect(),
            premium_tier: number(object, "premium_tier"),
            premium_subscription_count: number(object, "premium_subscription_count"),
            afk_channel_id: id(object, "afk_channel_id"),
            system_channel_id: id(object, "system_channel_id"),
            rules_channel_id: id(object, "rules_channel_id"),
            vanity_url_code: text(object, "vanity_url_code"),
            verification_level: number(object, "verification_level"),
            nsfw_level: number(object, "nsfw_level"),
            unavailable: flag(object, "unavailable"),
        }
    }
}

impl CachedObject for v1::CachedChannel {
    fields! {
        id <- "id", guild_id <- "guild_id", r#type <- "type", name <- "name", topic <- "topic", position <- "position",
        parent_id <- "parent_id", nsfw <- "nsfw", rate_limit_per_user <- "rate_limit_per_user", bitrate <- "bitrate",
        user_limit <- "user_limit", last_message_id <- "last_message_id", owner_id <- "owner_id",
        permission_overwrites <- "permission_overwrites",
    }

    const DISCORD_FIELDS: &'static [&'static str] = &[
        "application_id",
        "applied_tags",
        "available_tags",
        "bitrate",
        "default_auto_archive_duration",
        "default_forum_layout",
        "default_reaction_emoji",
        "default_sort_order",
        "default_thread_rate_limit_per_user",
        "flags",
        "guild_id",
        "icon",
        "icon_emoji",
        "id",
        "invitable",
        "last_message_id",
        "last_pin_timestamp",
        "managed",
        "member",
        "member_count",
        "message_count",
        "name",
        "newly_created",
        "nsfw",
        "owner_id",
        "parent_id",
        "permission_overwrites",
        "position",
        "rate_limit_per_user",
        "recipients",
        "rtc_region",
        "status",
        "theme_color",
        "thread_metadata",
        "topic",
        "total_message_sent",
        "type",
        "user_limit",
        "video_quality_mode",
        "voice_start_time",
    ];

    fn from_discord(object: &Map<String, Value>, guild: u64) -> Self {
        let overwrite = |overwrite: &Value| {
            let overwrite = overwrite.as_object()?;
            Some(v1::PermissionOverwrite {
                id: id(overwrite, "id")?,
                r#type: number(overwrite, "type")?,
                allow: id(overwrite, "allow").unwrap_or(0),
                deny: id(overwrite, "deny").unwrap_or(0),
            })
        };
        Self {
            id: id(object, "id"),
            guild_id: Some(guild),
            r#type: number(object, "type"),
            name: text(object, "name"),
            topic: text(object, "topic"),
            position: number(object, "position"),
            parent_id: id(object, "parent_id"),
            nsfw: flag(object, "nsfw"),
            rate_limit_per_user: number(object, "rate_limit_per_user"),
            bitrate: number(object, "bitrate"),
            user_limit: number(object, "user_limit"),
            last_message_id: id(object, "last_message_id"),
            owner_id: id(object, "owner_id"),
            permission_overwrites: list(object, "permission_overwrites").filter_map(overwrite).collect(),
        }
    }
}

impl CachedObject for v1::CachedMember {
    fields! {
        user_id <- "user", guild_id <- "user", username <- "user", global_name <- "user", nick <- "nick", avatar <- "avatar",
        bot <- "user", roles <- "roles", joined_at_unix_ms <- "joined_at", premium_since_unix_ms <- "premium_since",
        communication_disabled_until_unix_ms <- "communication_disabled_until", pending <- "pending", deaf <- "deaf",
        mute <- "mute",
    }

    const DISCORD_FIELDS: &'static [&'static str] = &[
        "avatar",
        "avatar_decoration_data",
        "banner",
        "collectibles",
        "communication_disabled_until",
        "deaf",
        "flags",
        "joined_at",
        "mute",
        "nick",
        "pending",
        "premium_since",
        "roles",
        "unusual_dm_activity_until",
        "user",
    ];

    fn from_discord(object: &Map<String, Value>, guild: u64) -> Self {
        let empty = Map::new();
        let user = object.get("user").and_then(Value::as_object).unwrap_or(&empty);
        Self {
            user_id: id(user, "id"),
            guild_id: Some(guild),
            username: text(user, "username"),
            global_name: text(user, "global_name"),
            nick: text(object, "nick"),
            avatar: text(object, "avatar"),
            bot: flag(user, "bot"),
            roles: list(object, "roles").filter_map(|role| role.as_str()?.parse().ok()).collect(),
            joined_at_unix_ms: unix_ms(object, "joined_at"),
            premium_since_unix_ms: unix_ms(object, "premium_since"),
            communication_disabled_until_unix_ms: unix_ms(object, "communication_disabled_until"),
            pending: flag(object, "pending"),
            deaf: flag(object, "deaf"),
            mute: flag(object, "mute"),
        }
    }
}

impl CachedObject for v1::CachedRole {
    fields! {
        id <- "id", name <- "name", color <- "color", hoist <- "hoist", position <- "position", permissions <- "permissions",
        managed <- "managed", mentionable <- "mentionable", icon <- "icon", unicode_emoji <- "unicode_emoji",
    }

    const DISCORD_FIELDS: &'static [&'static str] = &[
        "color",
        "colors",
        "description",
        "flags",
        "hoist",
        "icon",
        "id",
        "managed",
        "mentionable",
        "name",
        "permissions",
        "position",
        "tags",
        "unicode_emoji",
    ];

    fn from_discord(object: &Map<String, Value>, _: u64) -> Self {
        Self {
            id: id(object, "id"),
            name: text(object, "name"),
            color: number(object, "color"),
            hoist: flag(object, "hoist"),
            position: object.get("position").and_then(Value::as_i64),
            permissions: id(object, "permissions"),
            managed: flag(object, "managed"),
            mentionable: flag(object, "mentionable"),
            icon: text(object, "icon"),
            unicode_emoji: text(object, "unicode_emoji"),
        }
    }
}

fn text(object: &Map<String, Value>, field: &str) -> Option<String> {
    object.get(field)?.as_str().map(str::to_owned)
}

/// A Discord id, or a set of bits: numbers that JSON has as text.
fn id(object: &Map<String, Value>, field: &str) -> Option<u64> {
    object.get(field)?.as_str()?.parse().ok()
}

fn number<T: TryFrom<i64>>(object: &Map<String, Value>, field: &str) -> Option<T> {
    object.get(field)?.as_i64()?.try_into().ok()
}

fn flag(object: &Map<String, Value>, field: &str) -> Option<bool> {
    object.get(field)?.as_bool()
}

fn list<'a>(object: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a Value> {
    object.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// A moment in ISO 8601, as milliseconds since the Unix epoch.
fn unix_ms(object: &Map<String, Value>, field: &str) -> Option<u64> {
    let at: prost_types::Timestamp = object.get(field)?.as_str()?.parse().ok()?;
    (at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000).try_into().ok()
}

#[cfg(test)]
mod tests;

//! Oddities of events.

#![expect(
    clippy::unnecessary_wraps,
    reason = "rows have one type, and some need a guild that may be missing"
)]

use super::{Preset, PresetContext};
use crate::{
    fault_error::FaultError,
    faults::Fault,
    odd::{Edit, Patch},
    world::{GuildIndex, Visibility},
};
use serde_json::{Value, json};

type PresetFaults = Result<Vec<Fault>, FaultError>;

/// An id that no guild has, for items that need one.
const ODD_ID: &str = "9007199254740993";

fn set(path: &str, value: Value) -> Edit {
    Edit::Set { path: path.to_owned(), value }
}

fn remove(path: &str) -> Edit {
    Edit::Remove { path: path.to_owned() }
}

/// Changes every READY.
fn ready(context: &PresetContext<'_>, edits: Vec<Edit>) -> PresetFaults {
    let wanted = context.wanted;
    Ok(vec![Fault::Patch(Patch {
        name: Some(wanted.name.clone()),
        event: "READY".to_owned(),
        shards: wanted.shards.clone(),
        times: wanted.times,
        edits,
        ..Patch::default()
    })])
}

/// Changes every GUILD_CREATE of the requested guild, or of all guilds.
fn guild(context: &PresetContext<'_>, edits: Vec<Edit>) -> PresetFaults {
    let wanted = context.wanted;
    Ok(vec![Fault::Patch(Patch {
        name: Some(wanted.name.clone()),
        event: "GUILD_CREATE".to_owned(),
        guild_id: wanted.guild_id,
        shards: wanted.shards.clone(),
        times: wanted.times,
        edits,
        ..Patch::default()
    })])
}

/// Returns a guild's GUILD_CREATE body with all intents.
fn body(context: &PresetContext<'_>, guild: GuildIndex) -> Value {
    let all = Visibility { presences: true, voice_states: true, large_threshold: 50 };
    json!(context.input.world.guild(guild, all, false, &(context.input.voice)(guild)))
}

fn event(
    context: &PresetContext<'_>,
    guild: GuildIndex,
    name: &str,
    d: Value,
    shards: Option<Vec<u32>>,
) -> Fault {
    let guild_id = Some(context.input.world.head(guild).id);
    Fault::Event { name: name.to_owned(), guild_id, d, shards }
}

/// Returns a channel of this type with its guild's id.
fn channel(context: &PresetContext<'_>, guild: GuildIndex, kind: u64) -> Result<Value, FaultError> {
    let channels = body(context, guild)["channels"].take();
    let mut all = channels.as_array().cloned().unwrap_or_default().into_iter();
    let mut found = all.find(|channel| channel["type"] == kind).ok_or(FaultError::NoGuild)?;
    found["guild_id"] = json!(context.input.world.head(guild).id);
    Ok(found)
}

fn emoji(name: Value) -> Value {
    json!({
        "id": ODD_ID, "name": name, "roles": [], "require_colons": true, "managed": false, "animated": false,
        "available": true,
    })
}

pub(super) const PRESETS: &[Preset] = &[
    // READY.
    Preset {
        name: "ready_without_application",
        what: "READY has no application",
        source: "",
        make: |context| ready(context, vec![remove("/application")]),
    },
    Preset {
        name: "ready_without_resume_url",
        what: "READY has no resume_gateway_url",
        source: "",
        make: |context| ready(context, vec![remove("/resume_gateway_url")]),
    },
    Preset {
        name: "ready_resume_url_malformed",
        what: "resume_gateway_url in READY is not a URL: \"wss://gateway us-east1.discord.gg\"",
        source: "",
        make: |context| {
            ready(context, vec![set("/resume_gateway_url", json!("wss://gateway us-east1.discord.gg"))])
        },
    },
    Preset {
        name: "ready_resume_url_empty",
        what: "resume_gateway_url in READY is an empty string",
        source: "",
        make: |context| ready(context, vec![set("/resume_gateway_url", json!(""))]),
    },
    Preset {
        name: "ready_resume_url_with_query",
        what: "resume_gateway_url in READY has a query of its own",
        source: "https://github.com/discord/discord-api-docs/pull/5725",
        make: |context| {
            let url = format!("{}/?encoding=json&x=1", context.input.server.resume_url);
            ready(context, vec![set("/resume_gateway_url", json!(url))])
        },
    },
    Preset {
        name: "ready_resume_url_foreign",
        what: "resume_gateway_url in READY is at a host that is not Discord's, to which no token may go",
        source: "",
        make: |context| {
            ready(
                context,
                vec![set("/resume_gateway_url", json!("wss://gateway.discord.gg.example.invalid"))],
            )
        },
    },
    Preset {
        name: "guild_create_before_ready",
        what: "in the next session a guild's GUILD_CREATE comes before READY",
        source: "",
        make: |context| Ok(vec![Fault::GuildBeforeReady { sessions: context.wanted.times.unwrap_or(1) }]),
    },
    // One odd field of a guild.
    Preset {
        name: "guild_emoji_name_null",
        what: "guilds have an emoji whose name is null",
        source: "https://github.com/discord/discord-api-docs/issues/406",
        make: |context| guild(context, vec![set("/emojis/-", emoji(Value::Null))]),
    },
    Preset {
        name: "guild_icon_not_hex",
        what: "guilds have an icon that is not 32 hexadecimal digits",
        source: "",
        make: |context| guild(context, vec![set("/icon", json!("clan-badge-2026"))]),
    },
    Preset {
        name: "guild_sticker_odd",
        what: "guilds have a sticker without description and tags, of a format that does not exist",
        source: "",
        make: |context| {
            let sticker = json!({
                "id": ODD_ID, "name": "odd", "description": null, "tags": null, "type": 2, "format_type": 9,
                "available": true, "guild_id": "1",
            });
            guild(context, vec![set("/stickers/-", sticker)])
        },
    },
    Preset {
        name: "guild_roles_without_colors",
        what: "the roles of guilds have no colors",
        source: "https://github.com/twilight-rs/twilight/issues/2465",
        make: |context| guild(context, vec![remove("/roles/*/colors")]),
    },
    Preset {
        name: "guild_name_half_surrogate",
        what: "the names of guilds end with half a surrogate pair",
        source: "",
        make: |context| {
            let text = r#""half of \ud83d""#.to_owned();
            guild(context, vec![Edit::SetText { path: "/name".to_owned(), text }])
        },
    },
    Preset {
        name: "guild_name_controls_terminal",
        what: "the names of guilds have escape sequences for terminals and a line break",
        source: "",
        make: |context| {
            guild(context, vec![set("/name", json!("\u{1b}]0;title\u{7}\u{1b}[31mred\nINFO all is well"))])
        },
    },
    Preset {
        name: "guild_member_joined_at_null",
        what: "members of guilds joined at null, as guests of voice channels did",
        source: "https://github.com/twilight-rs/twilight/issues/2230",
        make: |context| guild(context, vec![set("/members/*/joined_at", Value::Null)]),
    },
    Preset {
        name: "guild_channel_type_unknown",
        what: "guilds have a channel of a type that does not exist yet",
        source: "",
        make: |context| {
            let odd =
                json!({"id": ODD_ID, "type": 99, "name": "odd", "position": 0, "permission_overwrites": []});
            guild(context, vec![set("/channels/-", odd)])
        },
    },
    Preset {
        name: "guild_large_number",
        what: "guilds have a number above 2^53, which is not exact as a double",
        source: "",
        make: |context| guild(context, vec![set("/system_channel_flags", json!(9_007_199_254_740_993_u64))]),
    },
    Preset {
        name: "guild_create_unavailable",
        what: "a GUILD_CREATE of a guild that the bot is in only says that it is unavailable",
        source: "https://github.com/serenity-rs/serenity/issues/3330",
        make: |context| {
            let guild = context.guild()?;
            let d = json!({"id": context.input.world.head(guild).id, "unavailable": true});
            Ok(vec![event(context, guild, "GUILD_CREATE", d, None)])
        },
    },
    // Wrong counts.
    Preset {
        name: "guild_create_twice",
        what: "GUILD_CREATE comes twice for each guild",
        source: "https://github.com/Kraigie/nostrum/pull/360",
        make: |context| {
            let made = guild(context, Vec::new())?;
            let twice = |fault| match fault {
                Fault::Patch(patch) => Fault::Patch(Patch { repeat: 1, ..patch }),
                other => other,
            };
            Ok(made.into_iter().map(twice).collect())
        },
    },
    Preset {
        name: "guild_create_without_members",
        what: "a GUILD_CREATE comes for a known guild and lists no members and no voice states",
        source: "",
        make: |context| {
            let guild = context.guild()?;
            let mut d = body(context, guild);
            for field in ["members", "presences", "voice_states"] {
                d[field] = json!([]);
            }
            Ok(vec![event(context, guild, "GUILD_CREATE", d, None)])
        },
    },
    Preset {
        name: "guild_on_wrong_shard",
        what: "a guild's GUILD_CREATE comes on the given shards, else on all",
        source: "",
        make: |context| {
            let guild = context.guild()?;
            let total = context.input.shards;
            let shards = context.wanted.shards.clone().unwrap_or_else(|| (0..total).collect());
            Ok(vec![event(context, guild, "GUILD_CREATE", body(context, guild), Some(shards))])
        },
    },
    Preset {
        name: "channel_create_twice",
        what: "CHANNEL_CREATE comes twice for a new channel",
        source: "https://github.com/discord/discord-api-docs/issues/5392",
        make: |context| {
            let guild = context.guild()?;
            let mut new = channel(context, guild, 0)?;
            new["id"] = json!(ODD_ID);
            let create = || event(context, guild, "CHANNEL_CREATE", new.clone(), None);
            Ok(vec![create(), create()])
        },
    },
    Preset {
        name: "voice_channel_deleted",
        what: "a voice channel is deleted with a member in it, and no VOICE_STATE_UPDATE says that the member left",
        source: "https://github.com/Woor/discord.io/pull/7",
        make: |context| {
            let guild = context.guild()?;
            let voice = channel(context, guild, 2)?;
            let user_id = context.input.world.user(context.input.world.user_index(guild, 1)).id;
            let joins = json!({
                "guild_id": context.input.world.head(guild).id, "channel_id": voice["id"], "user_id": user_id,
                "session_id": "0123456789abcdef0123456789abcdef", "deaf": false, "mute": false, "self_deaf": false,
                "self_mute": false, "self_video": false, "suppress": false, "request_to_speak_timestamp": null,
                "member": context.input.world.member(guild, 1, true),
            });
            Ok(vec![
                event(context, guild, "VOICE_STATE_UPDATE", joins, None),
                event(context, guild, "CHANNEL_DELETE", voice, None),
            ])
        },
    },
    Preset {
        name: "sequences_missing",
        what: "every MESSAGE_CREATE is left out, and its sequence is missing",
        source: "",
        make: |context| {
            let wanted = context.wanted;
            Ok(vec![Fault::Patch(Patch {
                name: Some(wanted.name.clone()),
                event: "MESSAGE_CREATE".to_owned(),
                guild_id: wanted.guild_id,
                shards: wanted.shards.clone(),
                times: wanted.times,
                leave_out: true,
                ..Patch::default()
            })])
        },
    },
    Preset {
        name: "event_unknown",
        what: "an event comes that does not exist yet",
        source: "",
        make: |context| {
            let guild = context.guild()?;
            let shard = context.input.world.head(guild).id.shard(context.input.shards);
            let shards = context.wanted.shards.clone().unwrap_or_else(|| vec![shard]);
            // Without a guild, so no intent is needed.
            let name = "GUILD_HOLOGRAM_CREATE".to_owned();
            Ok(vec![Fault::Event { name, guild_id: None, d: json!({"id": ODD_ID}), shards: Some(shards) }])
        },
    },
];

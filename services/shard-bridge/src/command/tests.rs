use super::*;

fn kind(payload: Value) -> Result<CommandKind, String> {
    GatewayCommand::parse(payload).map(|command| command.kind()).map_err(|InvalidCommand(why)| why)
}

fn refused(payload: Value, words: &str) {
    let shown = payload.to_string();
    let why = kind(payload).unwrap_err();
    assert!(why.contains(words), "{shown}: {why}");
}

#[test]
fn commands_of_common_libraries_are_accepted() {
    let discord_js = json!({ "op": 3, "d": {
        "activities": [{ "name": "chess", "type": 0, "state": null, "url": null }],
        "afk": false, "since": null, "status": "online",
    } });
    assert_eq!(kind(discord_js), Ok(CommandKind::Presence));
    let join = json!({ "op": 4, "d": { "guild_id": "7", "channel_id": "8", "self_mute": false, "self_deaf": true } });
    assert_eq!(kind(join), Ok(CommandKind::Voice { guild: 7, joins: true }));
    let leave = json!({ "op": 4, "d": { "guild_id": "7", "channel_id": null } });
    assert_eq!(kind(leave), Ok(CommandKind::Voice { guild: 7, joins: false }));
    let all = json!({ "op": 8, "d": { "guild_id": "7", "query": "", "limit": 0, "presences": false, "nonce": "1" } });
    assert_eq!(kind(all), Ok(CommandKind::Members { guild: 7, all: true, presences: false }));
    let one = json!({ "op": 8, "d": { "guild_id": 7, "user_ids": "9", "query": "", "limit": 0, "presences": true } });
    assert_eq!(kind(one), Ok(CommandKind::Members { guild: 7, all: false, presences: true }));
    let named = json!({ "op": 8, "d": { "guild_id": "7", "query": "a", "limit": 0 } });
    assert_eq!(kind(named), Ok(CommandKind::Members { guild: 7, all: false, presences: false }));
    let sounds = json!({ "op": 31, "d": { "guild_ids": ["7", 8] } });
    assert_eq!(kind(sounds.clone()), Ok(CommandKind::Sounds { first: 7 }));
    assert_eq!(GatewayCommand::parse(sounds).unwrap().guilds(), [7, 8]);
    let info = json!({ "op": 43, "d": { "guild_id": "7", "fields": ["status", "voice_start_time"] } });
    assert_eq!(kind(info), Ok(CommandKind::ChannelInfo { guild: 7 }));
}

#[test]
fn required_fields_are_filled_in() {
    let text =
        |payload| serde_json::from_str::<Value>(GatewayCommand::parse(payload).unwrap().text()).unwrap();
    assert_eq!(
        text(json!({ "op": 3, "d": { "status": "idle" } })),
        json!({ "op": 3, "d": { "status": "idle", "activities": [], "since": null, "afk": false } })
    );
    assert_eq!(
        text(json!({ "op": 4, "s": 1, "t": "X", "d": { "guild_id": "7" } })),
        json!({ "op": 4, "d": { "guild_id": "7", "channel_id": null, "self_mute": false, "self_deaf": false } })
    );
}

#[test]
fn commands_that_discord_would_refuse_are_refused() {
    refused(json!([]), "object");
    refused(json!({ "op": 3 }), "d is missing");
    refused(json!({ "d": {} }), "op takes");
    for op in [0, 1, 2, 6, 30] {
        refused(json!({ "op": op, "d": {} }), "op takes");
    }
    refused(json!({ "op": 3, "d": {} }), "status");
    refused(json!({ "op": 3, "d": { "status": "asleep" } }), "asleep");
    let activity = |activity| json!({ "op": 3, "d": { "status": "online", "activities": [activity] } });
    refused(activity(json!({ "name": " ", "type": 0 })), "name is empty");
    refused(activity(json!({ "type": 0 })), "name");
    refused(activity(json!({ "name": "x", "type": 6 })), "0 to 5");
    refused(activity(json!({ "name": "x".repeat(4_096), "type": 0 })), "4096");
    refused(json!({ "op": 4, "d": { "guild_id": "0" } }), "guild_id");
    refused(json!({ "op": 4, "d": { "guild_id": "1", "channel_id": 0 } }), "channel_id");
    refused(json!({ "op": 4, "d": { "guild_id": "+1" } }), "guild_id");
    refused(json!({ "op": 4, "d": { "guild_id": ["1"] } }), "guild_id");
    let members = |more: Value| {
        let mut d = json!({ "guild_id": "7" });
        d.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "op": 8, "d": d })
    };
    refused(members(json!({})), "neither");
    refused(members(json!({ "query": "a", "user_ids": ["1"] })), "both");
    refused(members(json!({ "user_ids": [] })), "empty");
    refused(members(json!({ "user_ids": ["0"] })), "user_ids");
    refused(members(json!({ "user_ids": vec!["1"; 101] })), "limit of 100");
    refused(members(json!({ "query": "", "nonce": "n".repeat(33) })), "33 bytes");
    refused(members(json!({ "query": "", "limit": -1 })), "invalid value");
    let sounds = |guilds: Value| json!({ "op": 31, "d": { "guild_ids": guilds } });
    refused(sounds(json!([])), "guild_ids is empty");
    refused(sounds(json!("7")), "invalid type");
    refused(sounds(json!(["7", "x"])), "guild_ids");
    // Discord's limit counts what goes out, and ids go out as strings.
    refused(sounds(json!(vec![u64::MAX; 190])), "4096");
    refused(json!({ "op": 43, "d": { "guild_id": "7" } }), "fields");
    refused(json!({ "op": 43, "d": { "guild_id": "7", "fields": [1] } }), "invalid type");
}

#[test]
fn parts_of_a_request_for_sounds_are_requests_of_the_same_kind() {
    let part = GatewayCommand::sounds(&[8, 9]);
    assert_eq!(GatewayCommand::from_text(part.text()), Ok(part.clone()));
    assert_eq!((part.kind(), part.guilds()), (CommandKind::Sounds { first: 8 }, vec![8, 9]));
}

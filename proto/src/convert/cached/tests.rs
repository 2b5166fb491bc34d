use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde_json::json;

use super::*;

fn check_fields<T: CachedObject>(message: &str) {
    let descriptors = FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap();
    let messages = descriptors.file.iter().flat_map(|file| &file.message_type);
    let found = messages.into_iter().find(|found| found.name() == message).unwrap();
    let names: Vec<&str> = found.field.iter().map(prost_types::FieldDescriptorProto::name).collect();
    let listed: Vec<&str> = T::FIELDS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, names, "{message}");
    let unknown = T::FIELDS.iter().find(|(_, discord)| !T::DISCORD_FIELDS.contains(discord));
    assert_eq!(unknown, None, "{message}");
}

#[test]
fn every_field_can_be_asked_for() {
    check_fields::<v1::CachedGuild>("CachedGuild");
    check_fields::<v1::CachedChannel>("CachedChannel");
    check_fields::<v1::CachedMember>("CachedMember");
    check_fields::<v1::CachedRole>("CachedRole");
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn absent_is_absent() {
    let empty = Map::new();
    assert_eq!(v1::CachedGuild::from_discord(&empty, 7), v1::CachedGuild::default());
    assert_eq!(v1::CachedRole::from_discord(&empty, 7), v1::CachedRole::default());
    let channel = v1::CachedChannel { guild_id: Some(7), ..Default::default() };
    assert_eq!(v1::CachedChannel::from_discord(&empty, 7), channel);
    let odd = object(
        json!({ "id": 5, "name": 6, "member_count": -1, "features": "x", "premium_tier": 1_u64 << 40 }),
    );
    assert_eq!(v1::CachedGuild::from_discord(&odd, 7), v1::CachedGuild::default());
}

#[test]
fn a_member_is_made_of_its_user_too() {
    let member = object(json!({
        "user": { "id": "5", "username": "ann", "global_name": "Ann", "bot": false }, "nick": "a", "roles": ["1", "2"],
        "joined_at": "2020-02-02T02:02:02.020000+00:00", "deaf": false,
    }));
    let mut made = v1::CachedMember::from_discord(&member, 7);
    assert_eq!((made.user_id, made.username.as_deref(), made.bot), (Some(5), Some("ann"), Some(false)));
    assert_eq!((made.roles.as_slice(), made.joined_at_unix_ms), ([1, 2].as_slice(), Some(1_580_608_922_020)));
    assert_eq!((made.mute, made.premium_since_unix_ms), (None, None));
    made.keep(&[]);
    assert_eq!(made.nick.as_deref(), Some("a"));
    made.keep(&["username".to_owned(), "roles".to_owned()]);
    let kept = v1::CachedMember { username: Some("ann".to_owned()), roles: vec![1, 2], ..Default::default() };
    assert_eq!(made, kept);
}

#[test]
fn a_channel_and_its_overwrites() {
    let channel = object(json!({
        "id": "9", "type": 2, "position": -1, "bitrate": 64_000,
        "permission_overwrites": [{ "id": "7", "type": 1, "allow": "1024", "deny": "0" }, "nonsense"],
    }));
    let mut made = v1::CachedChannel::from_discord(&channel, 7);
    assert_eq!((made.r#type, made.position, made.bitrate), (Some(2), Some(-1), Some(64_000)));
    let overwrite = v1::PermissionOverwrite { id: 7, r#type: 1, allow: 1_024, deny: 0 };
    assert_eq!(made.permission_overwrites, [overwrite]);
    made.keep(&["type".to_owned()]);
    assert_eq!(made, v1::CachedChannel { r#type: Some(2), ..Default::default() });
}

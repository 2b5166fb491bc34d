//! Objects are read as twilight's types and as the caller's own.

use serde::Deserialize;
use serde_json::json;
use twilight_model::id::Id;

use super::*;
use crate::testing::guilds::{begun, guild, tell, user};

const GUILD: u64 = 5;
const USER: u64 = 2 << 22;

#[test]
fn objects_are_read_as_twilights_types() {
    let mut settings = crate::testing::guilds::settings("all");
    settings.messages_per_channel = 2;
    let cache = ShardCache::new(settings);
    cache.begin_session(1, &crate::testing::guilds::ready(&[GUILD]));
    let mut created = guild(GUILD);
    created["presences"] = json!([{
        "user": {"id": USER.to_string()}, "status": "idle", "activities": [], "client_status": {"desktop": "idle"},
    }]);
    tell(&cache, "GUILD_CREATE", &created, 2);
    for id in [70, 71, 72] {
        let message = json!({
            "id": id.to_string(), "channel_id": "501", "guild_id": "5", "type": 0, "content": "", "author": user(1),
            "tts": false, "timestamp": "2021-01-01T00:00:00.000000+00:00", "edited_timestamp": null,
            "mention_everyone": false, "mentions": [], "mention_roles": [], "attachments": [], "embeds": [],
            "pinned": false,
        });
        tell(&cache, "MESSAGE_CREATE", &message, id);
    }
    let whole = cache.whole_guild(GUILD).unwrap().parse().unwrap();
    assert_eq!((whole.channels.len(), whole.threads.len(), whole.members.len()), (1, 1, 3));
    assert_eq!((whole.roles.len(), whole.presences.len(), whole.voice_states.len()), (1, 1, 1));
    assert_eq!(cache.channel(GUILD, 501).unwrap().parse().unwrap().guild_id, Some(Id::new(GUILD)));
    assert_eq!(cache.channel(GUILD, 502).unwrap().parse().unwrap().guild_id, Some(Id::new(GUILD)));
    assert_eq!(cache.guild_of_channel(502), Some(GUILD));
    assert_eq!(cache.role(GUILD, 500).unwrap().parse().unwrap().name, "role500");
    assert_eq!(cache.member(GUILD, USER).unwrap().parse().unwrap().nick.as_deref(), Some("nick2"));
    assert_eq!(cache.user(USER).unwrap().parse().unwrap().name, "user2");
    assert_eq!(cache.own_user().unwrap().parse().unwrap().name, "bot");
    assert_eq!(cache.voice_state(GUILD, USER).unwrap().parse().unwrap().channel_id, Some(Id::new(501)));
    assert_eq!(cache.presence(GUILD, USER).unwrap().parse().unwrap().guild_id, Id::new(GUILD));
    assert_eq!(cache.message(501, 72).unwrap().parse().unwrap().id, Id::new(72));
    assert_eq!(cache.message_ids(501), [71, 72]);
    assert_eq!(
        (cache.guild_ids(), cache.channel_ids(GUILD), cache.thread_ids(GUILD)),
        (vec![5], vec![501], vec![502])
    );
    assert_eq!((cache.role_ids(GUILD), cache.member_ids(GUILD)), (vec![500], vec![1 << 22, USER, 3 << 22]));
    assert_eq!(
        (cache.connected_users(GUILD), cache.voice_channel(GUILD, USER)),
        (vec![(USER, 501)], Some(501))
    );
    assert_eq!(cache.guilds_of_user(USER), [GUILD]);
    assert!(cache.channel(6, 501).is_none() && cache.member(GUILD, 9).is_none() && cache.user(9).is_none());
}

#[test]
fn error_contains_nothing_of_the_object() {
    #[derive(Debug, Deserialize)]
    struct Odd {
        #[serde(rename = "name")]
        _name: u8,
    }
    let cache = begun("all", &[GUILD]);
    let mut created = guild(GUILD);
    created["channels"][0]["name"] = json!("MARKER");
    tell(&cache, "GUILD_CREATE", &created, 2);
    let channel = cache.channel(GUILD, 501).unwrap();
    let error = channel.parse_as::<Odd>().unwrap_err();
    let said = format!("{error} {error:?} {channel:?}");
    assert!(!said.contains("MARKER") && said.contains("line 1"), "{said}");
}

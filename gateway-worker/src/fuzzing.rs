//! Fuzz targets of a worker: gateway messages, records of old formats, and settings.

use bytes::Bytes;
use checkpoint::{Extras, FORMAT_MAX, FORMAT_MIN, GuildCore, Members, Record, RecordKey, encode_record};
use clap::CommandFactory as _;
use fuzz::Target;

use crate::{
    WorkerArgs,
    event::Arrived,
    gateway_address::Trust,
    payload::{self, Payload},
    reading,
    tap::show,
};

const READY: &str = r#"{"t":"READY","s":1,"op":0,"d":{"v":10,"user":{"id":"7","username":"bot","discriminator":"0","avatar":null,"bot":true},"guilds":[{"id":"8","unavailable":true}],"session_id":"4f1c","resume_gateway_url":"wss://gateway-us-east1-b.discord.gg","shard":[3,12],"application":{"id":"7","flags":0}}}"#;
const MESSAGE: &str = r#"{"t":"MESSAGE_CREATE","s":7,"op":0,"d":{"id":"81384788765712384","channel_id":"70","guild_id":"8","author":{"id":"9","username":"u","discriminator":"0","avatar":null},"content":"\u00e9 hi","timestamp":"2026-10-21T07:28:00.000000+00:00","edited_timestamp":null,"tts":false,"mention_everyone":false,"mentions":[],"mention_roles":[],"attachments":[],"embeds":[],"pinned":false,"type":0}}"#;
const INTERACTION: &str = r#"{"t":"INTERACTION_CREATE","s":8,"op":0,"d":{"id":"81384788765712384","application_id":"7","type":2,"token":"t","version":1,"guild_id":"8","channel_id":"70","entitlements":[],"data":{"id":"1","name":"ping","type":1}}}"#;
const GUILD: &str = r#"{"id":"7","name":"seven","owner_id":"3"}"#;
const HELLO: &str =
    r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250,"_trace":["[\"gateway\",{}]"]}}"#;
const INVALID: &str = r#"{"op":9,"d":false}"#;

#[test]
fn gateway_messages() {
    let words = [
        "\"t\":",
        "\"s\":",
        "\"op\":",
        "\"d\":",
        "\"id\":",
        "\"guild_id\":",
        "READY",
        "INTERACTION_CREATE",
        "GUILD_CREATE",
    ];
    let examples = [READY, MESSAGE, INTERACTION, HELLO, INVALID];
    Target::new("gateway messages", examples).words(words).memory(2 << 20, 400).run_text(|text| {
        let read = Payload::read(text);
        if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok() {
            assert!(read.is_some(), "serde reads it");
        }
        for content in [false, true] {
            let shown = show::show(text, content);
            assert!(shown.json.len() <= 256 << 10, "{}", shown.json.len());
        }
        let Some(read) = read else { return };
        let name = read.name.clone().unwrap_or_else(|| "MESSAGE_CREATE".into());
        let _ = (read.guild(), payload::age_of_creation(&name, text, 1_790_000_000_000));
        #[cfg(feature = "typed-events")]
        let _ = reading::typed::whole(&name, text);
        let arrived = Arrived::new(name, read.sequence.unwrap_or_default(), read, text.to_owned());
        if let Ok(start) = reading::session_start(arrived.data()) {
            assert!(start.unreadable().count() <= 3);
        }
    });
}

/// A record of a guild in a format with lists: its key in a line, then the JSON text in it.
#[test]
fn records_of_old_formats() {
    let settings = crate::testing::guilds::settings("all");
    let list = r#"[{"user":{"id":"3","username":"u"},"roles":[]},{"id":"7","name":"n","type":0}]"#;
    let examples = ["c:7", "h:7", "r:7", "x:7", "m:7:0", "m:7:4095", "b:7:0:3", "p:1:2"]
        .map(|key| format!("{key}\n{list}"))
        .into_iter()
        .chain([
            "c:7\n{\"id\":\"7\",\"name\":\"seven\",\"roles\":[],\"channels\":[{\"id\":\"70\"}]}".to_owned()
        ]);
    Target::new("records of old formats", examples).memory(4 << 20, 400).run_text(|text| {
        let Some((key, text)) = text.split_once('\n') else { return };
        let Ok(key) = key.parse::<RecordKey>() else { return };
        let bytes = || Bytes::copy_from_slice(text.as_bytes());
        let core = |object: Option<Bytes>| {
            Record::Core(GuildCore {
                stamp: 1,
                members: Some(2),
                channels: u32::MAX,
                in_voice: vec![3, u64::MAX],
                unavailable: false,
                object,
                voice_states: bytes(),
                member_blocks: text.len() as u32,
                doubt: u32::MAX,
            })
        };
        let record = match key {
            RecordKey::Core(_) => core(Some(bytes())),
            RecordKey::Channels(_) => Record::Channels(bytes()),
            RecordKey::Roles(_) => Record::Roles(bytes()),
            RecordKey::Extras(_) => Record::Extras(Extras {
                emojis: bytes(),
                stickers: bytes(),
                stage_instances: bytes(),
                scheduled_events: bytes(),
            }),
            RecordKey::Members(..) => Record::Members(Members { stamp: 1, list: bytes() }),
            RecordKey::Pending(_) | RecordKey::Block { .. } => return,
        };
        for format in FORMAT_MIN..FORMAT_MAX {
            let mut restoring = crate::cache::ShardCache::new(settings).restoring();
            let guild = key.guild().unwrap_or_default();
            for (key, record) in [(RecordKey::Core(guild), core(Some(GUILD.into()))), (key, record.clone())] {
                let Ok(bytes) = encode_record(&record, format) else { return };
                let _ = restoring.take(key, &bytes);
            }
            while restoring.next_guild().is_ok_and(|more| more) {}
            restoring.remove(key);
        }
    });
}

#[test]
fn addresses_of_gateways() {
    let discord = Trust::new(None, None);
    let stand_in = Trust::new(None, Some("http://127.0.0.1:3900".parse().unwrap()));
    let examples = ["wss://gateway-us-east1-b.discord.gg", "ws://127.0.0.1:3900/", "wss://user:pw@x:443/"];
    let words = ["@", ".discord.gg", "wss://", "%2f", ":443", "\\", "。"];
    Target::new("addresses of gateways", examples).words(words).run_text(|text| {
        if let Ok(gateway) = discord.gateway(text) {
            let (host, port, is_tls) = gateway.address().server();
            assert!(is_tls && port == 443, "{text}");
            assert!(host.ends_with(".discord.gg"), "{text}");
        }
        if let Ok(gateway) = stand_in.gateway(text) {
            let (host, port, is_tls) = gateway.address().server();
            assert!((host, port) == ("127.0.0.1", 3900) || is_tls && host.ends_with(".discord.gg"), "{text}");
        }
    });
}

#[test]
fn settings() {
    fuzz::settings("settings of a worker", WorkerArgs::command());
}

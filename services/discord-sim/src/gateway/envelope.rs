//! The JSON around every payload.
//!
//! Keys are in Discord's order: t, s, op, d. Clients find the first three by searching the text.

use crate::{event::Event, event::SessionParams, hub::Hub};
use std::{io::Write, sync::Arc, time::Duration};

fn write(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing into memory cannot fail");
}

/// Writes a dispatch after [oddities](crate::odd) changed it. Returns it with the number of copies to send.
pub(crate) fn dispatch(hub: &Hub, params: &SessionParams, sequence: u64, event: &Event) -> (Vec<u8>, u32) {
    let mut out = Vec::with_capacity(1_024);
    write(&mut out, format_args!(r#"{{"t":"{}","s":{sequence},"op":0,"d":"#, event.name()));
    let start = out.len();
    let voice = match event {
        Event::GuildCreate { guild, .. } => hub.voice(*guild),
        _ => Arc::default(),
    };
    event.write_body(&hub.world, &hub.server, &voice, params, &mut out);
    let guild = event.guild().map(|guild| hub.world.head(guild).id);
    if let (Event::GuildCreate { .. }, Some(shape), Some(guild)) = (event, &hub.config.shape_guild, guild) {
        let body = out.split_off(start);
        out.extend_from_slice(&shape(guild, body));
    }
    let copies = hub.odd.patch(event, guild, params.shard, &mut out, start);
    out.push(b'}');
    (out, copies)
}

fn without_sequence(op: u8, d: &str) -> Vec<u8> {
    format!(r#"{{"t":null,"s":null,"op":{op},"d":{d}}}"#).into_bytes()
}

/// HELLO, op 10.
pub(crate) fn hello(interval: Duration) -> Vec<u8> {
    let interval = interval.as_millis();
    without_sequence(
        10,
        &format!(r#"{{"heartbeat_interval":{interval},"_trace":["[\"discord-sim\",{{}}]"]}}"#),
    )
}

/// Heartbeat ACK, op 11.
pub(crate) fn heartbeat_ack() -> Vec<u8> {
    without_sequence(11, "null")
}

/// Op 1: asks the client for a heartbeat at once.
pub(crate) fn heartbeat() -> Vec<u8> {
    without_sequence(1, "null")
}

/// Reconnect, op 7.
pub(crate) fn reconnect() -> Vec<u8> {
    without_sequence(7, "null")
}

/// Invalid session, op 9.
pub(crate) fn invalid_session(resumable: bool) -> Vec<u8> {
    without_sequence(9, if resumable { "true" } else { "false" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ShapeGuild, Shard, SimConfig, intents::Intents};

    fn text(bytes: Vec<u8>) -> String {
        let text = String::from_utf8(bytes).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text
    }

    fn params() -> SessionParams {
        SessionParams {
            session_id: "s".into(),
            shard: Shard { number: 0, total: 1 },
            intents: Intents::ALL,
            large_threshold: 50,
            names_shard: true,
        }
    }

    #[test]
    fn guilds_are_shaped() {
        let shape: ShapeGuild = Arc::new(|id, body| {
            let text = String::from_utf8(body).unwrap();
            assert!(text.contains(&format!("\"id\":\"{id}\"")));
            br#"{"shaped":true}"#.to_vec()
        });
        let config = SimConfig { guilds: 1, shape_guild: Some(shape), ..SimConfig::default() };
        let hub = Hub::new(config, "ws://x".into());
        let sent = |event| text(dispatch(&hub, &params(), 7, &event).0);
        let guild = sent(Event::GuildCreate { guild: 0, just_joined: false });
        assert_eq!(guild, r#"{"t":"GUILD_CREATE","s":7,"op":0,"d":{"shaped":true}}"#);
        assert!(!sent(Event::GuildDelete { guild: 0, outage: true }).contains("shaped"));
    }

    #[test]
    fn keys_are_in_discords_order() {
        let hub = Hub::new(SimConfig { guilds: 1, ..SimConfig::default() }, "ws://x".into());
        let sent = text(dispatch(&hub, &params(), 7, &Event::GuildCreate { guild: 0, just_joined: false }).0);
        assert!(sent.starts_with(r#"{"t":"GUILD_CREATE","s":7,"op":0,"d":{"#), "{sent}");
        let hello = text(hello(Duration::from_millis(41_250)));
        assert!(
            hello.starts_with(r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250,"#),
            "{hello}"
        );
        assert_eq!(text(invalid_session(false)), r#"{"t":null,"s":null,"op":9,"d":false}"#);
    }
}

//! The frame around every payload.
//!
//! Keys are in the order t, s, op, d, as live: clients find the first three by searching the text.

use crate::{event::Event, event::Sight, hub::Hub};
use std::{io::Write, sync::Arc, time::Duration};

fn write(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("memory takes every write");
}

/// A dispatch as [oddities](crate::odd) change it, and how often it is sent.
pub(crate) fn dispatch(hub: &Hub, sight: &Sight, sequence: u64, event: &Event) -> (Vec<u8>, u32) {
    let mut out = Vec::with_capacity(1_024);
    write(&mut out, format_args!(r#"{{"t":"{}","s":{sequence},"op":0,"d":"#, event.name()));
    let start = out.len();
    let voice = match event {
        Event::GuildCreate { guild, .. } => hub.voice(*guild),
        _ => Arc::default(),
    };
    event.write_body(&hub.world, &hub.origin, &voice, sight, &mut out);
    let guild = event.guild().map(|guild| hub.world.head(guild).id);
    let copies = hub.odd.patch(event, guild, sight.shard, &mut out, start);
    out.push(b'}');
    (out, copies)
}

fn without_sequence(op: u8, d: &str) -> Vec<u8> {
    format!(r#"{{"t":null,"s":null,"op":{op},"d":{d}}}"#).into_bytes()
}

/// Op 10.
pub(crate) fn hello(interval: Duration) -> Vec<u8> {
    let interval = interval.as_millis();
    without_sequence(
        10,
        &format!(r#"{{"heartbeat_interval":{interval},"_trace":["[\"discord-sim\",{{}}]"]}}"#),
    )
}

/// Op 11.
pub(crate) fn heartbeat_ack() -> Vec<u8> {
    without_sequence(11, "null")
}

/// Op 1: the client shall beat at once.
pub(crate) fn heartbeat() -> Vec<u8> {
    without_sequence(1, "null")
}

/// Op 7.
pub(crate) fn reconnect() -> Vec<u8> {
    without_sequence(7, "null")
}

/// Op 9.
pub(crate) fn invalid_session(resumable: bool) -> Vec<u8> {
    without_sequence(9, if resumable { "true" } else { "false" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shard, SimConfig, intents::Intents};

    fn text(bytes: Vec<u8>) -> String {
        let text = String::from_utf8(bytes).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text
    }

    #[test]
    fn keys_come_in_the_order_that_clients_search_for() {
        let hub = Hub::new(SimConfig { guilds: 1, ..SimConfig::default() }, "ws://x".into());
        let sight = Sight {
            session_id: "s".into(),
            shard: Shard { number: 0, total: 1 },
            intents: Intents::ALL,
            large_threshold: 50,
            names_shard: true,
        };
        let sent = text(dispatch(&hub, &sight, 7, &Event::GuildCreate { guild: 0, just_joined: false }).0);
        assert!(sent.starts_with(r#"{"t":"GUILD_CREATE","s":7,"op":0,"d":{"#), "{sent}");
        let hello = text(hello(Duration::from_millis(41_250)));
        assert!(
            hello.starts_with(r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250,"#),
            "{hello}"
        );
        assert_eq!(text(invalid_session(false)), r#"{"t":null,"s":null,"op":9,"d":false}"#);
    }
}

//! Payloads for clients, as text, with the keys in Discord's order `t`, `s`, `op`, `d`: some libraries search the text for them. Pure.
//! [Source](https://docs.discord.com/developers/events/gateway-events#payload-structure).

use std::fmt::Write as _;

use serde_json::json;

/// The interval of heartbeats, in milliseconds: what Discord says.
pub(crate) const HEARTBEAT_INTERVAL_MS: u64 = 41_250;

/// Opcode 10.
pub(crate) fn hello() -> String {
    format!(
        r#"{{"t":null,"s":null,"op":10,"d":{{"heartbeat_interval":{HEARTBEAT_INTERVAL_MS},"_trace":["altergolden"]}}}}"#
    )
}

/// Opcode 11, the answer to a heartbeat.
pub(crate) fn heartbeat_ack() -> String {
    r#"{"t":null,"s":null,"op":11,"d":null}"#.to_owned()
}

/// Opcode 7: the client connects again and resumes.
pub(crate) fn reconnect() -> String {
    r#"{"t":null,"s":null,"op":7,"d":null}"#.to_owned()
}

/// Opcode 9: the client identifies again.
pub(crate) fn invalid_session() -> String {
    r#"{"t":null,"s":null,"op":9,"d":false}"#.to_owned()
}

/// A dispatch. `data` is JSON.
pub(crate) fn dispatch(name: &str, sequence: u64, data: &str) -> String {
    let mut text = String::with_capacity(data.len() + name.len() + 48);
    // Names from Redis are checked by the relay: A-Z, 0-9 and _.
    let _ = write!(text, r#"{{"t":"{name}","s":{sequence},"op":0,"d":{data}}}"#);
    text
}

/// What READY says.
pub(crate) struct Ready<'a> {
    /// The bot's user, as JSON.
    pub(crate) user: &'a str,
    /// The application, as JSON.
    pub(crate) application: &'a str,
    /// The guilds of the client's shard.
    pub(crate) guilds: &'a [u64],
    /// Id of the session.
    pub(crate) session_id: &'a str,
    /// Where the client resumes.
    pub(crate) resume_url: &'a str,
    /// Number and total of the client's shard.
    pub(crate) shard: (u32, u32),
}

/// The data of READY ([Ready](https://docs.discord.com/developers/events/gateway-events#ready)).
pub(crate) fn ready(ready: &Ready<'_>) -> String {
    let mut guilds = String::with_capacity(ready.guilds.len() * 48);
    for guild in ready.guilds {
        if !guilds.is_empty() {
            guilds.push(',');
        }
        let _ = write!(guilds, r#"{{"id":"{guild}","unavailable":true}}"#);
    }
    let Ready { user, application, shard: (number, total), .. } = ready;
    let (session_id, resume_url) = (json!(ready.session_id), json!(ready.resume_url));
    format!(
        r#"{{"v":10,"user_settings":{{}},"user":{user},"session_type":"normal","session_id":{session_id},"resume_gateway_url":{resume_url},"relationships":[],"private_channels":[],"presences":[],"guilds":[{guilds}],"guild_join_requests":[],"geo_ordered_rtc_regions":[],"shard":[{number},{total}],"application":{application},"_trace":["altergolden"]}}"#
    )
}

/// The data of RESUMED.
pub(crate) const RESUMED: &str = r#"{"_trace":["altergolden"]}"#;

/// The data of a GUILD_DELETE for an outage.
pub(crate) fn outage(guild: u64) -> String {
    format!(r#"{{"id":"{guild}","unavailable":true}}"#)
}

/// The data of a GUILD_DELETE for a guild that the bot is no longer in.
pub(crate) fn left(guild: u64) -> String {
    format!(r#"{{"id":"{guild}"}}"#)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn payloads_are_json_with_discords_order_of_keys() {
        let ready = ready(&Ready {
            user: r#"{"id":"7"}"#,
            application: r#"{"id":"7","flags":0}"#,
            guilds: &[1, 2],
            session_id: "a\"b",
            resume_url: "ws://127.0.0.1:1",
            shard: (0, 2),
        });
        for text in [
            hello(),
            heartbeat_ack(),
            reconnect(),
            invalid_session(),
            dispatch("READY", 1, &ready),
            dispatch("RESUMED", 9, RESUMED),
            dispatch("GUILD_DELETE", 2, &outage(5)),
            dispatch("GUILD_DELETE", 2, &left(5)),
        ] {
            let payload: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(payload.as_object().unwrap().len(), 4, "{text}");
            let places = ["\"t\":", "\"s\":", "\"op\":", "\"d\":"].map(|key| text.find(key).unwrap());
            assert!(places.is_sorted(), "{text}");
        }
        let ready: Value = serde_json::from_str(&ready).unwrap();
        assert_eq!((&ready["session_id"], &ready["guilds"][1]["id"]), (&"a\"b".into(), &"2".into()));
    }
}

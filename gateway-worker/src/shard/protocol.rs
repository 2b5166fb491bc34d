//! The gateway protocol of a connection: its settings, IDENTIFY, RESUME, and the meaning of close codes.

use std::time::Duration;

use serde_json::json;
use twilight_model::gateway::Intents;

use crate::{gateway_address::Gateway, shard_state::ShardState};

/// What every connection of a worker needs.
#[derive(Debug)]
pub(crate) struct GatewaySettings {
    pub(crate) token: process::settings::Secret,
    pub(crate) intents: Intents,
    pub(crate) gateway: Gateway,
    pub(crate) compression: GatewayCompression,
}

/// How gateway connections are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GatewayCompression {
    /// zstd-stream: the least traffic.
    #[cfg(feature = "zstd")]
    #[default]
    #[value(name = "zstd-stream")]
    Zstd,
    /// zlib-stream: less memory.
    #[value(name = "zlib-stream")]
    Zlib,
    /// Not at all: about five times the traffic.
    #[cfg_attr(not(feature = "zstd"), default)]
    None,
}

impl GatewayCompression {
    /// The transport of sessions that were opened with this compression. A worker that resumes a session must use the same transport.
    pub(crate) fn transport(self) -> &'static str {
        match self {
            #[cfg(feature = "zstd")]
            Self::Zstd => "json+zstd-stream",
            Self::Zlib => "json+zlib-stream",
            Self::None => "json",
        }
    }

    /// The query of the gateway's URL.
    pub(crate) fn query(self) -> &'static str {
        match self {
            #[cfg(feature = "zstd")]
            Self::Zstd => "v=10&encoding=json&compress=zstd-stream",
            Self::Zlib => "v=10&encoding=json&compress=zlib-stream",
            Self::None => "v=10&encoding=json",
        }
    }
}

/// Discord sends larger guilds without their offline members.
const LARGE_GUILD: u64 = 250;
/// Accepted heartbeat intervals in milliseconds. Discord's is about 41 s; at 500 ms heartbeats use up its whole send
/// limit.
const INTERVALS: std::ops::RangeInclusive<u64> = 500..=600_000;
/// The longest interval used. Only heartbeats show that a quiet connection is alive.
const LONGEST_INTERVAL: u64 = 60_000;

impl GatewaySettings {
    /// Returns IDENTIFY for a shard.
    pub(super) fn identify(&self, shard: &ShardState) -> String {
        let identify = json!({
            "op": 2,
            "d": {
                "token": self.bot_token(),
                "intents": self.intents.bits(),
                "shard": [shard.key().number(), shard.key().total()],
                "large_threshold": LARGE_GUILD,
                "compress": false,
                "capabilities": 0,
                "properties": { "os": std::env::consts::OS, "browser": "altergolden", "device": "altergolden" },
            },
        });
        identify.to_string()
    }

    /// Returns RESUME of a session after the event `sequence`.
    pub(super) fn resume(&self, session_id: &str, sequence: u64) -> String {
        let resume = json!({
            "op": 6,
            "d": { "token": self.bot_token(), "session_id": session_id, "seq": sequence },
        });
        resume.to_string()
    }

    fn bot_token(&self) -> String {
        let token = self.token.expose();
        if token.starts_with("Bot ") { token.to_owned() } else { format!("Bot {token}") }
    }
}

/// Reads the heartbeat interval of HELLO, shortened to a minute; `None` when it is missing or out of range.
pub(super) fn heartbeat_interval(hello: &str) -> Option<Duration> {
    #[derive(serde::Deserialize)]
    struct Hello {
        d: Data,
    }
    #[derive(serde::Deserialize)]
    struct Data {
        heartbeat_interval: u64,
    }
    let Hello { d: Data { heartbeat_interval } } = serde_json::from_str(hello).ok()?;
    INTERVALS
        .contains(&heartbeat_interval)
        .then(|| Duration::from_millis(heartbeat_interval.min(LONGEST_INTERVAL)))
}

/// Whether an invalid session (op 9) may be resumed; false when that cannot be read.
pub(super) fn is_resumable(invalid_session: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct InvalidSession {
        d: bool,
    }
    serde_json::from_str(invalid_session).is_ok_and(|InvalidSession { d }| d)
}

/// What a close code means, when it is one after which Discord takes no reconnect: the settings or the token are wrong
/// ([codes](https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes)).
pub(super) fn fatal_meaning(code: u16) -> Option<&'static str> {
    match code {
        4004 => Some("the token was refused: check DISCORD_TOKEN"),
        4010 => Some("the shard number or total was refused: check SHARD_COUNT"),
        4011 => Some("there are too many guilds for one shard: raise SHARD_COUNT"),
        4012 => Some("the gateway version was refused"),
        4013 => Some("an intent was refused as unknown: check INTENTS"),
        4014 => Some(
            "an intent was refused: enable it for the application in Discord's developer portal, or take it out of INTENTS",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_heartbeat_interval_is_refused() {
        for (data, interval) in [
            (r#"{"heartbeat_interval":41250}"#, Some(41_250)),
            (r#"{"heartbeat_interval":500,"_trace":["x"]}"#, Some(500)),
            (r#"{"heartbeat_interval":60001}"#, Some(60_000)),
            (r#"{"heartbeat_interval":600000}"#, Some(60_000)),
            (r#"{"heartbeat_interval":0}"#, None),
            (r#"{"heartbeat_interval":1}"#, None),
            (r#"{"heartbeat_interval":499}"#, None),
            (r#"{"heartbeat_interval":600001}"#, None),
            (r#"{"heartbeat_interval":-41250}"#, None),
            (r#"{"heartbeat_interval":41250.5}"#, None),
            (r#"{"heartbeat_interval":1e300}"#, None),
            (r#"{"heartbeat_interval":9223372036854775808}"#, None),
            (r#"{"heartbeat_interval":18446744073709551616}"#, None),
            (r#"{"heartbeat_interval":"41250"}"#, None),
            (r#"{"heartbeat_interval":null}"#, None),
            (r#"{"heartbeat_interval":[]}"#, None),
            ("{}", None),
            ("null", None),
            ("[]", None),
        ] {
            let hello = format!(r#"{{"t":null,"s":null,"op":10,"d":{data}}}"#);
            assert_eq!(heartbeat_interval(&hello), interval.map(Duration::from_millis), "{data}");
        }
        for hello in ["", "{", r#"{"op":10}"#] {
            assert_eq!(heartbeat_interval(hello), None, "{hello}");
        }
    }

    #[test]
    fn session_is_resumable_only_when_discord_says_so() {
        for (data, resumable) in
            [("true", true), ("false", false), ("null", false), ("1", false), (r#""true""#, false)]
        {
            assert_eq!(is_resumable(&format!(r#"{{"op":9,"d":{data}}}"#)), resumable, "{data}");
        }
        assert!(!is_resumable(r#"{"op":9}"#));
    }
}

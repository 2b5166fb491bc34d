//! Client payloads, parsed strictly.

use crate::{
    intents::Intents,
    request::{OwnPresence, Request},
    shard::Shard,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// Longest payload in bytes; a longer one is closed with 4002.
/// [Source](https://docs.discord.com/developers/events/gateway#sending-events).
const PAYLOAD_BYTES: usize = 4_096;

/// A bot token, hidden from `Debug`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct BotToken(pub(crate) String);

impl std::fmt::Debug for BotToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("BotToken(..)")
    }
}

/// IDENTIFY.
#[derive(Clone)]
pub(crate) struct Identify {
    pub(crate) token: BotToken,
    pub(crate) shard: Shard,
    /// Whether the client sent a shard; without one it is shard 0 of 1.
    pub(crate) names_shard: bool,
    pub(crate) intents: Intents,
    pub(crate) large_threshold: u64,
    /// Whether payload compression is requested.
    pub(crate) compress: bool,
    pub(crate) presence: Option<OwnPresence>,
}

/// RESUME.
#[derive(Clone, Deserialize)]
pub(crate) struct Resume {
    pub(crate) token: BotToken,
    pub(crate) session_id: String,
    pub(crate) seq: u64,
}

/// A client's payload.
pub(crate) enum Payload {
    Heartbeat(Option<u64>),
    Identify(Identify),
    Resume(Resume),
    /// A request of an identified client, or why it is malformed.
    Request(Result<Request, String>),
    UnknownOpcode(u64),
    /// A malformed payload, with the reason.
    Undecodable(String),
}

#[derive(Deserialize)]
struct Envelope {
    op: u64,
    #[serde(default)]
    d: Value,
}

#[derive(Deserialize)]
struct IdentifyBody {
    token: BotToken,
    #[serde(rename = "properties")]
    _properties: serde_json::Map<String, Value>,
    intents: u64,
    shard: Option<Shard>,
    large_threshold: Option<u64>,
    compress: Option<bool>,
    presence: Option<OwnPresence>,
}

impl Payload {
    /// Parses a frame.
    pub(crate) fn parse(frame: &[u8]) -> Self {
        if frame.len() > PAYLOAD_BYTES {
            return Self::Undecodable(format!("{} bytes; the limit is {PAYLOAD_BYTES}", frame.len()));
        }
        let envelope: Envelope = match serde_json::from_slice(frame) {
            Ok(envelope) => envelope,
            Err(error) => return Self::Undecodable(format!("not a gateway payload: {error}")),
        };
        match envelope.op {
            1 => body(envelope.d, Self::Heartbeat),
            2 => body(envelope.d, |body: IdentifyBody| {
                let large_threshold = body.large_threshold.unwrap_or(50);
                if !(50..=250).contains(&large_threshold) {
                    return Self::Undecodable(format!(
                        "large_threshold {large_threshold} is not from 50 to 250"
                    ));
                }
                Self::Identify(Identify {
                    token: without_prefix(body.token),
                    names_shard: body.shard.is_some(),
                    shard: body.shard.unwrap_or(Shard { number: 0, total: 1 }),
                    intents: Intents(body.intents),
                    large_threshold,
                    compress: body.compress.unwrap_or(false),
                    presence: body.presence,
                })
            }),
            6 => body(envelope.d, |body: Resume| {
                Self::Resume(Resume { token: without_prefix(body.token), ..body })
            }),
            3 => request(envelope.d, Request::Presence),
            4 => request(envelope.d, Request::Voice),
            8 => request(envelope.d, Request::Members),
            31 => request(envelope.d, Request::Sounds),
            43 => request(envelope.d, Request::ChannelInfo),
            op => Self::UnknownOpcode(op),
        }
    }
}

/// Removes the prefix "Bot ", which twilight sends and discord.js does not.
fn without_prefix(BotToken(token): BotToken) -> BotToken {
    BotToken(token.strip_prefix("Bot ").map(str::to_owned).unwrap_or(token))
}

fn body<T: DeserializeOwned>(d: Value, make: impl FnOnce(T) -> Payload) -> Payload {
    serde_json::from_value(d).map_or_else(|error| Payload::Undecodable(format!("d: {error}")), make)
}

fn request<T: DeserializeOwned>(d: Value, make: impl FnOnce(T) -> Request) -> Payload {
    Payload::Request(serde_json::from_value(d).map(make).map_err(|error| format!("d: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twilights_identify_is_parsed() {
        let frame =
            br#"{"d":{"capabilities":0,"compress":false,"intents":1,"large_threshold":50,"presence":null,
            "properties":{"browser":"twilight.rs","device":"twilight.rs","os":"linux"},"shard":[0,1],
            "token":"Bot tok"},"op":2}"#;
        let Payload::Identify(identify) = Payload::parse(frame) else { panic!("not an IDENTIFY") };
        assert_eq!((identify.token.0.as_str(), identify.intents), ("tok", Intents::GUILDS));
        assert_eq!(identify.shard, Shard { number: 0, total: 1 });
    }

    #[test]
    fn heartbeats_carry_a_sequence_or_null() {
        assert!(matches!(Payload::parse(br#"{"op":1,"d":7}"#), Payload::Heartbeat(Some(7))));
        assert!(matches!(Payload::parse(br#"{"op":1,"d":null}"#), Payload::Heartbeat(None)));
        assert!(matches!(Payload::parse(br#"{"op":1,"d":"x"}"#), Payload::Undecodable(_)));
    }

    #[test]
    fn malformed_payloads_and_unknown_opcodes_differ() {
        assert!(matches!(Payload::parse(b"hello"), Payload::Undecodable(_)));
        assert!(matches!(Payload::parse(br#"{"op":2,"d":{"token":"t"}}"#), Payload::Undecodable(_)));
        assert!(matches!(Payload::parse(br#"{"op":99}"#), Payload::UnknownOpcode(99)));
        let long = format!(r#"{{"op":3,"d":"{}"}}"#, "x".repeat(4_096));
        assert!(matches!(Payload::parse(long.as_bytes()), Payload::Undecodable(_)));
    }
}

//! What clients send. Pure. [Source](https://docs.discord.com/developers/events/gateway-events#send-events).

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::session::ClientShard;

/// The largest payload that Discord takes from a client; a larger one closes the connection.
pub(crate) const LARGEST: usize = 4096;

/// Close codes. Libraries connect again after 4000, and give up after the others.
pub(crate) mod close {
    pub(crate) const TRANSIENT: u16 = 4000;
    pub(crate) const AUTHENTICATION_FAILED: u16 = 4004;
    pub(crate) const INVALID_SHARD: u16 = 4010;
    pub(crate) const INVALID_VERSION: u16 = 4012;
    pub(crate) const INVALID_INTENTS: u16 = 4013;
    pub(crate) const DISALLOWED_INTENTS: u16 = 4014;
}

/// A message of a client.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    Heartbeat,
    Identify(Box<Identify>),
    Resume {
        token: String,
        session_id: String,
        sequence: u64,
    },
    /// Opcode 3, 4, 8, 31 or 43.
    Command {
        op: u8,
        data: Value,
    },
    /// Another opcode, which the fleet does not send.
    Other(u64),
}

/// An IDENTIFY.
#[derive(Debug, PartialEq)]
pub(crate) struct Identify {
    pub(crate) token: String,
    pub(crate) shard: Option<ClientShard>,
    pub(crate) intents: u64,
    pub(crate) large_threshold: u8,
    /// The client wants large payloads compressed one by one.
    pub(crate) compress: bool,
    pub(crate) presence: Option<Value>,
}

/// Why a message cannot be taken: the close code, and for people why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidMessage(pub(crate) u16, pub(crate) &'static str);

#[derive(Deserialize)]
struct Payload<'a> {
    op: u64,
    #[serde(borrow, default)]
    d: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct IdentifyData {
    token: String,
    #[serde(default)]
    shard: Option<(u32, u32)>,
    intents: Option<u64>,
    #[serde(default)]
    large_threshold: Option<u64>,
    #[serde(default)]
    compress: Option<bool>,
    #[serde(default)]
    presence: Option<Value>,
}

#[derive(Deserialize)]
struct ResumeData {
    token: String,
    session_id: String,
    seq: Option<u64>,
}

/// Reads a message.
pub(crate) fn read(text: &[u8]) -> Result<Message, InvalidMessage> {
    const MALFORMED: InvalidMessage = InvalidMessage(close::TRANSIENT, "malformed payload");
    if text.len() > LARGEST {
        return Err(InvalidMessage(close::TRANSIENT, "payloads have at most 4096 bytes"));
    }
    let payload: Payload<'_> = serde_json::from_slice(text).map_err(|_| MALFORMED)?;
    let data = payload.d.map_or("null", RawValue::get);
    match payload.op {
        1 => Ok(Message::Heartbeat),
        2 => {
            let data: IdentifyData = serde_json::from_str(data).map_err(|_| MALFORMED)?;
            let shard = match data.shard {
                None => None,
                Some((number, total)) => Some(
                    ClientShard::new(number, total)
                        .ok_or(InvalidMessage(close::INVALID_SHARD, "invalid shard"))?,
                ),
            };
            let intents =
                data.intents.ok_or(InvalidMessage(close::INVALID_INTENTS, "intents are missing"))?;
            Ok(Message::Identify(Box::new(Identify {
                token: data.token,
                shard,
                intents,
                large_threshold: data.large_threshold.unwrap_or(50).clamp(50, 250) as u8,
                compress: data.compress.unwrap_or(false),
                presence: data.presence.filter(|presence| !presence.is_null()),
            })))
        }
        6 => {
            let data: ResumeData = serde_json::from_str(data).map_err(|_| MALFORMED)?;
            let sequence = data.seq.unwrap_or(0);
            Ok(Message::Resume { token: data.token, session_id: data.session_id, sequence })
        }
        op @ (3 | 4 | 8 | 31 | 43) => {
            let data = serde_json::from_str(data).map_err(|_| MALFORMED)?;
            Ok(Message::Command { op: op as u8, data })
        }
        op => Ok(Message::Other(op)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_of_the_libraries_are_read() {
        // discord.js, and twilight with its keys in another order.
        for text in [
            r#"{"op":2,"d":{"token":"t","properties":{},"intents":33281,"large_threshold":50,"shard":[1,4],"presence":{"activities":[],"afk":false,"since":null,"status":"online"}}}"#,
            r#"{"d":{"capabilities":0,"compress":false,"intents":33281,"large_threshold":50,"presence":null,"properties":{},"shard":[1,4],"token":"t"},"op":2}"#,
        ] {
            let Message::Identify(identify) = read(text.as_bytes()).unwrap() else { panic!("{text}") };
            assert_eq!((identify.shard, identify.intents), (ClientShard::new(1, 4), 33_281));
        }
        let resume = r#"{"op":6,"d":{"token":"t","session_id":"s","seq":7}}"#;
        let wanted = Message::Resume { token: "t".to_owned(), session_id: "s".to_owned(), sequence: 7 };
        assert_eq!(read(resume.as_bytes()), Ok(wanted));
        assert_eq!(read(br#"{"op":1,"d":null}"#), Ok(Message::Heartbeat));
        assert_eq!(read(br#"{"op":30,"d":{}}"#), Ok(Message::Other(30)));
        assert_eq!(
            read(br#"{"op":4,"d":{"guild_id":"1"}}"#)
                .map(|message| matches!(message, Message::Command { op: 4, .. })),
            Ok(true)
        );
    }

    #[test]
    fn wrong_messages_have_discords_close_codes() {
        let code = |text: &str| read(text.as_bytes()).unwrap_err().0;
        assert_eq!(code(r#"{"op":2,"d":{"token":"t","intents":1,"shard":[4,4]}}"#), close::INVALID_SHARD);
        assert_eq!(code(r#"{"op":2,"d":{"token":"t"}}"#), close::INVALID_INTENTS);
        for malformed in ["", "{", "[]", r#"{"op":"2"}"#, r#"{"op":2,"d":null}"#, r#"{"op":-1}"#] {
            assert_eq!(code(malformed), close::TRANSIENT, "{malformed}");
        }
        assert_eq!(code(&format!(r#"{{"op":1,"d":"{}"}}"#, "x".repeat(LARGEST))), close::TRANSIENT);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }
}

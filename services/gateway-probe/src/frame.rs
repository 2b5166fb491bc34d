//! Reads one payload of the gateway: what it is, and how it is written. Pure.
//!
//! Only facts are kept: the order of keys, a hash of the data's bytes, and the ids by which two deliveries of one event are matched,
//! as a hash too. READY's session is read where it is needed and never kept here.

use guild_cache::{Broken, Scan};
use ring::digest::{SHA256, digest};
use serde::Deserialize;

/// Longest list of keys that is kept.
const MOST_KEYS: usize = 8;
/// Longest name of an event or a key.
const LONGEST_NAME: usize = 64;
/// Fields of the data that tell one event from another of the same name.
const IDENTITY: [&str; 8] =
    ["id", "guild_id", "channel_id", "message_id", "user_id", "timestamp", "nonce", "edited_timestamp"];

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// Where `guild_id` is in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum GuildPlace {
    /// The data has none.
    Absent,
    Last,
    /// Other fields follow.
    Earlier,
}

/// A payload.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) op: u64,
    pub(crate) sequence: Option<u64>,
    /// The event's name; empty for other payloads.
    pub(crate) name: String,
    /// The keys of the envelope in their order, as in `t,s,op,d`.
    pub(crate) keys: String,
    /// Hash of the data as it was written.
    pub(crate) bytes: Hash,
    /// Hash of the event's name and ids.
    pub(crate) identity: Hash,
    pub(crate) guild_place: GuildPlace,
    /// The guild; only reports that were asked to name guilds show it.
    pub(crate) guild: Option<u64>,
    /// The data itself, except of dispatches other than READY.
    pub(crate) data: String,
}

/// What READY says.
#[derive(Debug, Deserialize)]
pub(crate) struct Ready {
    pub(crate) session_id: String,
    pub(crate) resume_gateway_url: String,
    #[serde(default)]
    pub(crate) guilds: Vec<ReadyGuild>,
    pub(crate) user: ReadyUser,
}

/// A guild of READY.
#[derive(Debug, Deserialize)]
pub(crate) struct ReadyGuild {
    pub(crate) id: String,
}

/// The bot.
#[derive(Debug, Deserialize)]
pub(crate) struct ReadyUser {
    pub(crate) id: String,
}

impl Frame {
    /// Reads a payload; `None` if it is not a JSON object with a numeric `op`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::scan(text).ok().flatten()
    }

    fn scan(text: &str) -> Result<Option<Self>, Broken> {
        let mut scan = Scan::new(text);
        scan.enter_object()?;
        let (mut op, mut sequence, mut name, mut keys) = (None, None, String::new(), Vec::new());
        let mut data = Data::default();
        let mut data_text = "";
        let mut is_first = true;
        while let Some(key) = scan.next_key(&mut is_first)? {
            if keys.len() < MOST_KEYS {
                keys.push(key.chars().take(LONGEST_NAME).collect::<String>());
            }
            match key {
                "op" => op = scan.value()?.text.parse().ok(),
                "s" => sequence = scan.value()?.text.parse().ok(),
                "t" => name = serde_json::from_str(scan.value()?.text).unwrap_or_default(),
                "d" => {
                    scan.peek();
                    let from = scan.offset();
                    data = Data::read(&mut scan)?;
                    data_text = &text[from..scan.offset()];
                }
                _ => drop(scan.value()?),
            }
        }
        scan.end()?;
        let Some(op) = op else { return Ok(None) };
        let name: String = name.chars().take(LONGEST_NAME).collect();
        Ok(Some(Self {
            op,
            sequence,
            keys: keys.join(","),
            bytes: hash(data_text.as_bytes()),
            identity: hash(format!("{name}\n{}", data.identity.join("\n")).as_bytes()),
            guild_place: data.guild_place,
            guild: data.guild,
            data: if op != 0 || name == "READY" { data_text.to_owned() } else { String::new() },
            name,
        }))
    }

    /// The milliseconds of HELLO.
    pub(crate) fn heartbeat_interval(&self) -> Option<u64> {
        let hello: serde_json::Value = serde_json::from_str(&self.data).ok()?;
        hello["heartbeat_interval"].as_u64()
    }

    /// What READY says.
    pub(crate) fn ready(&self) -> Option<Ready> {
        if self.name == "READY" { serde_json::from_str(&self.data).ok() } else { None }
    }
}

/// What is read of `d`.
#[derive(Debug)]
struct Data {
    /// The values of [`IDENTITY`], in any order of writing.
    identity: [String; IDENTITY.len()],
    guild_place: GuildPlace,
    guild: Option<u64>,
}

impl Default for Data {
    fn default() -> Self {
        Self { identity: Default::default(), guild_place: GuildPlace::Absent, guild: None }
    }
}

impl Data {
    fn read(scan: &mut Scan<'_>) -> Result<Self, Broken> {
        let mut data = Self::default();
        if scan.peek() != Some(b'{') {
            scan.value()?;
            return Ok(data);
        }
        scan.enter_object()?;
        let mut is_first = true;
        while let Some(key) = scan.next_key(&mut is_first)? {
            let value = scan.value()?.text;
            if data.guild_place == GuildPlace::Last {
                data.guild_place = GuildPlace::Earlier;
            }
            if key == "guild_id" {
                data.guild_place = GuildPlace::Last;
                data.guild = value.trim_matches('"').parse().ok();
            }
            if let Some(place) = IDENTITY.iter().position(|name| *name == key) {
                value.clone_into(&mut data.identity[place]);
            }
        }
        Ok(data)
    }
}

fn hash(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_keys_and_place_of_the_guild_are_read() {
        let read = |text: &str| Frame::read(text).unwrap();
        let frame =
            read(r#"{"t":"MESSAGE_CREATE","s":7,"op":0,"d":{"id":"1","content":"{}","guild_id":"5"}}"#);
        assert_eq!((frame.op, frame.sequence, frame.name.as_str()), (0, Some(7), "MESSAGE_CREATE"));
        assert_eq!(
            (frame.keys.as_str(), frame.guild_place, frame.guild),
            ("t,s,op,d", GuildPlace::Last, Some(5))
        );
        let other =
            read(r#"{"op":0,"d":{"guild_id":"5","id":"1","content":"{}"},"s":7,"t":"MESSAGE_CREATE"}"#);
        assert_eq!((other.keys.as_str(), other.guild_place), ("op,d,s,t", GuildPlace::Earlier));
        assert_ne!(frame.bytes, other.bytes);
        let nested = read(r#"{"op":0,"d":{"x":{"guild_id":"5"}}}"#);
        assert_eq!(nested.guild_place, GuildPlace::Absent);
        assert_eq!(read(r#"{"t":null,"s":null,"op":9,"d":false}"#).data, "false");
    }

    #[test]
    fn deliveries_of_one_event_have_one_identity() {
        let of = |data: &str| Frame::read(&format!(r#"{{"t":"X","s":1,"op":0,"d":{data}}}"#)).unwrap();
        let (one, again, other) =
            (of(r#"{"id":"1","a":1}"#), of(r#"{"id":"1","a":2}"#), of(r#"{"id":"2","a":1}"#));
        assert!(one.identity == again.identity && one.bytes != again.bytes);
        assert_ne!(one.identity, other.identity);
        assert_eq!(of(r#"{"a":1,"id":"1"}"#).identity, one.identity);
        assert_eq!(of(r#"{"id":"1","guild_id":"5"}"#).identity, of(r#"{"guild_id":"5","id":"1"}"#).identity);
    }

    #[test]
    fn malformed_text_is_none() {
        for text in ["", "[]", "{", r#"{"op":"x"}"#, r#"{"t":"A"}"#, r#"{"op":0,"d":{"a":}}"#] {
            assert!(Frame::read(text).is_none(), "{text}");
        }
        assert_eq!(
            Frame::read(r#"{"op":10,"d":{"heartbeat_interval":41250}}"#).unwrap().heartbeat_interval(),
            Some(41_250)
        );
    }
}

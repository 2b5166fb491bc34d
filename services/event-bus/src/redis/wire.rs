//! What a broadcast looks like in Redis, and the names of its keys and channels.
//!
//! Anyone may write to Redis: nothing here trusts what it reads.

use std::{str::FromStr, sync::Arc};

use fleet_model::ShardSlot;
use redis_link::KeyPrefix;
use serde::{Deserialize, Serialize};

use super::position::{Stamp, StreamId};
use crate::{Message, MessageId, NewMessage, Recipient};

/// Keys and channels of one bus. All keys are in one cluster slot, by the prefix as their hash tag.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Stream: the latest broadcasts.
    pub(super) stream: String,
    /// Hash: the stream's generation, last sequence and last id.
    pub(super) state: String,
    /// Channel: broadcasts as they are made.
    pub(super) broadcasts: String,
    /// Beginning of each channel for acknowledgements, of any process.
    acknowledgements: String,
    /// This process, as no other is called.
    process: String,
    /// Beginning of this process's own.
    own_acknowledgements: String,
}

impl Names {
    pub(super) fn new(prefix: &KeyPrefix, process: &str) -> Self {
        Self {
            stream: format!("{{{prefix}}}:broadcasts"),
            state: format!("{{{prefix}}}:broadcasts:state"),
            broadcasts: format!("{prefix}:broadcasts"),
            acknowledgements: format!("{prefix}:acks:"),
            process: process.to_owned(),
            own_acknowledgements: format!("{prefix}:acks:{process}:"),
        }
    }

    /// The key that says for a while that a message was sent, by the number of its wait.
    pub(super) fn sent(&self, number: u64) -> String {
        format!("{}:sent:{}:{number}", self.stream, self.process)
    }

    /// The channel on which the acknowledgements of one message come.
    pub(super) fn wait(&self, number: u64) -> String {
        format!("{}{number}", self.own_acknowledgements)
    }

    /// The pattern of all of them.
    pub(super) fn waits(&self) -> String {
        format!("{}*", self.own_acknowledgements)
    }

    /// Which message a channel is about.
    pub(super) fn waiting(&self, channel: &str) -> Option<u64> {
        channel.strip_prefix(&self.own_acknowledgements)?.parse().ok()
    }

    /// Whether a channel is one for acknowledgements.
    pub(super) fn takes_acknowledgements(&self, channel: &str) -> bool {
        channel.starts_with(&self.acknowledgements)
    }
}

/// The JSON of a message. One to the manager has `manager` in the place of `kind`, so that a process which knows broadcasts alone
/// can't read it and tells its subscribers that they missed something, rather than handing it out as a broadcast.
#[derive(Serialize, Deserialize)]
struct Json {
    /// The kind of a broadcast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The kind of a message to the manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manager: Option<String>,
    /// The shard for which its sender speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard: Option<ShardSlot>,
    body: String,
    sender: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    acknowledge_to: String,
}

/// Writes a message.
pub(super) fn encode(message: NewMessage, acknowledge_to: String) -> Result<String, serde_json::Error> {
    let NewMessage { kind, body, sender, recipient, traceparent } = message;
    let (kind, manager, shard) = match recipient {
        Recipient::All => (Some(kind), None, None),
        Recipient::Manager { from } => (None, Some(kind), from),
    };
    serde_json::to_string(&Json { kind, manager, shard, body, sender, traceparent, acknowledge_to })
}

/// Reads a message; `None` when it is malformed.
pub(super) fn decode(id: &str, message: &str) -> Option<Arc<Message>> {
    let Json { kind, manager, shard, body, sender, traceparent, acknowledge_to } =
        serde_json::from_str(message).ok()?;
    let (kind, recipient) = match (kind, manager) {
        (Some(kind), None) => (kind, Recipient::All),
        (None, Some(kind)) => (kind, Recipient::Manager { from: shard }),
        _ => return None,
    };
    let content = NewMessage { kind, body, sender, recipient, traceparent };
    Some(Arc::new(Message { id: MessageId(id.to_owned()), content, acknowledge_to }))
}

/// Reads what came over the channel: the stamp's three words, then the message.
pub(super) fn split_live(payload: &str) -> Option<(Stamp, &str)> {
    let (head, message) = payload.split_once('\n')?;
    let mut words = head.split(' ');
    let stamp = stamp(words.next()?, words.next()?, words.next()?)?;
    Some((stamp, message))
}

/// Reads a stamp from its three texts.
pub(super) fn stamp(id: &str, sequence: &str, generation: &str) -> Option<Stamp> {
    Some(Stamp {
        generation: generation.to_owned(),
        sequence: sequence.parse().ok()?,
        id: StreamId::from_str(id).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_message_is_parsed_or_refused() {
        let message = NewMessage {
            kind: "k".into(),
            body: "{\"a\":\"\\n\"}".into(),
            sender: "s".into(),
            recipient: Recipient::All,
            traceparent: None,
        };
        let json = encode(message.clone(), "to".to_owned()).unwrap();
        let payload = format!("17-2 5 abc\n{json}");
        let (stamp, text) = split_live(&payload).unwrap();
        assert_eq!(
            (stamp.sequence, stamp.generation.as_str(), stamp.id.to_string().as_str()),
            (5, "abc", "17-2")
        );
        let read = decode("17-2", text).unwrap();
        assert_eq!((&read.content, read.acknowledge_to.as_str()), (&message, "to"));
        for wrong in ["", "\n", "1-1 5\n{}", "1 5 g\n{}", "1-1 x g\n{}", "1-1 5 g"] {
            assert!(split_live(wrong).is_none(), "{wrong:?} passed");
        }
        assert!(decode("1-1", "{}").is_none());
    }

    #[test]
    fn process_that_knows_only_broadcasts_does_not_mistake_a_manager_message_for_one() {
        /// What processes read before there were messages to the manager.
        #[derive(Deserialize)]
        struct Before {
            kind: String,
        }
        for from in [None, Some(ShardSlot(7))] {
            let message = NewMessage {
                kind: "k".into(),
                body: "1".into(),
                sender: "s".into(),
                recipient: Recipient::Manager { from },
                traceparent: None,
            };
            let json = encode(message.clone(), String::new()).unwrap();
            assert!(serde_json::from_str::<Before>(&json).is_err(), "{json}");
            assert_eq!(decode("1-1", &json).unwrap().content, message);
        }
        let broadcast = r#"{"kind":"k","body":"1","sender":"s"}"#;
        assert_eq!(serde_json::from_str::<Before>(broadcast).unwrap().kind, "k");
        assert_eq!(decode("1-1", broadcast).unwrap().content.recipient, Recipient::All);
        let both = r#"{"kind":"k","manager":"k","body":"1","sender":"s"}"#;
        assert!(decode("1-1", both).is_none(), "no sender writes both");
    }

    #[test]
    fn acknowledgements_find_their_wait_and_nothing_else() {
        let names = Names::new(&"bot".parse().unwrap(), "p1");
        assert_eq!(names.waiting(&names.wait(7)), Some(7));
        assert_eq!(names.waiting("bot:acks:p2:7"), None);
        assert!(names.takes_acknowledgements("bot:acks:p2:7"));
        assert!(!names.takes_acknowledgements("bot:broadcasts"));
    }
}

//! The messages of formats 1 and 2, and the way from and to the records. Nothing outside of `format` names these types.
//!
//! A tag is never used again for something else. Ids of Discord are `fixed64`: their varint is longer.

use bytes::Bytes;
use fleet_model::{ByteString, Epoch, HeadKeyId, Position, ShardSlot};
use prost::{Message, Oneof};

use super::{FormatError, envelope};
use crate::{Extras, GuildCore, Head, Members, PendingEvent, Record, RecordKey, Session};

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireStored {
    #[prost(oneof = "WireValue", tags = "2, 3, 4, 5, 6, 7")]
    what: Option<WireValue>,
}

#[derive(Clone, PartialEq, Oneof)]
enum WireValue {
    #[prost(message, tag = "2")]
    Core(WireCore),
    #[prost(bytes = "bytes", tag = "3")]
    Channels(Bytes),
    #[prost(bytes = "bytes", tag = "4")]
    Roles(Bytes),
    #[prost(message, tag = "5")]
    Extras(WireExtras),
    #[prost(message, tag = "6")]
    Members(WireMembers),
    #[prost(message, tag = "7")]
    Pending(WirePending),
}

/// A head, and its signature. Has the tags of [`WireStored`]. The head stays as it was written: a signature is over these bytes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SignedHead {
    #[prost(bytes = "bytes", optional, tag = "1")]
    head: Option<Bytes>,
    #[prost(message, optional, tag = "8")]
    signature: Option<WireSignature>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSignature {
    #[prost(fixed32, tag = "1")]
    key: u32,
    #[prost(uint64, tag = "2")]
    serial: u64,
    #[prost(bytes = "bytes", tag = "3")]
    tag: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct WireHead {
    #[prost(message, optional, tag = "1")]
    session: Option<WireSession>,
    #[prost(uint64, tag = "2")]
    read: u64,
    #[prost(uint64, tag = "3")]
    read_at_unix_ms: u64,
    #[prost(fixed64, repeated, tag = "4")]
    expecting: Vec<u64>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    own_user: Option<Bytes>,
    #[prost(bool, tag = "6")]
    exact: bool,
    #[prost(uint64, tag = "7")]
    epoch: u64,
    #[prost(string, optional, tag = "8")]
    presence: Option<String>,
    #[prost(uint32, tag = "9")]
    doubt: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WireSession {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    resume_url: String,
    #[prost(uint64, tag = "3")]
    ordinal: u64,
    #[prost(uint32, tag = "4")]
    total: u32,
    #[prost(uint64, tag = "5")]
    intents: u64,
    #[prost(string, tag = "6")]
    transport: String,
    #[prost(string, repeated, tag = "7")]
    resources: Vec<String>,
    #[prost(uint64, tag = "8")]
    opened_at_unix_ms: u64,
    #[prost(uint32, optional, tag = "9")]
    shard: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct WireCore {
    #[prost(uint64, tag = "1")]
    stamp: u64,
    #[prost(uint64, optional, tag = "2")]
    members: Option<u64>,
    #[prost(uint32, tag = "3")]
    channels: u32,
    #[prost(fixed64, repeated, tag = "4")]
    in_voice: Vec<u64>,
    #[prost(bool, tag = "5")]
    unavailable: bool,
    #[prost(bytes = "bytes", optional, tag = "6")]
    object: Option<Bytes>,
    #[prost(bytes = "bytes", tag = "7")]
    voice_states: Bytes,
    #[prost(uint32, tag = "8")]
    member_blocks: u32,
    #[prost(uint32, tag = "9")]
    doubt: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WireExtras {
    #[prost(bytes = "bytes", tag = "1")]
    emojis: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    stickers: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    stage_instances: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    scheduled_events: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct WireMembers {
    #[prost(uint64, tag = "1")]
    stamp: u64,
    #[prost(bytes = "bytes", tag = "2")]
    list: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct WirePending {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(bool, tag = "2")]
    started: bool,
    #[prost(uint64, tag = "3")]
    received_at_unix_ms: u64,
    /// UTF-8 text. As `bytes` its encoding is the same, and decoding does not copy it.
    #[prost(bytes = "bytes", tag = "4")]
    text: Bytes,
    #[prost(uint64, tag = "5")]
    session: u64,
    /// Who does not know it goes by `started`.
    #[prost(bool, tag = "6")]
    handled: bool,
}

impl SignedHead {
    pub(crate) fn unsigned(head: &Head) -> Self {
        Self { head: Some(from_head(head).encode_to_vec().into()), signature: None }
    }

    /// Reads a head without checking its signature.
    pub(crate) fn open(bytes: &[u8]) -> Result<Self, FormatError> {
        let read: Self = envelope::open(bytes)?;
        if read.head.is_some() { Ok(read) } else { Err(FormatError::Misplaced) }
    }

    pub(crate) fn seal(&self, format: u16) -> Result<Bytes, FormatError> {
        envelope::seal(self, format)
    }

    pub(crate) fn sign(&mut self, key: HeadKeyId, serial: u64, tag: &[u8]) {
        let key = u32::from_be_bytes(key.0);
        self.signature = Some(WireSignature { key, serial, tag: Bytes::copy_from_slice(tag) });
    }

    /// The key, the serial and the tag.
    pub(crate) fn signature(&self) -> Option<(HeadKeyId, u64, &[u8])> {
        let WireSignature { key, serial, tag } = self.signature.as_ref()?;
        Some((HeadKeyId(key.to_be_bytes()), *serial, tag))
    }

    /// What is signed.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.head.as_deref().unwrap_or_default()
    }

    pub(crate) fn read_head(&self) -> Result<Head, FormatError> {
        let head = <WireHead as Message>::decode(self.bytes());
        to_head(head.map_err(|_| FormatError::Damaged("its fields cannot be read"))?)
    }
}

fn from_head(head: &Head) -> WireHead {
    let session = &head.session;
    let session = WireSession {
        id: session.id.clone(),
        resume_url: session.resume_url.clone(),
        ordinal: session.ordinal,
        shard: session.shard.map(|shard| shard.0),
        total: session.total,
        intents: session.intents,
        transport: session.transport.clone(),
        resources: session.resources.clone(),
        opened_at_unix_ms: session.opened_at_unix_ms,
    };
    WireHead {
        session: Some(session),
        read: head.read,
        read_at_unix_ms: head.read_at_unix_ms,
        expecting: head.expecting.clone(),
        own_user: head.own_user.clone(),
        exact: head.exact,
        epoch: head.epoch.0,
        presence: head.presence.clone(),
        doubt: head.doubt,
    }
}

fn to_head(head: WireHead) -> Result<Head, FormatError> {
    let session = head.session.ok_or(FormatError::Damaged("it has no session"))?;
    Ok(Head {
        session: Session {
            id: session.id,
            resume_url: session.resume_url,
            ordinal: session.ordinal,
            shard: session.shard.map(ShardSlot),
            total: session.total,
            intents: session.intents,
            transport: session.transport,
            resources: session.resources,
            opened_at_unix_ms: session.opened_at_unix_ms,
        },
        read: head.read,
        read_at_unix_ms: head.read_at_unix_ms,
        expecting: head.expecting,
        own_user: head.own_user,
        exact: head.exact,
        epoch: Epoch(head.epoch),
        presence: head.presence,
        doubt: head.doubt,
    })
}

pub(super) fn from_record(record: &Record) -> WireStored {
    let what = match record.clone() {
        Record::Core(core) => WireValue::Core(WireCore {
            stamp: core.stamp,
            members: core.members,
            channels: core.channels,
            in_voice: core.in_voice,
            unavailable: core.unavailable,
            object: core.object,
            voice_states: core.voice_states,
            member_blocks: core.member_blocks,
            doubt: core.doubt,
        }),
        Record::Channels(list) => WireValue::Channels(list),
        Record::Roles(list) => WireValue::Roles(list),
        Record::Extras(extras) => WireValue::Extras(WireExtras {
            emojis: extras.emojis,
            stickers: extras.stickers,
            stage_instances: extras.stage_instances,
            scheduled_events: extras.scheduled_events,
        }),
        Record::Members(members) => {
            WireValue::Members(WireMembers { stamp: members.stamp, list: members.list })
        }
        Record::Pending(event) => WireValue::Pending(WirePending {
            session: event.position.session,
            sequence: event.position.sequence,
            started: event.started || event.handled,
            handled: event.handled,
            received_at_unix_ms: event.received_at_unix_ms,
            text: event.text.into_bytes(),
        }),
    };
    WireStored { what: Some(what) }
}

pub(super) fn to_record(key: RecordKey, stored: WireStored) -> Result<Record, FormatError> {
    Ok(match (key, stored.what) {
        (RecordKey::Core(_), Some(WireValue::Core(core))) => Record::Core(GuildCore {
            stamp: core.stamp,
            members: core.members,
            channels: core.channels,
            in_voice: core.in_voice,
            unavailable: core.unavailable,
            object: core.object,
            voice_states: core.voice_states,
            member_blocks: core.member_blocks,
            doubt: core.doubt,
        }),
        (RecordKey::Channels(_), Some(WireValue::Channels(list))) => Record::Channels(list),
        (RecordKey::Roles(_), Some(WireValue::Roles(list))) => Record::Roles(list),
        (RecordKey::Extras(_), Some(WireValue::Extras(extras))) => Record::Extras(Extras {
            emojis: extras.emojis,
            stickers: extras.stickers,
            stage_instances: extras.stage_instances,
            scheduled_events: extras.scheduled_events,
        }),
        (RecordKey::Members(..), Some(WireValue::Members(members))) => {
            Record::Members(Members { stamp: members.stamp, list: members.list })
        }
        (RecordKey::Pending(position), Some(WireValue::Pending(event)))
            if Position::new(event.session, event.sequence) == position =>
        {
            Record::Pending(PendingEvent {
                position,
                started: event.started,
                handled: event.handled,
                received_at_unix_ms: event.received_at_unix_ms,
                text: ByteString::try_from(event.text)
                    .map_err(|_| FormatError::Damaged("its fields cannot be read"))?,
            })
        }
        _ => return Err(FormatError::Misplaced),
    })
}

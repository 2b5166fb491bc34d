//! Fuzz targets of what the store holds: heads, records and keys. A writer to the store can make a checksum too, so sizes and
//! checksum of the inputs are right.

use std::collections::BTreeMap;

use bytes::Bytes;
use fuzz::Target;

use crate::{
    Extras, FORMAT_MAX, FORMAT_MIN, GuildCore, Head, HeadKeys, HeadPlace, Members, Record, RecordKey,
    Session, decode_head, decode_record, encode_head, encode_record, format,
};

fn head() -> Head {
    Head {
        session: Session {
            id: "4f1c".repeat(8),
            resume_url: "wss://gateway-us-east1-b.discord.gg".to_owned(),
            ordinal: 3,
            shard: Some(fleet_model::ShardSlot(3)),
            total: 12,
            intents: 513,
            transport: "zstd-stream".to_owned(),
            resources: vec!["guilds".to_owned()],
            opened_at_unix_ms: 1_790_000_000_000,
        },
        read: 77,
        read_at_unix_ms: 1_790_000_000_001,
        expecting: (0..40).collect(),
        doubt: 1,
        own_user: Some(Bytes::from_static(br#"{"id":"7"}"#)),
        presence: Some("{}".to_owned()),
        epoch: fleet_model::Epoch(9),
        exact: true,
    }
}

fn records() -> BTreeMap<RecordKey, Record> {
    let list = Bytes::from(format!("[{}]", vec![r#"{"user":{"id":"7","username":"u"}}"#; 20].join(",")));
    let core = GuildCore {
        stamp: 3,
        members: Some(40),
        channels: 2,
        in_voice: vec![3],
        unavailable: false,
        object: Some(Bytes::from_static(br#"{"id":"7","name":"seven"}"#)),
        voice_states: list.clone(),
        member_blocks: 1,
        doubt: 0,
    };
    let extras = Extras { emojis: list.clone(), ..Extras::default() };
    BTreeMap::from([
        (RecordKey::Core(7), Record::Core(core)),
        (RecordKey::Extras(7), Record::Extras(extras)),
        (RecordKey::Members(7, 0), Record::Members(Members { stamp: 3, list })),
    ])
}

/// A record may be 64 MiB, which its size promises.
const PROMISED: u64 = 2 * (64 << 20) + (1 << 20);

#[test]
fn heads_and_records() {
    let mut examples = Vec::new();
    for of in FORMAT_MIN..=FORMAT_MAX {
        examples.push(encode_head(&head(), of).unwrap());
        examples.extend(records().values().map(|record| encode_record(record, of).unwrap()));
    }
    let keys = records().into_keys().chain([RecordKey::Channels(7), RecordKey::Roles(7)]);
    let keys: Vec<RecordKey> = keys.collect();
    Target::new("heads and records", examples).memory(PROMISED, 100).run(|input| {
        let mut bytes = input.to_vec();
        format::repair(&mut bytes);
        for bytes in [input, &bytes] {
            if let Ok(head) = decode_head(bytes) {
                for of in FORMAT_MIN..=FORMAT_MAX {
                    let again = encode_head(&head, of).unwrap();
                    assert_eq!(decode_head(&again).unwrap(), head);
                }
            }
            for key in &keys {
                if let Ok(record) = decode_record(*key, bytes) {
                    let again = encode_record(&record, FORMAT_MAX).unwrap();
                    assert_eq!(decode_record(*key, &again).unwrap(), record);
                }
            }
        }
    });
}

#[test]
fn signed_heads() {
    let place = HeadPlace { fleet: "altergolden", slot: fleet_model::ShardSlot(3), serial: 5 };
    let keys = HeadKeys::new([b"a key with enough bytes for the test"]).unwrap();
    let signing = fleet_model::HeadSigning { by: keys.ids().first().copied(), required: true };
    let signed = keys.encode_head(&head(), FORMAT_MAX, place, signing).unwrap();
    let unsigned = encode_head(&head(), FORMAT_MAX).unwrap();
    let wanted = head();
    Target::new("signed heads", [signed, unsigned]).memory(PROMISED, 100).run(|input| {
        let mut bytes = input.to_vec();
        format::repair(&mut bytes);
        // A writer without the key changes nothing that is read.
        if let Ok(head) = keys.decode_head(&bytes, place, signing) {
            assert_eq!(head, wanted);
        }
    });
}

#[test]
fn record_keys() {
    let examples = ["c:81384788765712384", "m:81384788765712384:2", "p:1795401774221:4711", "b:8138:3:0"];
    Target::new("record keys", examples).run_text(|text| {
        if let Ok(key) = text.parse::<RecordKey>() {
            assert_eq!(key.to_string(), text);
        }
    });
}

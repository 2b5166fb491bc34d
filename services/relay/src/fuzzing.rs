//! Fuzz targets of the relay: payloads that become entries, and entries of the streams.

use bytes::Bytes;
use fleet_model::{Mark, Position, ShardKey};
use fuzz::Target;

use crate::{EntryId, EventNames, NewEntry, StreamPrefix, entry, gap_event, gap_of};

const PAYLOAD: &str = r#"{"t":"MESSAGE_CREATE","s":7,"op":0,"d":{"id":"81384788765712384","content":"\u00e9\ud83e\udd80","n":[1,-2,0.5,1e3,null,true]}}"#;

fn entry_of(name: &str, data: Bytes) -> NewEntry {
    NewEntry {
        position: Position::new(1, 7),
        name: name.into(),
        guild: None,
        received_at_unix_ms: 0,
        mark: Mark::Fresh,
        traceparent: None,
        data,
    }
}

#[test]
fn payloads() {
    Target::new("payloads of the relay", [PAYLOAD]).memory(1 << 20, 400).run_text(|text| {
        let Ok(data) = entry::encode(ShardKey::new(3, 12), text) else { return };
        assert!(data.len() <= 64 + 10 * text.len(), "{} of {}", data.len(), text.len());
        // A reader gets what JSON says.
        let payload = entry_of("MESSAGE_CREATE", data).payload();
        let clean = outside_text::without_lone_surrogates(text);
        if let (Ok(payload), Ok(wanted)) = (payload, serde_json::from_str::<serde_json::Value>(&clean)) {
            assert_eq!(serde_json::from_str::<serde_json::Value>(&payload).unwrap(), wanted);
        }
    });
}

#[test]
fn entries() {
    let gap = gap_event(
        &fleet_model::Gap { since_unix_ms: 1, until_unix_ms: 2, last_sequence: 3, reason: "why".to_owned() },
        Position::new(1, 7),
    );
    let examples =
        [PAYLOAD, &*gap.text].map(|text| entry::encode(ShardKey::new(3, 12), text).unwrap().to_vec());
    Target::new("entries of the streams", examples).memory(1 << 20, 400).run(|input| {
        for name in ["MESSAGE_CREATE", crate::GAP] {
            let entry = entry_of(name, Bytes::copy_from_slice(input));
            let _ = (entry.payload(), entry.gap());
        }
        let _ = entry::mark_from_field(input);
    });
    Target::new("gaps", [gap.text.to_string()]).memory(1 << 20, 400).run_text(|text| {
        let _ = gap_of(&fleet_model::ShardEvent { text: text.into(), ..gap.clone() });
    });
}

#[test]
fn settings_and_ids() {
    let examples = ["1795401774221-7", "MESSAGE_CREATE,INTERACTION_CREATE", "all", "{bot}:"];
    Target::new("settings and ids of the relay", examples).run_text(|text| {
        if let Ok(id) = text.parse::<EntryId>() {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let _ = (text.parse::<EventNames>(), text.parse::<StreamPrefix>());
    });
}

//! Fuzz targets of the conversions: every message from outside, and JSON values.

use fuzz::Target;
use prost::Message;

use crate::{
    convert::{
        directive_from_wire, encoded_len, from_json, is_exact, permit_answer, permit_message, running_shards,
        status_from_wire, to_json, worker_report,
    },
    v1,
};

/// Reads one message of a type, and converts it.
type Convert = fn(&[u8]);

fn read<M: Message + Default>(bytes: &[u8], convert: impl FnOnce(M)) {
    if let Ok(message) = M::decode(bytes) {
        convert(message);
    }
}

/// The types, each with an example.
fn kinds() -> Vec<(Convert, Vec<u8>)> {
    let range = |first, last| v1::ShardRange { first, last, epoch: 7 };
    let register = v1::RegisterRequest {
        worker_id: "w".to_owned(),
        incarnation: "1".to_owned(),
        advertise_url: "http://127.0.0.1:1".to_owned(),
        running: vec![range(0, 3), range(5, 9)],
        protocol_min: 1,
        protocol_max: 1,
        ..v1::RegisterRequest::default()
    };
    let shard = v1::ShardReport { shard_id: 3, epoch: 7, status: 5, ..v1::ShardReport::default() };
    let report =
        v1::WorkerReport { shards: vec![shard.clone(), shard.clone()], ..v1::WorkerReport::default() };
    let assignment =
        v1::Assignment { shards: vec![range(0, 3)], shard_total: 12, ..v1::Assignment::default() };
    let directive = v1::Directive {
        term: 9,
        kind: "assignment".to_owned(),
        directive: Some(v1::directive::Directive::Assignment(assignment.clone())),
    };
    let ask = v1::identify_up::Message::Ask(v1::IdentifyAsk { ticket: 1, shard_id: 2, ..Default::default() });
    let up = v1::IdentifyUp { message: Some(ask) };
    vec![
        (
            |bytes| {
                read(bytes, |message: v1::RegisterRequest| {
                    if let Ok(shards) = running_shards(&message) {
                        assert!(shards.keys().all(|slot| slot.0 < crate::convert::MAX_SHARDS));
                    }
                });
            },
            register.encode_to_vec(),
        ),
        (
            |bytes| {
                read(bytes, |message: v1::WorkerReport| {
                    if let Ok((report, _)) = worker_report(message) {
                        assert!(report.shards.len() <= crate::convert::MAX_SHARDS as usize);
                    }
                });
            },
            report.encode_to_vec(),
        ),
        (
            |bytes| {
                read(bytes, |message: v1::ShardReport| {
                    let _ = status_from_wire(message.status);
                    if let Ok(report) = fleet_model::ShardReport::try_from(message) {
                        let again = v1::ShardReport::from(report.clone());
                        assert_eq!(fleet_model::ShardReport::try_from(again).unwrap(), report);
                    }
                });
            },
            shard.encode_to_vec(),
        ),
        (|bytes| read(bytes, |message: v1::IdentifyUp| drop(permit_message(message))), up.encode_to_vec()),
        (
            |bytes| read(bytes, |message: v1::IdentifyDown| drop(permit_answer(message))),
            v1::IdentifyDown::default().encode_to_vec(),
        ),
        (
            |bytes| read(bytes, |message: v1::Directive| drop(directive_from_wire(message))),
            directive.encode_to_vec(),
        ),
        (
            |bytes| {
                read(bytes, |message: v1::Assignment| {
                    if let Ok(assignment) = fleet_model::Assignment::try_from(message) {
                        let again = v1::Assignment::from(&assignment);
                        assert_eq!(fleet_model::Assignment::try_from(again).unwrap(), assignment);
                    }
                });
            },
            assignment.encode_to_vec(),
        ),
        (
            |bytes| read(bytes, |message: v1::RoutingTable| drop(fleet_model::Routes::try_from(message))),
            v1::RoutingTable::default().encode_to_vec(),
        ),
        (
            |bytes| {
                if let Ok(update) = crate::convert::routes::read_update(bytes.to_vec().into()) {
                    drop(fleet_model::Routes::default().updated(update));
                }
            },
            v1::RoutingUpdate {
                term: 1,
                revision: 1,
                shard_total: 4,
                changed: vec![v1::Route { worker_id: "a".to_owned(), ..Default::default() }],
                gone: vec!["b".to_owned()],
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            |bytes| {
                read(bytes, |message: v1::ListHistoryRequest| {
                    drop(fleet_model::HistoryFilter::try_from(&message));
                });
            },
            v1::ListHistoryRequest::default().encode_to_vec(),
        ),
        (
            |bytes| {
                read(bytes, |message: v1::GuildRecord| {
                    let record = fleet_model::GuildRecord::from(message);
                    let again = v1::GuildRecord::from(record.clone());
                    assert_eq!(fleet_model::GuildRecord::from(again), record);
                });
            },
            v1::GuildRecord { guild_id: 1, name: Some("n".to_owned()), ..v1::GuildRecord::default() }
                .encode_to_vec(),
        ),
        (
            |bytes| {
                read(bytes, |message: v1::LookUpUsersResponse| drop(fleet_model::UserLookup::from(message)));
            },
            v1::LookUpUsersResponse::default().encode_to_vec(),
        ),
        (
            |bytes| read(bytes, |message: v1::StartPlanRequest| drop(message)),
            v1::StartPlanRequest::default().encode_to_vec(),
        ),
        (
            |bytes| read(bytes, |message: v1::TapRequest| drop(message)),
            v1::TapRequest::default().encode_to_vec(),
        ),
        (
            |bytes| {
                read(bytes, |value: prost_types::Value| {
                    let json = to_json(value);
                    let _ = is_exact(&json);
                    let length = encoded_len(&json);
                    assert_eq!(from_json(json).encoded_len(), length);
                });
            },
            from_json(serde_json::json!({"a": [1, "two", null, true, {"b": 0.5}]})).encode_to_vec(),
        ),
    ]
}

#[test]
fn messages_from_outside() {
    let kinds = kinds();
    // The first byte chooses the type.
    let examples = kinds
        .iter()
        .enumerate()
        .map(|(kind, (_, bytes))| [&[u8::try_from(kind).unwrap()], &bytes[..]].concat());
    // A few bytes are a range of all shards that a fleet may have.
    let target = Target::new("messages from outside", examples.collect::<Vec<_>>());
    target.memory(16 << 20, 200).run(|input| {
        let Some((kind, bytes)) = input.split_first() else { return };
        kinds[usize::from(*kind) % kinds.len()].0(bytes);
    });
}

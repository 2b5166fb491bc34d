//! Fuzz target of what bots write into the stream.

use bytes::Bytes;
use fuzz::Target;
use serde_json::json;

use super::{Command, before, lanes::CommandLanes};
use crate::EntryId;

#[test]
fn commands_of_bots() {
    let command = |payload: serde_json::Value| {
        rmp_serde::to_vec_named(&json!({ "shardId": 3, "payload": payload })).unwrap()
    };
    let examples = [
        command(json!({ "op": 3, "d": { "status": "idle", "activities": [] } })),
        command(json!({ "op": 4, "d": { "guild_id": "7", "channel_id": null } })),
        command(json!({ "op": 8, "d": { "guild_id": "7", "query": "", "limit": 0 } })),
    ];
    let (mut lanes, mut id) = (CommandLanes::default(), EntryId::default());
    Target::new("commands of bots", examples).memory(1 << 20, 400).run(|input| {
        id.number += 1;
        let command = Command { id, data: Some(Bytes::copy_from_slice(input)) };
        let _ = (before(id), crate::entry::mark_from_field(input));
        let Some(taken) = command.taken() else { return };
        let key = taken.key();
        let _ = lanes.put(taken, false);
        while let Some(next) = lanes.next(key) {
            lanes.finished(next.id);
        }
        assert_eq!(lanes.at_hand(), 0);
        if id.number % 1_000 == 0 {
            lanes.forget_before(u64::MAX);
        }
    });
}

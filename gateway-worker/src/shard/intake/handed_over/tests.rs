//! After a handoff the next owner writes on into the same store. A restore from the store then equals the owner's cache, in every format of
//! the copy.

use std::time::Duration;

use bytes::Bytes;
use checkpoint::{RecordKey, encode_head};
use fleet_model::Epoch;
use serde_json::{Value, json};

use crate::{
    cache::{GuildRecords, ShardCache},
    handoff::{CopySlot, HandoffState},
    shard::intake::{
        DispatchOutcome, Intake,
        tests::{SESSION, head, left, parts_at, read_checkpoint},
    },
    testing::{
        self, EPOCH, arrived,
        guilds::{guild, member, ready, tell, user},
    },
};

/// A guild of the shard.
const GUILD: u64 = 3 << 22;

fn leaves(id: u64) -> Value {
    json!({ "guild_id": GUILD.to_string(), "user": user(id) })
}

/// A guild that has lost members. Its blocks and its number of member records differ from the ones of a new guild with the same members.
fn source() -> ShardCache {
    let cache = ShardCache::new(testing::cache("all"));
    cache.begin_session(SESSION, &ready(&[GUILD]));
    let mut large = guild(GUILD);
    large["members"] = (1..=280).map(member).collect();
    large["member_count"] = json!(280);
    tell(&cache, "GUILD_CREATE", &large, 2);
    cache.all_records(SESSION, GUILD, 2).unwrap();
    for (id, sequence) in (9..=280).step_by(9).zip(3..) {
        tell(&cache, "GUILD_MEMBER_REMOVE", &leaves(id), sequence);
    }
    cache
}

fn set(records: GuildRecords) -> Vec<(RecordKey, Bytes)> {
    records.members.into_iter().chain(records.together).collect()
}

#[tokio::test(start_paused = true)]
async fn store_follows_a_shard_that_was_copied_in_another_format() {
    for (stored, copied) in [(3, 3), (3, 2), (2, 3), (2, 2)] {
        let source = source();
        let in_store = set(source.all_records(SESSION, GUILD, stored).unwrap());
        let store = left(Some(encode_head(&head(), stored).unwrap()), in_store).await;
        let mut copy = source.restoring();
        for (key, bytes) in set(source.all_records(SESSION, GUILD, copied).unwrap()) {
            copy.take(key, &bytes).unwrap();
        }
        while copy.next_guild().unwrap() {}
        let mut parts = parts_at(EPOCH, 1_000, store.clone());
        parts.checkpoints.format.assign(stored);
        parts.handed_over =
            Some(HandoffState { guilds: copy.finish(&head()), head: head(), pending: Vec::new() });
        let mut intake = Intake::begin(parts, || true).await.unwrap();
        for (id, sequence) in (100..=160).filter(|id| id % 9 != 0).zip(41..) {
            let name = "GUILD_MEMBER_REMOVE";
            let text = json!({ "op": 0, "t": name, "s": sequence, "d": leaves(id) }).to_string();
            assert_eq!(intake.take(arrived(name, sequence, text)), DispatchOutcome::Applied);
        }
        let shard = intake.shard.clone();
        intake.finish(Duration::from_millis(1), &CopySlot::default()).await;

        let mut next = Intake::begin(parts_at(Epoch(EPOCH.0 + 1), 1_000, store), || true).await.unwrap();
        read_checkpoint(&mut next).await;
        let here = shard.cache().guild(GUILD).unwrap();
        assert_eq!((here.members, here.cached_members), (Some(194), 194));
        let there = next.shard.cache().guild(GUILD);
        assert_eq!(there, Some(here), "stored in {stored}, copied in {copied}");
    }
}

use std::sync::Arc;

use bytes::Bytes;
use checkpoint::{
    CheckpointMemoryStore, CheckpointStore, FORMAT_MAX, HeadKeys, HeadWrite, Session, WriteStep, encode_head,
    encode_record,
};

use fleet_model::HeadSigning;

use super::*;
use crate::{
    checkpoints::SignedHeads,
    testing::{self, EPOCH, SHARD, TOTAL},
};

fn head() -> Head {
    Head {
        session: Session {
            id: "s".to_owned(),
            resume_url: "ws://x".to_owned(),
            ordinal: 9,
            shard: Some(SHARD.slot()),
            total: TOTAL,
            intents: 513,
            transport: "json".to_owned(),
            resources: vec!["guilds".to_owned(), "roles".to_owned()],
            opened_at_unix_ms: 1,
        },
        read: 40,
        read_at_unix_ms: 77,
        expecting: Vec::new(),
        doubt: 0,
        own_user: None,
        presence: Some("p".to_owned()),
        epoch: Epoch(1),
        exact: false,
    }
}

fn needs() -> Needs {
    Needs {
        ran_before: false,
        shard: SHARD,
        intents: 513,
        transport: "json".to_owned(),
        resources: vec!["guilds".to_owned()],
    }
}

/// A store with what an owner before left.
async fn left(head: Bytes, records: Vec<(RecordKey, Bytes)>) -> Arc<dyn CheckpointStore> {
    let store: Arc<dyn CheckpointStore> = Arc::new(CheckpointMemoryStore::new());
    store.claim(SHARD, Epoch(1)).await.unwrap();
    let step = WriteStep {
        fresh: true,
        set: records,
        head: Some(HeadWrite { bytes: head, total: TOTAL }),
        ..WriteStep::default()
    };
    store.write(SHARD, Epoch(1), 0, &step).await.unwrap();
    store
}

async fn claimed(store: Arc<dyn CheckpointStore>, needs: &Needs, keep: Keep) -> Beginning {
    testing::checkpoints(store, keep).claim(SHARD, EPOCH, needs, || false).await.unwrap()
}

#[tokio::test]
async fn first_start_has_lost_nothing() {
    let store = testing::memory();
    let beginning = claimed(store.clone(), &needs(), Keep::Full).await;
    assert!(matches!(beginning, Beginning::Fresh(FreshStart { lost: None, .. })), "{beginning:?}");
    // The next owner knows that there was one before.
    let next =
        testing::checkpoints(store, Keep::Full).claim(SHARD, Epoch(EPOCH.0 + 1), &needs(), || false).await;
    assert!(matches!(next.unwrap(), Beginning::Fresh(FreshStart { lost: Some(_), .. })));
}

#[tokio::test]
async fn missing_checkpoint_of_a_shard_that_ran_is_a_gap() {
    for keep in [Keep::Off, Keep::Session, Keep::Full] {
        // An empty store, which never had a checkpoint or has lost it.
        let needs = Needs { ran_before: true, ..needs() };
        match claimed(testing::memory(), &needs, keep).await {
            Beginning::Fresh(FreshStart { lost: Some(lost), .. }) => {
                assert_eq!(lost.last_sequence, 0, "{keep:?}");
            }
            other => panic!("{keep:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn repeated_claim_reports_the_gap_too() {
    let store = testing::memory();
    store.claim(SHARD, Epoch(1)).await.unwrap();
    // The first answer was lost.
    store.claim(SHARD, EPOCH).await.unwrap();
    let beginning = claimed(store, &needs(), Keep::Full).await;
    assert!(matches!(beginning, Beginning::Fresh(FreshStart { lost: Some(_), .. })), "{beginning:?}");
}

#[tokio::test]
async fn fitting_session_is_resumed() {
    let store = left(encode_head(&head(), FORMAT_MAX).unwrap(), Vec::new()).await;
    match claimed(store, &needs(), Keep::Full).await {
        Beginning::Resume { head: found, records, .. } => assert_eq!((*found, records), (head(), 0)),
        other @ Beginning::Fresh(_) => panic!("{other:?}"),
    }
}

fn keyed(store: Arc<dyn CheckpointStore>, keys: &[&str], signing: HeadSigning) -> Checkpoints {
    let heads = SignedHeads::new(HeadKeys::new(keys).unwrap(), "test");
    heads.assign(signing);
    Checkpoints { heads, ..testing::checkpoints(store, Keep::Full) }
}

const REQUIRED: HeadSigning = HeadSigning { by: None, required: true };

/// The bytes of a head in the shard's place, signed with a key.
fn signed(key: &str, fleet: &str) -> Bytes {
    let heads = SignedHeads::new(HeadKeys::new([key]).unwrap(), fleet);
    heads.assign(REQUIRED);
    heads.encode(&head(), FORMAT_MAX, SHARD, 0).unwrap()
}

#[tokio::test]
async fn head_without_a_right_signature_counts_as_no_checkpoint() {
    const KEY: &str = "the key of this fleet";
    let position = Position::new(9, 3);
    let event =
        PendingEvent { position, started: false, handled: false, received_at_unix_ms: 1, text: "{}".into() };
    let records =
        vec![(RecordKey::Pending(position), encode_record(&Record::Pending(event), FORMAT_MAX).unwrap())];
    let unsigned = encode_head(&head(), FORMAT_MAX).unwrap();
    for (bytes, signing, why) in [
        (signed(KEY, "test"), REQUIRED, None),
        (signed(KEY, "test"), HeadSigning::default(), None),
        (unsigned.clone(), HeadSigning::default(), None),
        (unsigned, REQUIRED, Some("not signed")),
        (signed(KEY, "another fleet"), HeadSigning::default(), Some("signature is wrong")),
        (signed("the key of another fleet", "test"), HeadSigning::default(), Some("does not hold")),
    ] {
        let store = left(bytes, records.clone()).await;
        let checkpoints = keyed(store, &[KEY], signing);
        let beginning = checkpoints.claim(SHARD, EPOCH, &needs(), || false).await.unwrap();
        let shown = checkpoints.heads.problem(unix_ms()).map(|problem| problem.to_string());
        let Some(why) = why else {
            assert!(matches!(beginning, Beginning::Resume { .. }), "{beginning:?}");
            assert_eq!((shown, checkpoints.heads.refused_lately(unix_ms())), (None, 0));
            continue;
        };
        let Beginning::Fresh(fresh) = beginning else { panic!("resumed a head that {why}") };
        // The session goes on under the store's serial, with a gap and nothing of the checkpoint.
        assert!(fresh.serial > 0 && fresh.pending.is_empty() && fresh.presence.is_none(), "{fresh:?}");
        assert!(fresh.lost.unwrap().reason.contains(why));
        assert!(shown.unwrap().contains(why));
        assert_eq!(checkpoints.heads.refused_lately(unix_ms()), 1);
        assert_eq!(checkpoints.heads.refused_lately(unix_ms() + 3_700_000), 0, "for an hour");
        assert_eq!(checkpoints.metrics.refused_head_count(), 1);
    }
}

#[tokio::test]
async fn unfit_session_is_a_gap_with_a_reason() {
    let bytes = encode_head(&head(), FORMAT_MAX).unwrap();
    for (needs, says) in [
        (Needs { shard: ShardKey::new(0, TOTAL), ..needs() }, "of shard"),
        (Needs { shard: ShardKey::new(3, 8), ..needs() }, "4 shards, not 8"),
        (Needs { intents: 1, ..needs() }, "INTENTS"),
        (Needs { transport: "etf".to_owned(), ..needs() }, "json, not etf"),
        (Needs { resources: vec!["members".to_owned()], ..needs() }, "holds no members"),
    ] {
        let store = left(bytes.clone(), Vec::new()).await;
        match claimed(store, &needs, Keep::Full).await {
            Beginning::Fresh(FreshStart { lost: Some(lost), presence, .. }) => {
                assert_eq!(presence.as_deref(), Some("p"), "it outlives the session");
                assert!(lost.reason.contains(says), "{lost:?}");
                assert_eq!((lost.last_sequence, lost.since_unix_ms), (40, 77));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn unreadable_head_is_refused_with_a_reason() {
    let good = encode_head(&head(), FORMAT_MAX).unwrap();
    let truncated = good.slice(..good.len() - 1);
    let mut newer = good.to_vec();
    // The format's number is behind the magic byte; see the crate's envelope.
    newer[2] = 99;
    for (bytes, says) in [
        (truncated, "truncated"),
        (Bytes::from_static(b"foreign"), "unexpected record format"),
        (Bytes::from(newer), ""),
    ] {
        match claimed(left(bytes, Vec::new()).await, &needs(), Keep::Full).await {
            Beginning::Fresh(FreshStart { lost: Some(lost), .. }) => {
                assert!(lost.reason.contains(says), "{lost:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn claim_under_a_lower_epoch_is_refused() {
    let store = testing::memory();
    store.claim(SHARD, Epoch(EPOCH.0 + 5)).await.unwrap();
    let outranked = testing::checkpoints(store, Keep::Full).claim(SHARD, EPOCH, &needs(), || false).await;
    assert_eq!(outranked.unwrap_err(), Outranked(Epoch(EPOCH.0 + 5)));
}

#[tokio::test]
async fn broken_record_is_named_in_the_error() {
    let good = encode_record(&Record::Roles(Bytes::from_static(b"[]")), FORMAT_MAX).unwrap();
    let records =
        vec![(RecordKey::Roles(5), good.clone()), (RecordKey::Roles(6), good.slice(..good.len() - 2))];
    let store = left(encode_head(&head(), FORMAT_MAX).unwrap(), records).await;
    let checkpoints = testing::checkpoints(store, Keep::Full);
    let Ok(Beginning::Resume { head, serial, records, .. }) =
        checkpoints.claim(SHARD, EPOCH, &needs(), || false).await
    else {
        panic!("not resumed")
    };
    let what = ToRead { shard: SHARD, epoch: EPOCH, serial, records };
    let cache = testing::shard_at(EPOCH, "all");
    let error = checkpoints.load(what, &head, cache.cache()).await.unwrap_err().to_string();
    assert!(error.contains("r:6"), "{error}");
    let fewer = checkpoints.load(ToRead { records: 3, ..what }, &head, cache.cache()).await.unwrap_err();
    assert!(matches!(fewer, LoadError::Guilds(_) | LoadError::Incomplete { .. }), "{fewer}");
}

#[tokio::test]
async fn pending_events_come_in_order_up_to_the_watermark() {
    let pending = |session, sequence| {
        let event = PendingEvent {
            position: Position::new(session, sequence),
            started: false,
            handled: false,
            received_at_unix_ms: 1,
            text: "{}".into(),
        };
        let key = RecordKey::Pending(event.position);
        (key, encode_record(&Record::Pending(event), FORMAT_MAX).unwrap())
    };
    let records = vec![pending(9, 40), pending(9, 2), pending(8, 900), pending(9, 41)];
    let store = left(encode_head(&head(), FORMAT_MAX).unwrap(), records).await;
    let checkpoints = testing::checkpoints(store, Keep::Full);
    let Ok(Beginning::Resume { head, serial, records, .. }) =
        checkpoints.claim(SHARD, EPOCH, &needs(), || false).await
    else {
        panic!("not resumed")
    };
    let what = ToRead { shard: SHARD, epoch: EPOCH, serial, records };
    let cache = testing::shard_at(EPOCH, "all");
    let loaded = checkpoints.load(what, &head, cache.cache()).await.unwrap();
    let found: Vec<Position> = loaded.pending.iter().map(|event| event.position).collect();
    let expected = [(8, 900), (9, 2), (9, 40)].map(|(session, sequence)| Position::new(session, sequence));
    assert_eq!(found, expected, "Discord sends 41 again");
}

//! The relay: each event is in the streams once, also when sessions are lost and workers die; and `ShardBridge/Events` over it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use altergolden_proto::v1::{self, events_response::Item};
use discord_sim::Fault;
use fleet_model::StartKind;
use gateway_worker::NoHandler;
use relay::{Entry, EntryId, EventNames, GAP, RelayStore as _};
use tonic::{Code, Streaming};

use crate::bench::{Bench, Recorder, kind, sim};

const PATIENCE: Duration = Duration::from_mins(1);

/// All that is in the streams.
async fn all(bench: &Bench) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let after = all.last().map_or(EntryId::default(), |entry| entry.id);
        let page = bench.relay.read(&EventNames::All, after, Duration::ZERO).await.unwrap();
        if page.entries.is_empty() {
            return all;
        }
        all.extend(page.entries);
    }
}

async fn messages(bench: &Bench) -> Vec<Entry> {
    let mut all = all(bench).await;
    all.retain(|entry| &*entry.content.name == "MESSAGE_CREATE");
    all
}

/// Waits for a number of messages, and checks that none is there twice or out of order.
async fn until_messages(bench: &Bench, count: usize) -> Vec<Entry> {
    let waiting = async {
        loop {
            let messages = messages(bench).await;
            if messages.len() >= count {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let messages = tokio::time::timeout(PATIENCE, waiting).await.expect("the messages in time");
    assert_eq!(messages.len(), count);
    let all = all(bench).await;
    assert!(all.is_sorted_by(|a, b| a.content.position < b.content.position), "{all:#?}");
    messages
}

async fn events(
    bench: &Bench,
    request: v1::EventsRequest,
) -> Result<Streaming<v1::EventsResponse>, tonic::Status> {
    Ok(bench.bridge("coordinator").await.events(request).await?.into_inner())
}

async fn next(stream: &mut Streaming<v1::EventsResponse>) -> (String, Item) {
    let response = tokio::time::timeout(PATIENCE, stream.message()).await.expect("in time").unwrap().unwrap();
    (response.cursor, response.item.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_relayed_once_over_resumes_and_sessions() {
    let mut bench = Bench::start(sim(5), Recorder::default(), &[]).await;
    bench.write(5, "one");
    until_messages(&bench, 5).await;
    bench.inject(Fault::Abort { shards: None });
    bench.write(5, "two");
    let resumed = until_messages(&bench, 10).await;
    let sessions: BTreeSet<u64> = resumed.iter().map(|entry| entry.content.position.session).collect();
    assert_eq!(sessions.len(), 1, "it was a RESUME");
    let last = all(&bench).await.last().unwrap().content.position;

    bench.inject(Fault::InvalidSession { shards: None, resumable: false });
    bench
        .until("the shard to identify again", |shard| {
            kind(shard) == Some(StartKind::Reidentified) && shard.status == 5
        })
        .await;
    bench.write(5, "three");
    let again = until_messages(&bench, 15).await;
    assert!(again[14].content.position.session > last.session);
    // The gap is between the sessions.
    let gaps: Vec<Entry> =
        all(&bench).await.into_iter().filter(|entry| &*entry.content.name == GAP).collect();
    let [gap] = gaps.as_slice() else { panic!("{gaps:#?}") };
    assert_eq!(gap.content.gap().unwrap().last_sequence, last.sequence);
    // The handler was given the same.
    bench.until_seen("all messages", |seen| seen.messages().len() == 15).await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_continues_over_a_handoff() {
    let mut bench = Bench::without_workers(sim(5), Recorder::default()).await;
    let first = bench.worker("a", Arc::new(NoHandler), &[]).await;
    bench.until_ready("the shard to be ready").await;
    bench.write(5, "one");
    until_messages(&bench, 5).await;
    bench.worker("b", Arc::new(NoHandler), &[]).await;
    let writing = async {
        for round in 0..20 {
            bench.write(5, &format!("round {round}"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    first.cancel();
    writing.await;
    until_messages(&bench, 105).await;
    let shard =
        bench.until("the other worker to run it", |shard| shard.worker_id == "b" && shard.status == 5).await;
    assert_eq!(kind(&shard), Some(StartKind::Resumed));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_stream_live_and_again_from_a_cursor() {
    let bench = Bench::start(sim(5), Recorder::default(), &[]).await;
    let filter =
        v1::EventsRequest { names: vec!["MESSAGE_CREATE".to_owned()], ..v1::EventsRequest::default() };
    let mut live = events(&bench, filter.clone()).await.unwrap();
    bench.write(5, "hello");
    let mut cursors = Vec::new();
    let mut guilds = Vec::new();
    for _ in 0..5 {
        let (cursor, Item::Event(event)) = next(&mut live).await else { panic!("no event") };
        assert_eq!((event.name.as_str(), event.shard_id), ("MESSAGE_CREATE", 0));
        assert_eq!(event.mark(), v1::EventMark::Fresh);
        let payload: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
        assert_eq!((&payload["t"], &payload["s"]), (&event.name.clone().into(), &event.sequence.into()));
        assert_eq!(payload["d"]["guild_id"], event.guild_id.to_string());
        cursors.push(cursor);
        guilds.push(event.guild_id);
    }
    // From the second on, of two guilds.
    let from = v1::EventsRequest {
        cursor: cursors[1].clone(),
        guild_ids: vec![guilds[0], guilds[3]],
        ..filter.clone()
    };
    let mut again = events(&bench, from).await.unwrap();
    let (cursor, Item::Event(event)) = next(&mut again).await else { panic!("no event") };
    assert_eq!((&cursor, event.guild_id), (&cursors[3], guilds[3]));
    // Of no shard that there is.
    let none = v1::EventsRequest { cursor: cursors[0].clone(), shard_ids: vec![7], ..filter };
    let mut none = events(&bench, none).await.unwrap();
    bench.write(5, "again");
    next(&mut live).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), none.message()).await.is_err());
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_requests_are_refused() {
    let bench = Bench::start(sim(1), Recorder::default(), &[]).await;
    let wrong = [
        v1::EventsRequest { names: vec!["message".to_owned()], ..v1::EventsRequest::default() },
        v1::EventsRequest { cursor: "yesterday".to_owned(), ..v1::EventsRequest::default() },
        v1::EventsRequest { guild_ids: vec![1; 10_001], ..v1::EventsRequest::default() },
    ];
    for request in wrong {
        let refused = events(&bench, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    bench.finish().await;
}

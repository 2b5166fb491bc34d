//! Messages and requests to shards: several processes, Redis, a real network.

use std::collections::{BTreeMap, BTreeSet};

use altergolden_proto::{
    convert,
    v1::{BroadcastMessage, MessageRecipient, ReplyFailureKind, shard_reply, subscribe_response},
};
use fleet_fixture::{DEADLINE, PATIENCE, Signal, Worker, until};
use serde_json::{Value, json};
use shard_bridge::{BridgeClient, ClientError};
use tokio::time::Instant;
use tonic::{Code, Streaming};

use crate::{GUILDS, PATIENT_LEASE, SHARDS, TestFleet};

type Stream = Streaming<altergolden_proto::v1::SubscribeResponse>;

async fn next(stream: &mut Stream) -> BroadcastMessage {
    let item = tokio::time::timeout(PATIENCE, stream.message()).await.expect("an item in time");
    match item.unwrap().expect("the stream goes on").item {
        Some(subscribe_response::Item::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn code(error: &ClientError) -> Code {
    match error {
        ClientError::Refused(status) => status.code(),
        other => panic!("{other}"),
    }
}

/// Returns the notes that a bot has logged: shard and data of each.
fn notes(worker: &Worker) -> Vec<(String, String)> {
    let output = worker.process.output();
    let notes = output.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "note received").then(|| {
            let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            (field("shard.id"), field("data"))
        })
    });
    notes.collect()
}

/// Returns each shard's owner.
async fn owners(bench: &TestFleet) -> BTreeMap<u32, String> {
    let shards = bench.coordinator.client().await.shards("").await.unwrap();
    shards.into_iter().map(|shard| (shard.shard_id, shard.worker_id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn message_reaches_only_its_shard_from_any_process() {
    let bench = TestFleet::start(None).await;
    let (a, b) = bench.two_bots().await;
    let owners = owners(&bench).await;
    let mut clients: Vec<BridgeClient> =
        vec![bench.coordinator.client().await, a.client().await, b.client().await];
    let mut streams = BTreeMap::new();
    for worker in [&a, &b] {
        let stream = worker.client().await.subscribe_to(Vec::new(), &[MessageRecipient::Shard]).await;
        streams.insert(worker.name.clone(), stream.unwrap());
    }
    let mut at_coordinator = bench.coordinator.client().await.subscribe(Vec::new()).await.unwrap();

    let mut sent: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for (from, client) in clients.iter_mut().enumerate() {
        for shard in 0..SHARDS {
            let data = json!({ "from": from, "to": shard });
            let owner = &owners[&shard];
            sent.entry(owner.clone()).or_default().insert((shard.to_string(), data.to_string()));
            let answer = client.send_to_shard(shard, "note", convert::from_json(data.clone())).await.unwrap();
            assert!(answer.delivered && answer.reason.is_empty(), "{answer:?}");
            assert_eq!(&answer.worker_id, owner);
            // Subscribers in that process get it too.
            let seen = next(streams.get_mut(owner).unwrap()).await;
            assert_eq!((seen.shard_id, seen.recipient()), (Some(shard), MessageRecipient::Shard));
            assert_eq!(seen.data.map(convert::to_json), Some(data));
        }
    }
    for worker in [&a, &b] {
        until("the notes", async || {
            let notes = notes(worker);
            let different: BTreeSet<_> = notes.iter().cloned().collect();
            (different == sent[&worker.name] && different.len() == notes.len()).then_some(())
        })
        .await;
    }
    // A message that bot code rejects counts as delivered only if the process has a subscriber.
    let mut client = bench.coordinator.client().await;
    let answer = client.send_to_shard(0, "what?", convert::from_json(json!(1))).await.unwrap();
    assert!(answer.delivered, "{answer:?}");
    drop(streams);
    until("no listener", async || {
        let answer = client.send_to_shard(0, "what?", convert::from_json(json!(1))).await.unwrap();
        (!answer.delivered && answer.reason.contains(&format!("no listener on worker {}", owners[&0])))
            .then_some(())
    })
    .await;

    for client in &mut clients {
        let unknown = client.send_to_shard(SHARDS, "note", convert::from_json(json!(1))).await.unwrap_err();
        assert_eq!(code(&unknown), Code::NotFound, "{unknown}");
    }
    // None of these messages went over the bus.
    client.broadcast("last", convert::from_json(json!(1))).await.unwrap();
    assert_eq!(next(&mut at_coordinator).await.r#type, "last");
    bench.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shard_replies_to_a_request() {
    let bench = TestFleet::start(None).await;
    let (a, b) = bench.two_bots().await;
    let owners = owners(&bench).await;
    for client in [&mut bench.coordinator.client().await, &mut a.client().await, &mut b.client().await] {
        let answer =
            client.request_shards(Vec::new(), "stats", convert::from_json(json!(null))).await.unwrap();
        assert!(answer.complete, "{answer:?}");
        let mut guilds = 0;
        for (shard, reply) in answer.replies.into_iter().enumerate() {
            assert_eq!(reply.shard_id, shard as u32);
            assert_eq!(reply.worker_id, owners[&reply.shard_id]);
            let Some(shard_reply::Outcome::Value(value)) = reply.outcome else { panic!("no value") };
            guilds += convert::to_json(value)["guilds"].as_u64().unwrap();
        }
        assert_eq!(guilds, u64::from(GUILDS));
        let some = client.request_shards(vec![3, 1, 3], "what?", convert::from_json(json!(1))).await.unwrap();
        let numbers: Vec<u32> = some.replies.iter().map(|reply| reply.shard_id).collect();
        assert!(!some.complete && numbers == [1, 3], "{some:?}");
        let kinds = some.replies.iter().map(|reply| match &reply.outcome {
            Some(shard_reply::Outcome::Failure(failure)) => failure.kind(),
            other => panic!("{other:?}"),
        });
        assert!(kinds.eq([ReplyFailureKind::UnknownType; 2]));
    }
    bench.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_worker_costs_at_most_the_deadline_and_is_named() {
    let bench = TestFleet::start(Some(PATIENT_LEASE)).await;
    let (mut a, b) = bench.two_bots().await;
    let owners = owners(&bench).await;
    let of_a: BTreeSet<u32> =
        owners.iter().filter(|(_, owner)| **owner == a.name).map(|(shard, _)| *shard).collect();
    let on_a = *of_a.first().unwrap();

    a.process.signal(Signal::STOP);
    for client in [&mut bench.coordinator.client().await, &mut b.client().await] {
        let asked = Instant::now();
        let answer = client.request_shards(Vec::new(), "stats", convert::from_json(json!(1))).await.unwrap();
        assert!(asked.elapsed() < DEADLINE, "{:?}", asked.elapsed());
        assert!(!answer.complete && answer.replies.len() == SHARDS as usize);
        for reply in &answer.replies {
            match &reply.outcome {
                Some(shard_reply::Outcome::Failure(failure)) => {
                    assert!(of_a.contains(&reply.shard_id), "{reply:?}");
                    // The silent connection may be detected before the deadline.
                    let kinds = [ReplyFailureKind::TooLate, ReplyFailureKind::Unreachable];
                    assert!(kinds.contains(&failure.kind()), "{failure:?}");
                    assert!(failure.reason.contains("worker bot-a"), "{failure:?}");
                }
                _ => assert!(!of_a.contains(&reply.shard_id), "{reply:?}"),
            }
        }
        let asked = Instant::now();
        let sent = client.send_to_shard(on_a, "note", convert::from_json(json!("stopped"))).await;
        assert!(asked.elapsed() < DEADLINE, "{:?}", asked.elapsed());
        let doubt = sent.unwrap_err();
        assert!([Code::DeadlineExceeded, Code::Unavailable].contains(&code(&doubt)), "{doubt}");
        // Over TLS, a connection that is made meanwhile does not even finish its handshake.
        let text = doubt.to_string();
        assert!(text.contains("worker bot-a"), "{text}");
        assert!(text.contains("may have arrived") || text.contains("cannot be reached"), "{text}");
    }
    // The worker resumes after its callers gave up; requests waiting in its socket are not handled.
    a.process.signal(Signal::CONT);
    let mut client = bench.coordinator.client().await;
    until("it to answer again", async || {
        client.send_to_shard(on_a, "note", convert::from_json(json!("awake"))).await.ok()
    })
    .await;

    a.process.kill().await;
    let sent = client.send_to_shard(on_a, "note", convert::from_json(json!("dead"))).await;
    // Either the worker is unreachable, or the coordinator has already taken its shards.
    let gone = sent.unwrap_err();
    assert_eq!(code(&gone), Code::Unavailable, "{gone}");
    assert!(!gone.to_string().contains("may have"), "{gone}");
    bench.coordinator.until_balanced(&[&b]).await;
    let answer = client.request_shards(Vec::new(), "stats", convert::from_json(json!(1))).await.unwrap();
    assert!(answer.complete && answer.replies.iter().all(|reply| reply.worker_id == b.name), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn manager_messages_reach_all_subscribers_also_after_a_redis_restart() {
    let mut bench = TestFleet::start(None).await;
    let (a, b) = bench.two_bots().await;
    let mut streams = Vec::new();
    for client in [&mut bench.coordinator.client().await, &mut a.client().await, &mut b.client().await] {
        streams.push(client.subscribe_to(Vec::new(), &[MessageRecipient::Manager]).await.unwrap());
    }
    let mut others = a.client().await.subscribe_to(Vec::new(), &[MessageRecipient::All]).await.unwrap();
    let mut from_a = a.client().await;
    let id =
        from_a.send_to_manager(Some(3), "ready", convert::from_json(json!({"guilds": 15}))).await.unwrap();
    for stream in &mut streams {
        let seen = next(stream).await;
        assert_eq!((seen.message_id.as_str(), seen.r#type.as_str()), (id.as_str(), "ready"));
        assert_eq!((seen.recipient(), seen.shard_id), (MessageRecipient::Manager, Some(3)));
        assert_eq!(
            (seen.sender.as_str(), seen.data.map(convert::to_json)),
            ("bot-a", Some(json!({"guilds": 15})))
        );
    }
    let unknown = from_a.send_to_manager(Some(SHARDS), "ready", convert::from_json(json!(1))).await;
    assert_eq!(code(&unknown.unwrap_err()), Code::NotFound);
    a.client().await.broadcast("to all", convert::from_json(json!(1))).await.unwrap();
    assert_eq!(next(&mut others).await.r#type, "to all", "not a broadcast");

    bench.deployment.redis.kill();
    until("the bus to be away", async || {
        let sent = from_a.send_to_manager(None, "lost", convert::from_json(json!(1))).await.err()?;
        assert_eq!(code(&sent), Code::Unavailable, "{sent}");
        sent.to_string().contains("event bus").then_some(())
    })
    .await;
    // Messages to shards need no Redis.
    let sent = bench.coordinator.client().await.send_to_shard(0, "note", convert::from_json(json!(1))).await;
    assert!(sent.unwrap().delivered);
    bench.deployment.redis.restart().await;
    // Sent as soon as one process is back; the others get it when they reconnect.
    until("the bus to be back", async || {
        from_a.send_to_manager(None, "back", convert::from_json(json!(2))).await.ok()
    })
    .await;
    for stream in &mut streams {
        let back = tokio::time::timeout(PATIENCE, async {
            loop {
                // Redis came back empty, so the stream also reports possible gaps.
                let item = stream.message().await.unwrap().unwrap().item;
                if let Some(subscribe_response::Item::Message(message)) = item {
                    return message;
                }
            }
        });
        let back = back.await.expect("the message in time");
        assert_eq!((back.r#type.as_str(), back.shard_id), ("back", None));
    }
    bench.assert_lawful();
}

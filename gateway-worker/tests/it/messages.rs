//! What other parts of the bot tell and ask a shard, over real sockets between several workers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use altergolden_proto::{
    convert,
    v1::{
        self, MessageRecipient, ReplyFailureKind as Kind, shard_bridge_client::ShardBridgeClient,
        shard_reply::Outcome, subscribe_response::Item,
    },
};
use discord_sim::SimConfig;
use gateway_worker::{
    Context, ErrorClass, Event, EventHandler, MessageOutcome, RequestError, ShardMessage, ShardRequest,
    Wanted, async_trait,
    serde_json::{Value, json},
};
use shard_bridge::BridgeClient;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::bench::{Bench, Recorder, sim};

const PATIENCE: Duration = Duration::from_mins(1);
const DEADLINE: Duration = Duration::from_secs(2);

/// What all workers of a test write what they were told into: worker, shard, type.
type Told = Arc<Mutex<Vec<(&'static str, u32, String)>>>;

struct Bot {
    worker: &'static str,
    told: Told,
    /// Grows when a request that waits begins, and falls when it goes.
    waiting: watch::Sender<i32>,
}

struct Waits<'a>(&'a watch::Sender<i32>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[async_trait]
impl EventHandler for Bot {
    fn wants(&self) -> Wanted {
        Wanted::Nothing
    }

    async fn handle(&self, _: &Context, _: &Event) {}

    async fn message(&self, context: &Context, message: &ShardMessage) -> MessageOutcome {
        self.told.lock().unwrap().push((self.worker, context.shard().slot().0, message.kind.clone()));
        MessageOutcome::Accepted
    }

    async fn request(&self, context: &Context, request: &ShardRequest) -> Result<Value, RequestError> {
        let shard = context.shard().slot().0;
        match request.kind.as_str() {
            "who" => Ok(json!([self.worker, shard])),
            "large" => Ok("x".repeat(request.data.as_u64().unwrap_or(0) as usize).into()),
            // Each in its own way.
            "odd" => match shard {
                0 => panic!("as the test has it"),
                1 => std::future::pending().await,
                2 => Err(RequestError::failed("no luck")),
                3 => Ok("x".repeat(300_000).into()),
                4 => Ok((0..200).fold(json!(1), |value, _| json!([value]))),
                _ => Ok(json!(shard)),
            },
            "wait" => {
                self.waiting.send_modify(|waiting| *waiting += 1);
                let _waits = Waits(&self.waiting);
                std::future::pending().await
            }
            // What bot code asks from within.
            "relay" => {
                let bridge = context.bridge();
                let until = request.deadline - Duration::from_millis(200);
                let replies = bridge.request(&[], "who", Value::Null, until).await;
                let replies = replies.map_err(RequestError::failed)?;
                let sent = bridge.send_to_shard(5, "relayed", json!(shard), until).await;
                let sent = sent.map_err(RequestError::failed)?;
                bridge
                    .send_to_manager(Some(shard), "relayed", &json!(1), until)
                    .await
                    .map_err(RequestError::failed)?;
                let unknown = bridge.send_to_shard(6, "relayed", json!(shard), until).await;
                let unknown = unknown.map_err(|error| error.class());
                Ok(json!({
                    "complete": replies.complete, "count": replies.replies.len(),
                    "delivered": sent.delivered, "not_found": unknown == Err(ErrorClass::NotFound),
                }))
            }
            _ => Err(RequestError::UnknownType),
        }
    }
}

/// Two workers with half of the shards each.
struct Pair {
    bench: Bench,
    shards: u32,
    told: Told,
    waiting: watch::Receiver<i32>,
    a: CancellationToken,
    owners: BTreeMap<u32, String>,
}

const SHARDS: u32 = 6;

impl Pair {
    async fn start() -> Self {
        Self::of(SHARDS).await
    }

    async fn of(shards: u32) -> Self {
        let sim = SimConfig { max_concurrency: shards as u16, ..sim(6) };
        let mut bench = Bench::of_shards(shards, sim, Recorder::default()).await;
        let told = Told::default();
        let (waiting, watched) = watch::channel(0);
        let bot = |worker| Arc::new(Bot { worker, told: told.clone(), waiting: waiting.clone() });
        let (a, b) = (bot("a"), bot("b"));
        let a = bench.worker("a", a, &[]).await;
        bench.worker("b", b, &[]).await;
        let mut pair = Self { bench, shards, told, waiting: watched, a, owners: BTreeMap::new() };
        let half = shards as usize / 2;
        pair.until_ready(|owners| owners.values().filter(|owner| *owner == "a").count() == half).await;
        pair
    }

    async fn until_ready(&mut self, is: impl Fn(&BTreeMap<u32, String>) -> bool) {
        let ready = i32::from(v1::ShardStatus::Ready);
        let asking = async {
            loop {
                let shards = self.bench.client.shards("").await.unwrap_or_default();
                let owners: BTreeMap<u32, String> = shards
                    .into_iter()
                    .filter(|shard| shard.status == ready)
                    .map(|shard| (shard.shard_id, shard.worker_id))
                    .collect();
                if owners.len() == self.shards as usize && is(&owners) {
                    return owners;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        self.owners = tokio::time::timeout(PATIENCE, asking).await.expect("all shards to be ready");
    }

    async fn ask(&mut self, shards: &[u32], kind: &str, data: Value) -> v1::RequestResponse {
        let data = convert::from_json(data);
        self.bench.client.request_shards(shards.to_vec(), kind, data).await.unwrap()
    }

    /// A client like any in another language: with gRPC's usual limits.
    async fn plain(&self) -> ShardBridgeClient<tonic::transport::Channel> {
        ShardBridgeClient::connect(self.bench.coordinator.clone()).await.unwrap()
    }
}

fn value(reply: &v1::ShardReply) -> Value {
    match &reply.outcome {
        Some(Outcome::Value(value)) => convert::to_json(value.clone()),
        other => panic!("{other:?}"),
    }
}

fn failure(reply: &v1::ShardReply) -> (Kind, &str) {
    match &reply.outcome {
        Some(Outcome::Failure(failure)) => (failure.kind(), &failure.reason),
        other => panic!("no failure: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_of_one_shard_leaves_other_answers() {
    let mut pair = Pair::start().await;
    let who = pair.ask(&[], "who", Value::Null).await;
    assert!(who.complete, "{who:?}");
    for reply in &who.replies {
        let owner = &pair.owners[&reply.shard_id];
        assert_eq!((&reply.worker_id, value(reply)), (owner, json!([owner, reply.shard_id])));
    }

    let asked = Instant::now();
    let odd = pair.ask(&[], "odd", Value::Null).await;
    assert!(
        asked.elapsed() < DEADLINE,
        "a shard that never replies costs the deadline: {:?}",
        asked.elapsed()
    );
    assert!(!odd.complete && odd.replies.len() == SHARDS as usize, "{odd:?}");
    assert_eq!(failure(&odd.replies[0]), (Kind::Failed, "its bot code panicked"));
    assert_eq!(failure(&odd.replies[1]).0, Kind::TooLate);
    assert_eq!(failure(&odd.replies[2]), (Kind::Failed, "no luck"));
    let (kind, why) = failure(&odd.replies[3]);
    assert!(kind == Kind::TooLarge && why.contains("300002 bytes"), "{why}");
    assert!(failure(&odd.replies[4]).1.contains("nested"));
    assert_eq!(value(&odd.replies[5]), 5);

    let relay = pair.ask(&[0, 3, 5], "relay", Value::Null).await;
    for reply in &relay.replies {
        let wanted = json!({ "complete": true, "count": SHARDS, "delivered": true, "not_found": true });
        assert_eq!(value(reply), wanted, "asked from within shard {}", reply.shard_id);
    }
    assert_eq!(pair.told.lock().unwrap().iter().filter(|told| told.1 == 5).count(), 3);
    assert_eq!(pair.told.lock().unwrap().len(), 3, "shard 5 was told, and no other");
    pair.bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_is_as_large_as_its_caller_takes() {
    // 20 replies of 250 kB are 5 MB: more than a client takes unless it is told otherwise.
    let mut pair = Pair::of(20).await;
    let all = pair.ask(&[], "large", json!(250_000)).await;
    assert!(all.complete && all.replies.len() == 20, "our own client takes more");
    let mut plain = pair.plain().await;
    let large = |max_bytes| v1::RequestRequest {
        r#type: "large".to_owned(),
        data: Some(convert::from_json(json!(250_000))),
        max_bytes,
        ..v1::RequestRequest::default()
    };
    let some = plain.request(large(None)).await.unwrap().into_inner();
    let fitting = (4 << 20) / 250_000;
    for reply in &some.replies {
        if (reply.shard_id as usize) < fitting {
            assert_eq!(value(reply).as_str().map(str::len), Some(250_000));
        } else {
            let (kind, why) = failure(reply);
            assert!(kind == Kind::TooLarge && why.contains("4194304"), "{why}");
        }
    }
    let mut roomy = pair.plain().await.max_decoding_message_size(6 << 20);
    assert!(roomy.request(large(Some(6 << 20))).await.unwrap().into_inner().complete);

    let digits = v1::RequestRequest {
        r#type: "echo".to_owned(),
        data: Some(convert::from_json(json!("x".repeat(262_144 - 1)))),
        ..v1::RequestRequest::default()
    };
    let too_much = plain.request(digits).await.unwrap_err();
    assert_eq!(too_much.code(), Code::InvalidArgument);
    assert!(too_much.message().contains("262145 bytes"), "{too_much}");
    for (kind, shards, code) in [
        ("", vec![0], Code::InvalidArgument),
        ("who", vec![0; 65_537], Code::InvalidArgument),
        ("who", vec![0, 20], Code::NotFound),
    ] {
        let request = v1::RequestRequest {
            r#type: kind.to_owned(),
            shard_ids: shards,
            ..v1::RequestRequest::default()
        };
        assert_eq!(plain.request(request).await.unwrap_err().code(), code);
    }
    pair.bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_work_for_a_caller_that_has_gone() {
    let mut pair = Pair::start().await;
    let mut plain = pair.plain().await;
    let asking = tokio::spawn(async move {
        let request = v1::RequestRequest {
            r#type: "wait".to_owned(),
            deadline_ms: Some(30_000),
            ..v1::RequestRequest::default()
        };
        plain.request(request).await
    });
    let all = i32::try_from(SHARDS).unwrap();
    let begun = pair.waiting.wait_for(|waiting| *waiting == all);
    tokio::time::timeout(PATIENCE, begun).await.expect("all to wait").unwrap();
    asking.abort();
    let ended = Instant::now();
    let none = pair.waiting.wait_for(|waiting| *waiting == 0);
    tokio::time::timeout(PATIENCE, none).await.expect("all to be ended").unwrap();
    assert!(ended.elapsed() < Duration::from_secs(20), "long before the deadline: {:?}", ended.elapsed());
    pair.bench.finish().await;
}

/// Sends to a shard until it is told to stop: how many were delivered, and how many refused.
async fn keep_sending(mut client: BridgeClient, shard: u32, stop: CancellationToken) -> (usize, usize) {
    let (mut delivered, mut refused) = (0, 0);
    while !stop.is_cancelled() {
        match client.send_to_shard(shard, "moving", convert::from_json(json!(1))).await {
            Ok(sent) => {
                assert!(sent.delivered, "{sent:?}");
                delivered += 1;
            }
            Err(error) => {
                // Between two owners for longer than it is waited for: never in doubt.
                assert!(!error.to_string().contains("may have arrived"), "{error}");
                refused += 1;
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
    (delivered, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn shard_receives_callbacks_during_its_handoff() {
    let mut pair = Pair::start().await;
    let mut manager = pair.bench.client.subscribe_to(Vec::new(), &[MessageRecipient::Manager]).await.unwrap();
    let stop = CancellationToken::new();
    let mut senders = JoinSet::new();
    for shard in 0..SHARDS {
        senders.spawn(keep_sending(pair.bench.client.clone(), shard, stop.clone()));
    }
    // Each sender has its first message out.
    while pair.told.lock().unwrap().len() < SHARDS as usize {
        sleep(Duration::from_millis(5)).await;
    }
    pair.a.cancel();
    let mut after = 0;
    // Until they are all on b, and some time after.
    while after < 20 {
        let answer = pair.ask(&[], "who", Value::Null).await;
        assert_eq!(answer.replies.len(), SHARDS as usize);
        for reply in &answer.replies {
            if let Some(Outcome::Value(_)) = reply.outcome {
                let told = value(reply);
                assert_eq!((&told[0], &told[1]), (&json!(reply.worker_id), &json!(reply.shard_id)));
            }
        }
        if answer.complete && answer.replies.iter().all(|reply| reply.worker_id == "b") {
            after += 1;
        }
    }
    stop.cancel();
    let (mut delivered, mut refused) = (0, 0);
    while let Some(counts) = senders.join_next().await {
        let (more, not) = counts.unwrap();
        (delivered, refused) = (delivered + more, refused + not);
    }
    let told = pair.told.lock().unwrap().clone();
    assert_eq!(told.len(), delivered, "what was delivered was delivered once, what was not was not");
    assert!(told.iter().any(|told| told.0 == "a") && told.iter().any(|told| told.0 == "b"));
    assert!(refused <= SHARDS as usize * 2, "{refused} were refused, {delivered} delivered");

    // Over the bus all the while.
    pair.bench.client.send_to_manager(None, "done", convert::from_json(json!(1))).await.unwrap();
    let item = tokio::time::timeout(PATIENCE, manager.message()).await.unwrap().unwrap().unwrap();
    assert!(matches!(item.item, Some(Item::Message(message)) if message.r#type == "done"));
    pair.bench.finish().await;
}

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use fleet_model::{Epoch, ShardStatus};
use serde_json::json;
use shard_bridge::{LocalShards as _, Wants};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::*;
use crate::{
    bot::EventQueues,
    event::Event,
    handler::{EventHandler, NoHandler},
    lease::Lease,
    shards::{CALLS, RunningShard, RunningShards},
    testing::{self, EPOCH, SHARD},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Does what the type of a message or a request says.
#[derive(Default)]
struct Scripted {
    /// What was begun with.
    began: Mutex<Vec<String>>,
    /// Notified when a callback's future is dropped, ended or not.
    gone: Arc<Notify>,
    leave: Notify,
}

struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Scripted {
    fn began(&self) -> usize {
        self.began.lock().unwrap().len()
    }
}

#[async_trait]
impl EventHandler for Scripted {
    async fn handle(&self, _: &Context, _: &Event) {}

    async fn message(&self, _: &Context, message: &ShardMessage) -> MessageOutcome {
        self.began.lock().unwrap().push(message.kind.clone());
        let _gone = Gone(self.gone.clone());
        match message.kind.as_str() {
            "waits" => self.leave.notified().await,
            "panics" => panic!("as the test has it"),
            "unknown" => return MessageOutcome::Declined,
            _ => {}
        }
        MessageOutcome::Accepted
    }

    async fn request(&self, context: &Context, request: &ShardRequest) -> Result<Value, RequestError> {
        self.began.lock().unwrap().push(request.kind.clone());
        let _gone = Gone(self.gone.clone());
        match request.kind.as_str() {
            "shard" => Ok(json!({ "shard": context.shard().slot().0, "data": request.data })),
            "waits" => std::future::pending().await,
            "panics" => panic!("as the test has it"),
            "fails" => Err(RequestError::failed("no luck")),
            "large" => Ok("x".repeat(LARGEST).into()),
            "deep" => Ok((0..1_000).fold(json!(1), |value, _| json!([value]))),
            _ => Err(RequestError::UnknownType),
        }
    }
}

/// One shard with bot code.
struct Bench {
    shards: RunningShards,
    shard: Arc<RunningShard>,
    bot: EventQueues,
    metrics: CallbackMetrics,
}

impl Bench {
    fn new(handler: Arc<dyn EventHandler>) -> Self {
        Self::with(testing::event_queues(handler), &testing::lease())
    }

    fn with(bot: EventQueues, lease: &LeaseWindow) -> Self {
        let state = testing::shard_at(EPOCH, "guilds");
        let metrics = CallbackMetrics::default();
        let slots = CallbackSlots::new(metrics.clone());
        let callbacks = ShardCallbacks::new(state.clone(), bot.code.clone(), slots, lease.clone());
        let shard = RunningShard::new(state.clone(), bot.queue_for(&state, lease, false), callbacks);
        let shards = RunningShards::new("w".parse().unwrap());
        shards.publish(BTreeMap::from([(SHARD, shard.clone())]), BTreeMap::new());
        Self { shards, shard, bot, metrics }
    }

    fn metrics(&self) -> &CallbackMetrics {
        &self.metrics
    }

    async fn send_within(&self, kind: &str, patience: Duration) -> Delivered {
        let message = ShardMessage {
            shard: SHARD.slot(),
            kind: kind.to_owned(),
            data: json!({"n": 1}),
            json: r#"{"n":1}"#.to_owned(),
            sender: "test".to_owned(),
        };
        self.shards.deliver(Arc::new(message), Instant::now() + patience).await
    }

    async fn send(&self, kind: &str) -> Delivered {
        self.send_within(kind, PATIENCE).await
    }

    async fn ask_within(&self, kind: &str, patience: Duration) -> AnswerOutcome {
        let request = ShardRequest {
            kind: kind.to_owned(),
            data: json!("hello"),
            json: r#""hello""#.to_owned(),
            sender: "test".to_owned(),
            deadline: Instant::now() + patience,
        };
        let answers = self.shards.ask(vec![SHARD.slot()], Arc::new(request), usize::MAX).await;
        let [answer] = answers.try_into().unwrap();
        assert_eq!(answer.shard, SHARD.slot());
        answer.outcome
    }

    async fn ask(&self, kind: &str) -> AnswerOutcome {
        self.ask_within(kind, PATIENCE).await
    }
}

fn failed(outcome: AnswerOutcome) -> (Kind, String) {
    match outcome {
        AnswerOutcome::Failed(failure) => (failure.kind, failure.reason),
        other => panic!("{other:?}"),
    }
}

/// A callback slot is free again soon after it has ended.
async fn until_idle(metrics: &CallbackMetrics) {
    timeout(PATIENCE, async {
        while metrics.running() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("all slots to be free");
}

#[tokio::test]
async fn bot_code_receives_messages_and_requests() {
    let handler = Arc::new(Scripted::default());
    let bench = Bench::new(handler.clone());
    assert_eq!(bench.send("hello").await, Delivered::Yes);
    assert_eq!(*handler.began.lock().unwrap(), ["hello"]);
    let AnswerOutcome::Json(json) = bench.ask("shard").await else { panic!("no reply") };
    let reply: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(reply, json!({ "shard": SHARD.slot().0, "data": "hello" }));
    assert_eq!(bench.metrics().count(CallbackKind::Message, "taken"), 1);
    assert_eq!(bench.metrics().count(CallbackKind::Request, "replied"), 1);
}

#[tokio::test]
async fn message_without_a_listener_is_reported() {
    for handler in [Arc::new(NoHandler) as Arc<dyn EventHandler>, Arc::new(Scripted::default())] {
        let bench = Bench::new(handler);
        assert_eq!(bench.send("unknown").await, Delivered::NoListener);
        let hub = bench.bot.code.tools.bridge.hub();
        let other = hub.subscribe(Wants::only(["other".to_owned()], None)).unwrap();
        assert_eq!(bench.send("unknown").await, Delivered::NoListener, "it is not subscribed to that");
        let mut subscription = hub.subscribe(Wants::everything()).unwrap();
        assert_eq!(bench.send("unknown").await, Delivered::Yes);
        match subscription.next().await {
            Some(shard_bridge::HubItem::ToShard(message)) => assert_eq!(message.data, json!({"n": 1})),
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.metrics().count(CallbackKind::Message, "not_taken"), 3);
        drop(other);
    }
    let (kind, _) = failed(Bench::new(Arc::new(NoHandler)).ask("anything").await);
    assert_eq!(kind, Kind::UnknownType);
}

#[tokio::test]
async fn nothing_starts_without_the_lease_or_the_shard() {
    let handler = Arc::new(Scripted::default());
    let lease = Lease::default();
    lease.renewed(BootTime::now(), Duration::from_hours(1));
    let bench = Bench::with(testing::event_queues(handler.clone()), lease.window());
    let mut subscription = bench.bot.code.tools.bridge.hub().subscribe(Wants::everything()).unwrap();
    assert!(bench.shards.may_act_for(SHARD.slot()));
    lease.refused();
    assert!(!bench.shards.may_act_for(SHARD.slot()), "what one worker does for the fleet needs a lease too");
    assert_eq!(bench.send("hello").await, Delivered::NoLease);
    let (kind, why) = failed(bench.ask("shard").await);
    assert!(kind == Kind::Unreachable && why.contains("lease"), "{why}");

    let bench = Bench::new(handler.clone());
    bench.shard.set_status(ShardStatus::Moving, "handed over");
    assert_eq!(bench.send("hello").await, Delivered::NotMine);
    assert_eq!(bench.ask("shard").await, AnswerOutcome::NotMine);

    let bench = Bench::new(handler.clone());
    bench.shard.outranked(Epoch(EPOCH.0 + 1));
    assert_eq!(bench.send("hello").await, Delivered::NotMine);
    assert_eq!(bench.ask("shard").await, AnswerOutcome::NotMine);
    bench.shards.publish(BTreeMap::new(), BTreeMap::new());
    assert_eq!(bench.send("hello").await, Delivered::NotMine);
    assert_eq!(bench.ask("shard").await, AnswerOutcome::NotMine);

    assert_eq!(handler.began(), 0);
    let nothing = timeout(Duration::from_millis(20), subscription.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test]
async fn slow_message_is_delivered_once_it_starts() {
    let handler = Arc::new(Scripted::default());
    let bench = Bench::new(handler.clone());
    assert_eq!(bench.send("waits").await, Delivered::Yes);
    assert_eq!(bench.metrics().running(), 1, "it has not ended");
    handler.leave.notify_one();
    until_idle(bench.metrics()).await;
}

#[tokio::test(start_paused = true)]
async fn message_times_out_after_a_minute() {
    let handler = Arc::new(Scripted::default());
    let bench = Bench::new(handler.clone());
    let began = Instant::now();
    assert_eq!(bench.send("waits").await, Delivered::Yes);
    handler.gone.notified().await;
    assert!(began.elapsed() >= LONGEST_MESSAGE);
    until_idle(bench.metrics()).await;
}

#[tokio::test]
async fn panics_and_failures_are_reported() {
    let bench = Bench::new(Arc::new(Scripted::default()));
    assert_eq!(bench.send("panics").await, Delivered::Yes, "it was begun with");
    for (kind, wanted, says) in [
        ("panics", Kind::Failed, "panicked"),
        ("fails", Kind::Failed, "no luck"),
        ("deep", Kind::Failed, "nested"),
        ("large", Kind::TooLarge, "262146 bytes"),
        ("what?", Kind::UnknownType, "does not know"),
    ] {
        let (told, why) = failed(bench.ask(kind).await);
        assert!(told == wanted && why.contains(says), "{kind}: {told:?} {why}");
        assert!(!why.contains("as the test has it"), "what a panic says is for the log");
    }
    until_idle(bench.metrics()).await;
}

#[tokio::test]
async fn request_ends_with_its_deadline() {
    let handler = Arc::new(Scripted::default());
    let bench = Bench::new(handler.clone());
    let asked = Instant::now();
    let (kind, _) = failed(bench.ask_within("waits", Duration::from_millis(50)).await);
    assert_eq!(kind, Kind::TooLate);
    assert!(asked.elapsed() < PATIENCE);
    handler.gone.notified().await;
    until_idle(bench.metrics()).await;
    assert_eq!(bench.metrics().count(CallbackKind::Request, "too_late"), 1);
    // A deadline that has passed already lets nothing begin.
    let before = handler.began();
    let (kind, _) = failed(bench.ask_within("shard", Duration::ZERO).await);
    assert_eq!((kind, handler.began()), (Kind::TooLate, before));
}

#[tokio::test]
async fn request_ends_with_its_caller() {
    let handler = Arc::new(Scripted::default());
    let bench = Arc::new(Bench::new(handler.clone()));
    let asking = tokio::spawn({
        let bench = bench.clone();
        async move { bench.ask("waits").await }
    });
    while handler.began() == 0 {
        tokio::task::yield_now().await;
    }
    asking.abort();
    timeout(PATIENCE, handler.gone.notified()).await.expect("it to be ended");
    until_idle(bench.metrics()).await;
    assert_eq!(bench.metrics().count(CallbackKind::Request, "cancelled"), 1);
}

#[tokio::test]
async fn callbacks_under_way_are_bounded() {
    let handler = Arc::new(Scripted::default());
    let bench = Bench::new(handler.clone());
    for _ in 0..AT_ONCE {
        assert_eq!(bench.send("waits").await, Delivered::Yes);
    }
    let soon = Duration::from_millis(30);
    assert_eq!(bench.send_within("one more", soon).await, Delivered::Busy);
    let (kind, why) = failed(bench.ask_within("shard", soon).await);
    assert!(kind == Kind::TooLate && why.contains("too much to do"), "{why}");
    assert_eq!(handler.began(), AT_ONCE);
    // It gets the slot of one that ends while it waits.
    let (delivered, ()) = tokio::join!(bench.send("waited"), async {
        tokio::task::yield_now().await;
        handler.leave.notify_one();
    });
    assert_eq!(delivered, Delivered::Yes);

    let _calls = bench.shards.calls.clone().try_acquire_many_owned(CALLS as u32).unwrap();
    assert_eq!(bench.send("hello").await, Delivered::Busy);
    let (kind, why) = failed(bench.ask("shard").await);
    assert!(kind == Kind::Failed && why.contains("under way"), "{why}");
}

#[tokio::test]
async fn callback_that_missed_its_deadline_never_starts() {
    let handler = Arc::new(Scripted::default());
    let mut bot = testing::event_queues(handler.clone());
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    bot.code.runtime = threads.handle().clone();
    let bench = Bench::with(bot, &testing::lease());
    // Its only thread is blocked, as by bot code that does so.
    let (leave, blocked) = std::sync::mpsc::channel::<()>();
    threads.spawn(async move { blocked.recv() });
    assert_eq!(bench.send_within("hello", Duration::from_millis(50)).await, Delivered::TooLate);
    let (kind, _) = failed(bench.ask_within("shard", Duration::from_millis(50)).await);
    assert_eq!(kind, Kind::TooLate);
    leave.send(()).unwrap();
    until_idle(bench.metrics()).await;
    assert_eq!(handler.began(), 0, "its sender was told that it did not arrive");
    assert_eq!(bench.send("hello").await, Delivered::Yes);
    threads.shutdown_background();
}

use std::collections::BTreeSet;

use fleet_model::{Position, ShardEvent};

use super::*;
use crate::{NoHandler, shards::RunningShard, testing};

/// Takes nothing.
struct Away;

#[async_trait::async_trait]
impl ::relay::RelayStore for Away {
    async fn append(
        &self,
        _: fleet_model::ShardKey,
        _: fleet_model::Epoch,
        _: Option<::relay::Position>,
        _: &[::relay::NewEntry],
    ) -> Result<::relay::Appended, ::relay::RelayError> {
        Err(::relay::RelayError::Away("a test".to_owned()))
    }

    async fn rewind(
        &self,
        _: fleet_model::ShardKey,
        _: fleet_model::Epoch,
        _: ::relay::Position,
        _: ::relay::Position,
    ) -> Result<::relay::Appended, ::relay::RelayError> {
        Err(::relay::RelayError::Away("a test".to_owned()))
    }

    fn reader(&self) -> Arc<dyn ::relay::RelayStore> {
        Arc::new(Self)
    }

    async fn newest(&self) -> Result<::relay::EntryId, ::relay::RelayError> {
        Ok(::relay::EntryId::default())
    }

    async fn generation(&self) -> Result<u64, ::relay::RelayError> {
        Ok(0)
    }

    async fn reached(
        &self,
        shards: &[fleet_model::ShardSlot],
    ) -> Result<Vec<Option<::relay::Position>>, ::relay::RelayError> {
        Ok(vec![None; shards.len()])
    }

    async fn locate(&self, _: u64) -> Result<::relay::EntryId, ::relay::RelayError> {
        Ok(::relay::EntryId::default())
    }

    async fn read(
        &self,
        _: &::relay::EventNames,
        _: ::relay::EntryId,
        _: Duration,
    ) -> Result<::relay::Page, ::relay::RelayError> {
        Ok(::relay::Page::default())
    }
}

fn event(sequence: u64) -> ShardEvent {
    ShardEvent {
        name: "MESSAGE_CREATE".into(),
        position: Position::new(1, sequence),
        guild: Some(5),
        mark: Mark::Fresh,
        received_at_unix_ms: 1,
        traceparent: None,
        text: format!(r#"{{"op":0,"t":"MESSAGE_CREATE","s":{sequence},"d":{{}}}}"#).into(),
    }
}

#[tokio::test(start_paused = true)]
async fn unrelayed_event_is_pending_as_handled() {
    let shard = testing::shard_at(testing::EPOCH, "all");
    let mut bot = testing::event_queues(Arc::new(NoHandler));
    bot.relaying = Some(Relaying {
        relay: crate::Relay { store: Arc::new(Away), redis: None, names: ::relay::EventNames::All },
        bounds: ::relay::Bounds { events: 8, bytes: 1_024 },
        metrics: ::relay::RelayMetrics::default(),
        status: ::relay::RelayStatus::default(),
        runtime: tokio::runtime::Handle::current(),
    });
    let event_queue = bot.queue_for(&shard, &testing::lease(), false);
    event_queue.pending_came();
    let mut texts = Vec::new();
    for sequence in 1..=3 {
        let event = event(sequence);
        texts.push(event.text.as_ptr());
        assert!(event_queue.has_room("MESSAGE_CREATE", 50) && event_queue.push(event));
    }
    // The first is written as handled, the second as one that is not.
    let (written, handled) =
        (BTreeSet::from([1, 2].map(|n| Position::new(1, n))), BTreeSet::from([Position::new(1, 1)]));
    let pending =
        event_queue.pending(Position::new(1, 2), &KnownPending { written: &written, handled: &handled });
    assert_eq!(pending.positions, [1, 2].map(|n| Position::new(1, n)));
    let [again] = pending.unknown.as_slice() else { panic!("{:?}", pending.unknown) };
    assert!(again.position == Position::new(1, 2) && again.handled && again.started);

    let left = event_queue.close(Duration::from_millis(250)).await;
    assert!(left.len() == 3 && left.iter().all(|event| event.handled));
    let shared: Vec<_> = left.iter().map(|event| event.text.as_ptr()).collect();
    assert_eq!(shared, texts, "the payload is copied nowhere");
}

#[tokio::test]
async fn ended_shard_is_dropped_with_its_cache() {
    let shard = testing::shard_at(testing::EPOCH, "all");
    let event_queue = testing::event_queues(Arc::new(NoHandler)).queue_for(&shard, &testing::lease(), false);
    let running = testing::running_with(&shard, event_queue.clone());
    let left = Arc::downgrade(&shard);
    event_queue.abandon();
    drop(event_queue);
    running.detach_queue();
    drop((running, shard));
    assert_eq!(left.strong_count(), 0);
}

/// Sends each event that it starts with, and waits for a permit before it ends.
struct Slow(tokio::sync::mpsc::UnboundedSender<u64>, Arc<tokio::sync::Semaphore>);

#[async_trait::async_trait]
impl EventHandler for Slow {
    async fn handle(&self, _: &Context, event: &Event) {
        let _ = self.0.send(event.position().sequence);
        self.1.acquire().await.unwrap().forget();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handler_starts_after_the_shard_has_ended() {
    type Way = fn(&RunningShard, &EventQueue);
    let ways: [(&str, Way); 5] = [
        ("its task ends", |_, event_queue| event_queue.abandon()),
        ("another worker has it", |shard, _| shard.outranked(fleet_model::Epoch(99))),
        ("it is given up", |shard, _| shard.detach_queue()),
        ("its task is aborted", |_, event_queue| {
            let abandoned = event_queue.abandoned_on_drop();
            let task = tokio::spawn(async move {
                let _abandoned = abandoned;
                std::future::pending::<()>().await;
            });
            task.abort();
            while !task.is_finished() {
                std::thread::yield_now();
            }
        }),
        ("its set drops it", |_, event_queue| drop(event_queue.abandoned_on_drop())),
    ];
    for (way, take_away) in ways {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let shard = testing::shard_at(testing::EPOCH, "all");
        let bot = testing::event_queues(Arc::new(Slow(tell, gate.clone())));
        let event_queue = bot.queue_for(&shard, &testing::lease(), false);
        let running = testing::running_with(&shard, event_queue.clone());
        for sequence in 1..=9 {
            assert!(event_queue.push(event(sequence)));
        }
        assert_eq!(told.recv().await, Some(1), "{way}");
        take_away(&running, &event_queue);
        gate.add_permits(100);
        bot.code.stragglers.close();
        bot.code.stragglers.wait().await;
        assert!(told.try_recv().is_err(), "{way}: a handler began");
        assert!(!event_queue.push(event(11)), "{way}: an event was taken");
    }
}

#[tokio::test]
async fn unhandled_event_is_left_for_the_next_owner() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Semaphore::new(9));
    let shard = testing::shard_at(testing::EPOCH, "all");
    let event_queue =
        testing::event_queues(Arc::new(Slow(tell, gate))).queue_for(&shard, &testing::lease(), false);
    // RESUMED has come, and no checkpoint covers it yet.
    event_queue.hold_until_covered(Position::new(1, 1));
    assert!(event_queue.push(event(2)));
    tokio::task::yield_now().await;
    let left = event_queue.close(Duration::from_millis(250)).await;
    assert_eq!(
        left.iter().map(|event| (event.position.sequence, event.started)).collect::<Vec<_>>(),
        [(2, false)]
    );
    assert!(told.try_recv().is_err());
}

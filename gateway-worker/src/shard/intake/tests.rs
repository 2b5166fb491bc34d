//! What is taken when there is no room.

use async_trait::async_trait;

use super::*;
use crate::{
    handler::{Context, EventHandler},
    testing::{self, EPOCH},
};

/// Handles nothing to its end.
struct Stuck;

#[async_trait]
impl EventHandler for Stuck {
    async fn handle(&self, _: &Context, _: &Event) {
        std::future::pending::<()>().await;
    }
}

/// An intake whose queue has room for so many events.
async fn intake(room: usize) -> Intake {
    let shard = testing::shard_at(EPOCH, "all");
    let mut bot = testing::bot(Arc::new(Stuck));
    bot.limits.items = room;
    let parts = IntakeParts {
        deliveries: bot.deliveries(&shard, &testing::lease(), false),
        shard,
        checkpoints: testing::checkpoints(testing::memory(), Keep::Full),
        metrics: ShardMetrics::default(),
        intents: 1,
        resources: Vec::new(),
        carried: None,
    };
    Intake::begin(parts, || true).await.unwrap()
}

fn ready(session: &str, sequence: u64) -> Dispatch {
    let text = format!(
        r#"{{"op":0,"t":"READY","s":{sequence},"d":{{"session_id":"{session}","resume_gateway_url":"ws://x"}}}}"#
    );
    Dispatch { name: "READY".to_owned(), sequence, text }
}

fn message(sequence: u64) -> Dispatch {
    let text = format!(r#"{{"op":0,"t":"MESSAGE_CREATE","s":{sequence},"d":{{"id":"1","guild_id":"5"}}}}"#);
    Dispatch { name: "MESSAGE_CREATE".to_owned(), sequence, text }
}

#[tokio::test]
async fn a_session_begins_whether_there_is_room_or_not() {
    let mut intake = intake(3).await;
    assert_eq!(intake.take(ready("first", 1)), Taken::Yes);
    for sequence in [2, 3] {
        assert_eq!(intake.take(message(sequence)), Taken::Yes);
    }
    assert_eq!(intake.take(message(4)), Taken::Full, "the queue is full");

    assert_eq!(intake.take(ready("second", 1)), Taken::Yes, "else the session would be begun twice: a gap");
    let progress = intake.shard.progress().unwrap();
    assert_eq!((progress.session.id.as_str(), progress.began_at, progress.read), ("second", 1, 1));
    assert_eq!(intake.take(message(2)), Taken::Full, "only READY is let in");
    let outcome = intake.ready(true);
    assert_eq!(outcome.kind, StartKind::Reidentified);
    assert_eq!(
        outcome.gap.map(|gap| gap.last_sequence),
        Some(3),
        "the one gap there is: of the first session"
    );
}

#[tokio::test]
async fn session_begins_above_the_fence_of_the_relay() {
    use ::relay::{Bounds, Caps, Lateness, MemoryRelay, NewEntry, Position, RelayStore as _};

    // Another worker, whose clock is an hour ahead, has relayed events of the shard.
    let memory = MemoryRelay::new(Caps::default());
    let ahead = unix_ms() + 3_600_000;
    let relayed = NewEntry {
        position: Position { session: ahead, sequence: 9 },
        name: "MESSAGE_CREATE".into(),
        guild: None,
        received_at_unix_ms: 0,
        lateness: Lateness::Fresh,
        traceparent: None,
        data: bytes::Bytes::new(),
    };
    memory.append(testing::SHARD, fleet_model::Epoch(1), None, &[relayed]).await.unwrap();

    let shard = testing::shard_at(EPOCH, "all");
    let mut bot = testing::bot(Arc::new(Stuck));
    bot.relaying = Some(crate::relay::Relaying {
        relay: crate::Relay::memory(memory),
        bounds: Bounds { events: 100, bytes: 100_000 },
        metrics: ::relay::RelayMetrics::default(),
        status: ::relay::RelayStatus::default(),
        runtime: tokio::runtime::Handle::current(),
    });
    let parts = IntakeParts {
        deliveries: bot.deliveries(&shard, &testing::lease(), false),
        shard,
        checkpoints: testing::checkpoints(testing::memory(), Keep::Full),
        metrics: ShardMetrics::default(),
        intents: 1,
        resources: Vec::new(),
        carried: None,
    };
    let mut intake = Intake::begin(parts, || true).await.unwrap();
    while intake.deliveries.relayed_session().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(intake.take(ready("first", 1)), Taken::Yes);
    assert_eq!(intake.shard.progress().unwrap().session.ordinal, ahead + 1);
}

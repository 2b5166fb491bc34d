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
pub(super) async fn intake(room: usize) -> Intake {
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

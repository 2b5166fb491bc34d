//! An event that was set aside, by way of the coordinator and the worker to its handler again.

use altergolden_proto::v1::SetAsideId;
use checkpoint::{Position, SetAside, SetAsideStore as _, SetAsideSummary};
use fleet_model::{Epoch, ShardKey};
use gateway_worker::Mark;
use shard_bridge::ClientError;
use tokio::sync::Semaphore;
use tonic::Code;

use crate::bench::{Bench, Recorder, sim};

const ID: SetAsideId = SetAsideId { shard_id: 0, session: 5, sequence: 42 };

fn refused(error: ClientError) -> Code {
    match error {
        ClientError::Refused(status) => status.code(),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_event_is_marked_and_removed_once_handled() {
    let recorder = Recorder { leave: Semaphore::new(0), ..Recorder::default() };
    let mut bench = Bench::start(sim(3), recorder, &[]).await;
    assert_eq!(refused(bench.client.replay_set_aside(ID).await.unwrap_err()), Code::NotFound);
    let summary = SetAsideSummary {
        at: Position { session: ID.session, sequence: ID.sequence },
        name: "MESSAGE_CREATE".to_owned(),
        received_at_unix_ms: 1,
        set_aside_at_unix_ms: 2,
        noted: 2,
    };
    let text = r#"{"op":0,"t":"MESSAGE_CREATE","s":42,"d":{"id":"7","guild_id":"9"}}"#.into();
    let event = SetAside { summary, text };
    bench.checkpoints.set_aside(ShardKey::new(0, 1), Epoch(u64::MAX), &event).await.unwrap();

    assert_eq!(bench.client.replay_set_aside(ID).await.unwrap(), "w");
    bench.until_seen("the event", |seen| !seen.messages().is_empty()).await;
    let seen = bench.recorder.messages().remove(0);
    assert_eq!((seen.position, seen.guild, seen.mark), (Position::new(5, 42), Some(9), Mark::Replayed));
    assert_eq!(refused(bench.client.replay_set_aside(ID).await.unwrap_err()), Code::AlreadyExists);
    assert_eq!(bench.client.set_asides().await.unwrap().len(), 1, "its handler has not ended");
    bench.recorder.leave.close();
    let gone = async {
        while !bench.client.set_asides().await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await.unwrap();
    assert_eq!(bench.recorder.messages().len(), 1);
    bench.finish().await;
}

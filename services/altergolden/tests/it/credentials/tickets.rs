//! A worker gives a shard to the worker that the coordinator names, by its ticket, and to no other holder of a worker's certificate.

use altergolden_proto::v1::{self, shard_copy::Part};
use fleet_fixture::{Worker, until};
use process::credentials::Role;
use tonic::{Code, Status, Streaming};

use super::{
    Scene,
    fake_worker::FakeWorker,
    gaps,
    thief::{Loot, Thief},
};

/// A worker whose sessions [`FakeWorker`] can take over.
async fn worker(scene: &Scene, coordinator: &fleet_fixture::Coordinator) -> Worker {
    let address = coordinator.address.split_once("://").unwrap().1;
    let mut command = scene.deployment.worker_command("a", address);
    command.env("CREDENTIALS", scene.folder.path()).env("INTENTS", "GUILDS");
    Worker::start("a", &mut command).await
}

async fn copy(
    thief: &Thief,
    shard_id: u32,
    epoch: u64,
    ticket: &[u8],
) -> Result<Streaming<v1::ShardCopy>, Status> {
    let request =
        v1::CopyShardRequest { shard_id, epoch, worker_id: "thief".to_owned(), ticket: ticket.to_vec() };
    thief.call("/altergolden.v1.GatewayWorker/CopyShard", futures_util::stream::iter([request])).await
}

/// Reads a copy until a part satisfies.
async fn read_until(copy: &mut Streaming<v1::ShardCopy>, is: impl Fn(&Part) -> bool) {
    while let Some(part) = copy.message().await.unwrap() {
        if part.part.as_ref().is_some_and(&is) {
            return;
        }
    }
    panic!("the copy ended");
}

/// A client of this worker's with the file of another worker.
async fn thief_at(scene: &Scene, worker: &Worker) -> Thief {
    let loot = Loot::file(&scene.folder.path().join("worker.pem"));
    Thief::connect(&scene.folder, &loot, Role::Worker, &worker.socket().to_string()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn shard_is_given_only_for_the_ticket_of_its_move() {
    let scene = Scene::start().await;
    let coordinator = scene.coordinator(&[]).await;
    let a = worker(&scene, &coordinator).await;
    coordinator.until_balanced(&[&a]).await;
    let identifies = scene.identifies();
    let thief = thief_at(&scene, &a).await;

    // Which shards run here, under which epochs, every worker may ask.
    let shards: v1::GetShardsResponse =
        thief.ask("/altergolden.v1.GatewayWorker/GetShards", v1::GetShardsRequest::default()).await.unwrap();
    let shards: Vec<(u32, u64)> = shards.shards.iter().map(|shard| (shard.shard_id, shard.epoch)).collect();
    assert_eq!(shards.len(), 4);
    let refused = async |shard: u32, epoch: u64, ticket: &[u8]| {
        let refused = copy(&thief, shard, epoch, ticket).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert!(refused.message().contains("ticket"), "{refused}");
    };
    for &(shard, epoch) in &shards {
        for ticket in [&[][..], &[7; 32], &[0; 16]] {
            refused(shard, epoch, ticket).await;
        }
    }

    // A worker joins, and the coordinator has shards of the other one move to it.
    let mut fake = FakeWorker::join(&scene.folder, &coordinator, |_| {}).await.unwrap();
    let assignment = fake.until_assigned(|assignment| !assignment.arriving.is_empty()).await;
    let moving = assignment.arriving[0].clone();
    assert_eq!(moving.ticket.len(), 32);
    for &(shard, epoch) in shards.iter().filter(|(shard, _)| *shard != moving.shard_id) {
        refused(shard, epoch, &moving.ticket).await;
    }
    let mut wrong = moving.ticket.clone();
    wrong[31] ^= 1;
    refused(moving.shard_id, moving.epoch, &wrong).await;
    refused(moving.shard_id, moving.epoch, &[]).await;
    // Its own ticket counts; again after its stream broke.
    let first = until("the source to be told", async || {
        copy(&thief, moving.shard_id, moving.epoch, &moving.ticket).await.ok()
    })
    .await;
    drop(first);
    let mut copied = copy(&thief, moving.shard_id, moving.epoch, &moving.ticket).await.unwrap();
    read_until(&mut copied, |part| matches!(part, Part::SoFar(_))).await;
    fake.says.arrived = vec![v1::ShardEpoch { shard_id: moving.shard_id, epoch: moving.epoch }];
    fake.report().await;
    let came = tokio::join!(
        read_until(&mut copied, |part| matches!(part, Part::HandedOver(_))),
        fake.until_assigned(|assignment| {
            assignment.shards.iter().any(|range| (range.first..=range.last).contains(&moving.shard_id))
        })
    );
    assert!(came.1.handed_over.iter().any(|shard| shard.epoch == moving.epoch));

    // Used up.
    copy(&thief, moving.shard_id, moving.epoch, &moving.ticket).await.unwrap_err();
    fake.leave().await;
    coordinator.until_balanced(&[&a]).await;
    let shards: v1::GetShardsResponse =
        thief.ask("/altergolden.v1.GatewayWorker/GetShards", v1::GetShardsRequest::default()).await.unwrap();
    for shard in shards.shards {
        refused(shard.shard_id, shard.epoch, &moving.ticket).await;
    }
    assert_eq!((scene.identifies(), gaps(&coordinator).await), (identifies, 0));
    scene.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_a_coordinator_that_died_count_no_more_and_the_move_begins_again() {
    let scene = Scene::start().await;
    let mut coordinator = scene.coordinator(&[]).await;
    let listen = coordinator.address.split_once("://").unwrap().1.to_owned();
    let a = worker(&scene, &coordinator).await;
    coordinator.until_balanced(&[&a]).await;
    let identifies = scene.identifies();
    let thief = thief_at(&scene, &a).await;
    let mut fake = FakeWorker::join(&scene.folder, &coordinator, |_| {}).await.unwrap();
    let old = fake.until_assigned(|assignment| !assignment.arriving.is_empty()).await.arriving[0].clone();

    coordinator.process.kill().await;
    let coordinator = scene.coordinator(&[("COORDINATOR_LISTEN", &listen)]).await;
    let (name, incarnation) = (fake.says.worker_id.clone(), fake.says.incarnation.clone());
    let mut fake = until("the worker to register again", async || {
        let again = |registration: &mut v1::RegisterRequest| {
            (registration.worker_id, registration.incarnation) = (name.clone(), incarnation.clone());
        };
        FakeWorker::join(&scene.folder, &coordinator, again).await.ok()
    })
    .await;
    let new = fake.until_assigned(|assignment| !assignment.arriving.is_empty()).await.arriving[0].clone();
    assert_eq!((new.shard_id, new.epoch), (old.shard_id, old.epoch));
    let _copy = until("the source to be told of the new ticket", async || {
        copy(&thief, new.shard_id, new.epoch, &new.ticket).await.ok()
    })
    .await;
    let refused = copy(&thief, old.shard_id, old.epoch, &old.ticket).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    fake.leave().await;
    coordinator.until_balanced(&[&a]).await;
    assert_eq!(scene.identifies(), identifies);
    scene.deployment.assert_lawful();
}

//! What the holder of a worker's file cannot do.

use altergolden_proto::v1::{self, identify_down, identify_up};
use fleet_fixture::Coordinator;
use process::credentials::Role;
use tonic::{Code, Status};

use super::{
    Scene, credentials,
    fake_worker::{FakeWorker, registration},
    gaps,
    thief::{Loot, Reach, Thief},
};

const REGISTER: &str = "/altergolden.v1.Coordinator/Register";
const HEARTBEAT: &str = "/altergolden.v1.Coordinator/Heartbeat";
const PERMITS: &str = "/altergolden.v1.Coordinator/AcquireIdentify";

async fn at_coordinator(scene: &Scene, coordinator: &Coordinator, file: &str) -> Thief {
    let address = coordinator.address.split_once("://").unwrap().1;
    let loot = Loot::file(&scene.folder.path().join(file));
    Thief::connect(&scene.folder, &loot, Role::Coordinator, address).await.unwrap()
}

/// Opens a stream of reports.
async fn beat(thief: &Thief, worker: &str, incarnation: &str) -> Result<v1::Directive, Status> {
    let report = v1::WorkerReport {
        worker_id: worker.to_owned(),
        incarnation: incarnation.to_owned(),
        leaving: true,
        ..v1::WorkerReport::default()
    };
    thief.ask(HEARTBEAT, report).await
}

/// Asks for a permit for a shard.
async fn permit(
    thief: &Thief,
    worker: &str,
    incarnation: &str,
    (shard_id, epoch): (u32, u64),
) -> Result<v1::IdentifyDown, Status> {
    let (worker_id, incarnation) = (worker.to_owned(), incarnation.to_owned());
    let messages = [
        identify_up::Message::Hello(v1::IdentifyHello { worker_id, incarnation }),
        identify_up::Message::Ask(v1::IdentifyAsk {
            ticket: 1,
            shard_id,
            epoch,
            ..v1::IdentifyAsk::default()
        }),
    ];
    let messages = messages.map(|message| v1::IdentifyUp { message: Some(message) });
    let mut answers =
        thief.call::<_, v1::IdentifyDown>(PERMITS, futures_util::stream::iter(messages)).await?;
    answers.message().await?.ok_or_else(|| Status::aborted("no answer"))
}

/// Which incarnation a worker has, as the operator sees it.
async fn incarnation(coordinator: &Coordinator, worker: &str) -> String {
    let workers = coordinator.client().await.workers().await.unwrap();
    workers.into_iter().find(|known| known.worker_id == worker).unwrap().incarnation
}

#[tokio::test(flavor = "multi_thread")]
async fn holder_of_a_workers_file_takes_nothing_from_live_workers() {
    let scene = Scene::start().await;
    assert_eq!(credentials(&scene.folder, &["issue", "worker", "w-1"]).code, 0);
    let coordinator = scene.coordinator(&[]).await;
    let a = scene.worker("a", &coordinator).await;
    let status = coordinator.until_balanced(&[&a]).await;
    let identifies = scene.identifies();
    let shards: Vec<(u32, u64)> = status.shards.iter().map(|shard| (shard.shard_id, shard.epoch)).collect();
    let own = incarnation(&coordinator, "a").await;
    let url = a.address.replacen("http:", "https:", 1);

    // With a name in its certificate, it is that worker or none.
    let named = at_coordinator(&scene, &coordinator, "worker-w-1.pem").await;
    let refused = named.ask::<_, v1::RegisterResponse>(REGISTER, registration("a", &url)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert_eq!(beat(&named, "a", &own).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(permit(&named, "a", &own, shards[0]).await.unwrap_err().code(), Code::PermissionDenied);

    // Without one, it does not learn the incarnation that would admit it as a live worker.
    let any = at_coordinator(&scene, &coordinator, "worker.pem").await;
    let address = a.address.split_once("://").unwrap().1;
    let loot = Loot::file(&scene.folder.path().join("worker.pem"));
    let at_worker = Thief::connect(&scene.folder, &loot, Role::Worker, address).await.unwrap();
    assert_eq!(at_worker.reach("/altergolden.v1.GatewayWorker/Identity").await, Reach::Refused);
    let refused = any.ask::<_, v1::RegisterResponse>(REGISTER, registration("a", &url)).await.unwrap_err();
    assert!(!refused.message().contains(&own), "{refused}");
    let refused = FakeWorker::join(&scene.folder, &coordinator, |it| it.worker_id = "a".to_owned()).await;
    let refused = refused.err().expect("the name is taken");
    assert!(refused.code() == Code::AlreadyExists && !refused.message().contains(&own), "{refused}");
    assert_ne!(beat(&any, "a", "made-up").await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_ne!(permit(&any, "a", "made-up", shards[0]).await.unwrap_err().code(), Code::DeadlineExceeded);

    // As a worker of its own that claims what the other one runs.
    for ahead in [0, 1, 3_600_000] {
        let claim = |request: &mut v1::RegisterRequest| {
            request.running = shards
                .iter()
                .map(|&(shard, epoch)| v1::ShardRange { first: shard, last: shard, epoch: epoch + ahead })
                .collect();
            request.running_total = super::SHARDS;
            request.draining = true;
        };
        // Refused, or admitted without the shards.
        if let Ok(mut liar) = FakeWorker::join(&scene.folder, &coordinator, claim).await {
            let assignment = liar.until_assigned(|_| true).await;
            assert!(assignment.shards.is_empty(), "{assignment:?}");
            liar.report().await;
            liar.leave().await;
        }
    }

    // As a worker of its own that lies about the other one's shards, and asks for permits for them.
    let draining = |request: &mut v1::RegisterRequest| request.draining = true;
    let mut liar = FakeWorker::join(&scene.folder, &coordinator, draining).await.unwrap();
    let owner = (liar.says.worker_id.clone(), liar.says.incarnation.clone());
    for &shard in &shards {
        let answer = permit(&liar.coordinator, &owner.0, &owner.1, shard).await.unwrap();
        assert!(matches!(answer.message, Some(identify_down::Message::Refused(_))), "{answer:?}");
    }
    let of_all = || shards.iter().map(|&(shard_id, epoch)| v1::ShardEpoch { shard_id, epoch }).collect();
    liar.says.released = of_all();
    liar.says.arrived = of_all();
    liar.says.shards = shards
        .iter()
        .map(|&(shard_id, epoch)| v1::ShardReport {
            shard_id,
            epoch,
            status: v1::ShardStatus::Failed.into(),
            close_code: Some(4004),
            ..v1::ShardReport::default()
        })
        .collect();
    for _ in 0..3 {
        liar.report().await;
    }
    liar.says.sequence = u64::MAX - 8;
    liar.report().await;
    // The answers to these reports have come when it is gone.
    liar.says = v1::WorkerReport { released: Vec::new(), shards: Vec::new(), ..liar.says };
    liar.leave().await;

    let status = coordinator.until_balanced(&[&a]).await;
    let now: Vec<(u32, u64)> = status.shards.iter().map(|shard| (shard.shard_id, shard.epoch)).collect();
    assert_eq!(now, shards, "no shard has changed its owner");
    assert_eq!(incarnation(&coordinator, "a").await, own);
    assert_eq!((scene.identifies(), gaps(&coordinator).await), (identifies, 0));
    // Permits are still granted.
    let (_, health) = coordinator.health().await;
    assert!(!health["problems"].to_string().contains("4004"), "{health}");
    scene.deployment.assert_lawful();
}

//! A program that writes to Redis resets the record that unsigned checkpoint heads are refused.

use std::fs;

use fleet_fixture::{Worker, until};

use super::{Scene, until_heads_are_written};

/// A field of the fleet's record.
async fn field(scene: &Scene, name: &str) -> Option<String> {
    scene.deployment.redis.command(&["HGET", "{altergolden}:fleet", name]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_record_is_set_again_while_a_worker_lives_that_was_told() {
    let scene = Scene::start().await;
    let mut coordinator = scene.coordinator(&[]).await;
    let listen = coordinator.address.split_once("://").unwrap().1.to_owned();
    let a = scene.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&a]).await;
    let is_refused =
        async || (field(&scene, "head_key_required").await.as_deref() == Some("1")).then_some(());
    until("unsigned heads to be refused", is_refused).await;
    // Its next assignment says so, which comes long before three writes of each head.
    until_heads_are_written(&a).await;
    let identifies = scene.identifies();

    coordinator.process.kill().await;
    scene
        .deployment
        .redis
        .command::<()>(&["HDEL", "{altergolden}:fleet", "head_key_required", "head_key"])
        .await;
    // A worker without keys: with it, a coordinator that knows nothing would accept unsigned heads for good.
    let own = fs::read_to_string(scene.folder.path().join("worker.pem")).unwrap();
    let without_keys = tempfile::tempdir().unwrap();
    let certificate = &own[..own.find("-----BEGIN ALTERGOLDEN HEAD KEY").unwrap()];
    fs::write(without_keys.path().join("worker.pem"), certificate).unwrap();
    let mut command = scene.deployment.worker_command("b", &listen);
    let b = Worker::start("b", command.env("CREDENTIALS", without_keys.path())).await;
    let coordinator = scene.coordinator(&[("COORDINATOR_LISTEN", &listen)]).await;
    coordinator.until("both workers are there", |status| status.workers.len() == 2).await;
    until("unsigned heads to be refused again", is_refused).await;
    assert!(field(&scene, "head_key").await.is_some(), "heads are signed");
    coordinator.until_balanced(&[&a, &b]).await;
    assert_eq!(scene.identifies(), identifies, "copies need no checkpoint");
    scene.deployment.assert_lawful();
}

//! The end of a certificate, and the end of a process, while a fleet runs with TLS.
#![allow(clippy::print_stdout, reason = "what was measured is shown")]

use std::{fs, time::Duration};

use altergolden_proto::v1;
use fleet_fixture::{CredentialsFolder, DEADLINE, http, until};
use process::credentials::{Identity, Role};
use serde_json::Value;
use shard_bridge::BridgeClient;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{Scene, gaps, thief::issue};

/// How long the short certificate is valid. The worker must have started by then.
const VALID: Duration = Duration::from_secs(40);

async fn expires_in(health: &str) -> i64 {
    let (_, text) = http::request(&format!("{health}/metrics"), None).await.unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let line = lines.find(|line| line.contains("credentials_expire_seconds")).expect(&text);
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as i64
}

/// A folder of the same fleet whose worker's certificate ends soon.
fn with_short_certificate(folder: &CredentialsFolder) -> tempfile::TempDir {
    let short = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::now_utc();
    let identity = Identity::new(Role::Worker, "any").unwrap();
    let leaf = issue(folder, "altergolden", &identity, (now - time::Duration::hours(1), now + VALID));
    // With the head keys of the fleet.
    let own = fs::read_to_string(folder.path().join("worker.pem")).unwrap();
    let keys = &own[own.find("-----BEGIN ALTERGOLDEN HEAD KEY").unwrap()..];
    fs::write(short.path().join("worker.pem"), format!("{leaf}{keys}")).unwrap();
    short
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_that_expires_under_a_running_worker_ends_no_lease_and_no_stream() {
    let scene = Scene::start().await;
    let coordinator = scene.coordinator(&[]).await;
    let short = with_short_certificate(&scene.folder);
    let address = coordinator.address.split_once("://").unwrap().1;
    let mut command = scene.deployment.worker_command("a", address);
    let mut a = fleet_fixture::Worker::start("a", command.env("CREDENTIALS", short.path())).await;
    let before = coordinator.until_balanced(&[&a]).await;
    let identifies = scene.identifies();
    // A bot's stream at the worker, and one at the coordinator.
    let (url, bot) = (a.address.replacen("http:", "https:", 1), scene.folder.of(Role::Bot));
    let mut at_worker = BridgeClient::connect_with(&url, DEADLINE, &bot, Role::Worker).await.unwrap();
    let mut news = at_worker.subscribe(vec!["news".to_owned()]).await.unwrap();

    until("the certificate to expire", async || (expires_in(&a.health).await < 0).then_some(())).await;
    let (_, text) = http::request(&format!("{}/health", a.health), None).await.unwrap();
    let health: Value = serde_json::from_str(&text).unwrap();
    let problems = health["problems"].to_string();
    assert!(problems.contains("credentials_expire") && problems.contains("expired"), "{problems}");
    // Longer than a lease lasts.
    let expired = Instant::now();
    let epochs = |status: &v1::FleetStatus| {
        status.shards.iter().map(|shard| (shard.shard_id, shard.epoch)).collect::<Vec<_>>()
    };
    until("two leases to have passed", async || {
        let now = coordinator.until_balanced(&[&a]).await;
        assert_eq!(epochs(&now), epochs(&before), "no lease was lost");
        (expired.elapsed() > fleet_fixture::LEASE_TTL * 2).then_some(())
    })
    .await;
    // The open stream delivers; a new connection is refused.
    let mut at_coordinator =
        BridgeClient::connect_with(&coordinator.address, DEADLINE, &bot, Role::Coordinator).await.unwrap();
    at_coordinator.broadcast("news", serde_json::json!("after the end")).await.unwrap();
    news.message().await.unwrap().expect("the message");
    at_worker.aggregate_stats(Duration::ZERO).await.unwrap();
    let refused = BridgeClient::connect_with(&url, DEADLINE, &bot, Role::Worker).await.err();
    assert!(refused.is_some(), "the certificate has expired");

    // A new file, and all is well.
    fs::copy(scene.folder.path().join("worker.pem"), short.path().join("worker.pem")).unwrap();
    a.process.logged("credentials replaced", "identity").await;
    BridgeClient::connect_with(&url, DEADLINE, &bot, Role::Worker).await.unwrap();
    assert_eq!(epochs(&coordinator.until_balanced(&[&a]).await), epochs(&before));
    assert_eq!((scene.identifies(), gaps(&coordinator).await), (identifies, 0));
    scene.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_worker_is_lost_by_its_refused_connections_under_tls() {
    let scene = Scene::start().await;
    let mut coordinator = scene.coordinator(&[]).await;
    let (mut a, b) = tokio::join!(scene.worker("a", &coordinator), scene.worker("b", &coordinator));
    coordinator.until_balanced(&[&a, &b]).await;
    let identifies = scene.identifies();
    // A coordinator that has just begun does not act on evidence before leases could have ended.
    let balanced = Instant::now();
    until("the store to be trusted", async || {
        coordinator.until_balanced(&[&a, &b]).await;
        (balanced.elapsed() > fleet_fixture::LEASE_TTL + Duration::from_secs(1)).then_some(())
    })
    .await;
    let killed = Instant::now();
    a.process.kill().await;
    let lost = coordinator.process.log_line("worker lost; lease revoked").await;
    let seen = killed.elapsed();
    let probed = coordinator
        .process
        .log_line("worker is gone: its address refuses connections or has another worker")
        .await;
    println!(
        "kill -9 under TLS: evidence {} ms after the stream broke, read here {seen:?} after the kill",
        lost["ms_since_stream_broke"]
    );
    assert_eq!((&lost["worker.id"], &lost["cause"]), (&"a".into(), &"evidence".into()), "{lost}");
    assert_eq!(probed["finding"], "refuses", "{probed}");
    coordinator.until_balanced(&[&b]).await;
    assert_eq!((scene.identifies(), gaps(&coordinator).await), (identifies, 0));
    scene.deployment.assert_lawful();
}

//! Alerts about plans, false claims, the history and the problems webhook.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use altergolden_proto::v1::{Promote, start_plan_request::Plan};
use fleet_fixture::Signal;
use shard_bridge::BridgeClient;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::scene::Scene;

/// More than the 4,096 entries of the history that wait for Redis at most.
const REPORTS: u32 = 4_200;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alerts_about_plans_claims_and_the_history_fire_and_clear() {
    let mut scene = Scene::start(4).await;
    for (name, generation) in [("a", "blue"), ("b", "green")] {
        scene.start_worker(name, &[("GENERATION", generation)]).await;
        scene.until_ready().await;
    }
    scene.until_workers(2).await;
    let mut client = BridgeClient::connect(&scene.coordinator.address, Duration::from_secs(5)).await.unwrap();

    // The new generation stands still, and dies before it has a shard.
    scene.worker("b").process.signal(Signal::STOP);
    client.start_plan(Plan::Promote(Promote { generation: "green".to_owned() }), false).await.unwrap();
    scene.worker("b").process.kill().await;
    scene.forget("b");
    scene.fires("PlanRolledBack").await;
    scene.until_ready().await;

    // A supervisor of another fleet reports exits here, while Redis is away.
    scene.deployment.redis.pause();
    for number in 0..REPORTS {
        let known = client.report_exit(&format!("stranger-{number}"), "", "exit code 1").await.unwrap();
        assert!(!known);
    }
    scene.fires("ClaimsRefused").await;
    scene.deployment.redis.resume();
    scene.fires("HistoryLost").await;
    scene.clears("PlanRolledBack").await;
    scene.clears("ClaimsRefused").await;
    scene.clears("HistoryLost").await;
}

/// Answers each request with the status; the URL.
async fn receiver(status: Arc<AtomicU16>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut request = vec![0; 65_536];
        while let Ok((mut socket, _)) = listener.accept().await {
            // Usually it comes in one piece; a client that is answered early takes the answer too.
            let _ = socket.read(&mut request).await;
            let status = status.load(Ordering::SeqCst);
            let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    url
}

/// The coordinator's first request is refused before it is scraped for the first time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alert_about_the_problems_webhook_fires_and_clears() {
    let mut scene = Scene::start(1).await;
    scene.until_first_counts_are_growth().await;
    // Its channel was deleted.
    let status = Arc::new(AtomicU16::new(404));
    let url = receiver(status.clone()).await;
    scene.restart_coordinator(&[("PROBLEMS_WEBHOOK_URL", &url), ("PROBLEMS_WEBHOOK_INTERVAL", "1s")]).await;
    scene.fires("WebhookFailing").await;
    status.store(204, Ordering::SeqCst);
    scene.start_worker("a", &[]).await;
    scene.until_ready().await;
    scene.clears("WebhookFailing").await;
}

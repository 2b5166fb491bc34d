//! Faults in a fleet of real processes, and the alerts that they raise and end.

mod discord;
mod scene;
mod workers;

use discord_sim::Fault;
use scene::Scene;

use crate::cli::altergolden;

/// The alerts that come quickly, one fault after the other. `.ci/night alerts` runs the slower ones, which are ignored here.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_silent_in_a_deploy_and_fire_and_clear_with_faults() {
    let mut scene = Scene::start(4).await;
    for name in ["a", "b"] {
        scene.start_worker(name, &[("GENERATION", "blue")]).await;
    }
    scene.until_ready().await;

    // A deploy and a drain, as an operator does them.
    for name in ["c", "d"] {
        scene.start_worker(name, &[("GENERATION", "green")]).await;
    }
    scene.until_workers(4).await;
    let url = scene.coordinator.address.clone();
    let promoted = altergolden(&url, &["deploy", "promote", "green"]);
    assert_eq!(promoted.code, 0, "{} {}", promoted.out, promoted.err);
    scene.workers_leave(&["a", "b"]).await;
    scene.start_worker("e", &[("GENERATION", "green")]).await;
    scene.until_workers(3).await;
    let drained = altergolden(&url, &["drain", "c"]);
    assert_eq!(drained.code, 0, "{} {}", drained.out, drained.err);
    scene.workers_leave(&["c"]).await;
    scene.assert_quiet().await;

    // A session is lost, and one worker is killed.
    scene.inject(Fault::InvalidSession { shards: Some(vec![0]), resumable: false });
    scene.fires("EventsLost").await;
    scene.worker("d").process.kill().await;
    scene.fires("WorkerLost").await;
    // The coordinator is killed too.
    scene.coordinator.process.kill().await;
    scene.fires("NoActingCoordinator").await;
    scene.fires("ProcessDown").await;
    scene.restart_coordinator(&[]).await;
    scene.clears("NoActingCoordinator").await;

    scene.worker("e").process.kill().await;
    scene.fires("ShardsUnplaced").await;
    scene.fires("ManyShardsDown").await;
    scene.forget("d");
    scene.forget("e");
    scene.start_worker("f", &[("GENERATION", "green")]).await;
    for alert in ["ShardsUnplaced", "ManyShardsDown", "ProcessDown", "EventsLost", "WorkerLost"] {
        scene.clears(alert).await;
    }
}

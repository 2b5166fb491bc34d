//! Faults in a fleet of real processes, and the alerts that they raise and end.

mod bot_code;
mod discord;
mod operators;
mod relay;
mod rest;
mod scene;
mod workers;

use discord_sim::Fault;
use scene::Scene;

use super::rules;
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
    scene.clears("ShardsUnplaced").await;
    scene.clears("ManyShardsDown").await;
    scene.clears("ProcessDown").await;
    scene.clears("EventsLost").await;
    scene.clears("WorkerLost").await;
}

/// The sources of the runs.
fn sources() -> String {
    let folder = rules::project_file("services/altergolden/tests/it/alerts/runs");
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let mut sources = rules::text("services/altergolden/tests/it/alerts/runs.rs");
    sources.extend(files.map(|path| std::fs::read_to_string(path).unwrap()));
    sources
}

#[test]
fn each_alert_fires_and_clears_in_a_run() {
    let (rules, sources) = (rules::text("deploy/prometheus/alerts.yml"), sources());
    let lacks = |call: &str| -> Vec<&str> {
        let names = rules::alerts(&rules).into_iter().map(|(alert, _)| alert);
        names.filter(|alert| !sources.contains(&format!("scene.{call}(\"{alert}\").await"))).collect()
    };
    let (fires, clears) = (lacks("fires"), lacks("clears"));
    assert!(fires.is_empty() && clears.is_empty(), "no run for: {fires:?}, and none that clears: {clears:?}");
}

//! A supervisor reports an exit of a worker that the coordinator cannot see.

use std::time::Duration;

use altergolden_proto::v1::{ReportExitRequest, coordinator_client::CoordinatorClient};
use fleet_fixture::{Coordinator, Deployment, Proxy, Worker, all_ready, http, humantime, shares, sim_config};
use process::credentials::Role;
use tokio::time::Instant;
use tonic::Code;

/// Longer than everything that the test does after a death.
const TTL: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn exit_reports_end_the_wait_for_a_lease() {
    let deployment = Deployment::start(sim_config(40)).await;
    let mut command = deployment.coordinator_command(4);
    let coordinator = Coordinator::start(command.env("LEASE_TTL", humantime(TTL))).await;
    let acting = Instant::now();
    // The proxies keep connections open when the worker is dead: no stream breaks, no address refuses.
    let to_coordinator = Proxy::to(coordinator.socket()).await;
    let to_worker = Proxy::unaimed().await;
    let mut command = deployment.worker_command("a", &to_coordinator.address().to_string());
    command.env("WORKER_ADVERTISE", to_worker.address().to_string());
    let mut a = Worker::start("a", &mut command).await;
    to_worker.aim(a.socket());
    let b = deployment.worker("b", &coordinator).await;
    coordinator.until_balanced(&[&a, &b]).await;
    let spent = deployment.sim.control().identifies().items.len();

    let mut client = CoordinatorClient::new(coordinator.channel(Role::Supervisor).await);
    let report = |worker_id: &str, incarnation: &str| ReportExitRequest {
        worker_id: worker_id.to_owned(),
        incarnation: incarnation.to_owned(),
        reason: "signal 9".to_owned(),
    };
    for (worker, incarnation) in [("unknown", ""), ("a", "another")] {
        let refused = client.report_exit(report(worker, incarnation)).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
    }
    // The coordinator trusts the store once it has answered for the TTL.
    tokio::time::sleep_until(acting + TTL + Duration::from_secs(1)).await;

    to_coordinator.hang();
    a.process.kill().await;
    let died = Instant::now();
    let accepted = client.report_exit(report("a", "")).await.unwrap().into_inner();
    assert!(!accepted.incarnation.is_empty());
    coordinator
        .until("all shards on b", |status| all_ready(status) && shares(&status.shards).len() == 1)
        .await;
    assert!(died.elapsed() < TTL, "{:?}", died.elapsed());
    let (_, metrics) = http::request(&format!("{}/metrics", coordinator.health), None).await.unwrap();
    for line in [
        r#"altergolden_fleet_workers_lost_total{cause="evidence"} 1"#,
        r#"altergolden_fleet_workers_lost_total{cause="silence"} 0"#,
        r#"altergolden_fleet_evidence_looks_total{finding="refuses"} 0"#,
        "altergolden_fleet_exits_reported_total 3",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
    assert_eq!(deployment.sim.control().identifies().items.len(), spent, "they resumed");
    let again = client.report_exit(report("a", "")).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound, "{again}");
    deployment.assert_lawful();
}

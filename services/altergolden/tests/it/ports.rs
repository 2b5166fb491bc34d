//! Ports under clients that open too many connections.

use std::process::Command;

use fleet_fixture::{Coordinator, Deployment, all_ready, sim_config};
use tokio::net::TcpStream;

/// The same command with a limit on open files.
fn with_open_files(command: &Command, most: u32) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(key, value),
            None => limited.env_remove(key),
        };
    }
    limited
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_exhaust_descriptors() {
    let deployment = Deployment::start(sim_config(8)).await;
    let mut coordinator =
        Coordinator::start(&mut with_open_files(&deployment.coordinator_command(2), 64)).await;
    let grpc = coordinator.socket().to_string();
    let mut idle = Vec::new();
    for _ in 0..120 {
        idle.push(TcpStream::connect(&grpc).await.unwrap());
    }
    coordinator
        .process
        .line("the limit to be named", |line| line.contains("connection limit reached").then_some(()))
        .await;
    let (status, _) = coordinator.health().await;
    assert!(status == 200 || status == 503, "health answers beside 120 idle gRPC connections: {status}");
    drop(idle);
    let worker = deployment.worker("a", &coordinator).await;
    coordinator.until("the fleet to be ready", all_ready).await;
    drop(worker);
}

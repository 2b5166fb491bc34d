//! `altergolden dev`: one command, no token, no Redis.

use fleet_fixture::{Process, Signal, binary, command};
use tokio::time::Instant;

use crate::asked::altergolden;

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_shows_and_ends() {
    let started = Instant::now();
    let mut command = command("altergolden");
    command.args([
        "dev",
        "--guilds=40",
        "--shards=3",
        "--workers=3",
        "--coordinator-listen=127.0.0.1:0",
        "--manager-health-port=0",
        "--health-port=0",
    ]);
    let mut dev = Process::start("dev", &mut command);
    dev.line("what to try", |line| line.contains("Ctrl-C stops everything").then_some(())).await;
    let ready = started.elapsed();
    let output = dev.output();
    assert!(output.contains("3 of 3 shards ready"), "{output}");
    for worker in ["worker-0", "worker-1", "worker-2"] {
        assert!(output.contains(worker), "{output}");
    }
    // What it says to try, works.
    let hint = output
        .lines()
        .find_map(|line| line.trim().strip_prefix("cargo run --release -p altergolden -- find-guild "));
    let words: Vec<&str> = hint.unwrap().split(' ').collect();
    let found =
        std::process::Command::new(binary("altergolden")).arg("find-guild").args(&words).output().unwrap();
    assert!(found.status.success(), "{found:?}");

    dev.signal(Signal::INT);
    let stopping = Instant::now();
    assert_eq!(dev.ended().await.code(), Some(0), "{}", dev.output());
    let stopped = stopping.elapsed();
    assert!(ready.as_secs() < 10, "ready after {ready:?}");
    assert!(stopped.as_secs() < 5, "stopped after {stopped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_can_be_drained_in_it() {
    let mut command = command("altergolden");
    command.args([
        "dev",
        "--guilds=40",
        "--shards=4",
        "--workers=3",
        "--coordinator-listen=127.0.0.1:0",
        "--manager-health-port=0",
        "--health-port=0",
    ]);
    let mut dev = Process::start("dev", &mut command);
    let address = |line: &str| {
        let (_, rest) = line.split_once("coordinator   gRPC ")?;
        Some(format!("http://{}", rest.split_once(',')?.0))
    };
    let url = dev.line("the coordinator's address", address).await;
    for worker in ["worker-0", "worker-2"] {
        let drained = altergolden(&url, &["drain", worker]);
        assert_eq!(drained.code, 0, "{} {} {}", drained.out, drained.err, dev.output());
        assert!(drained.out.contains("no IDENTIFY"), "{}", drained.out);
        let left = format!("{worker} has left");
        dev.line("the worker to leave", |line| line.contains(&left).then_some(())).await;
    }
    let workers = altergolden(&url, &["workers"]).out;
    assert!(workers.contains(" worker-1 ") && workers.contains(" 0-3 "), "{workers}");
    let refused = altergolden(&url, &["deploy", "abort"]);
    assert_eq!((refused.code, refused.err.trim()), (1, "altergolden: no plan is under way"));

    dev.signal(Signal::INT);
    assert_eq!(dev.ended().await.code(), Some(0), "{}", dev.output());
}

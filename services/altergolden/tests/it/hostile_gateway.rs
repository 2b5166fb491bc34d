//! A gateway that sends frames, messages or compressed messages without a bound.

use std::time::Duration;

use discord_sim::{Fault, NewPreset, SimConfig};
use fleet_fixture::{Deployment, Worker, sim_config};

const MALFORMED: &str = "altergolden_gateway_garbled_total";

/// A worker takes up to 80 MiB here, and a message of 32 MiB up to four times that for a moment: its buffer doubles, and is copied once. Without a
/// bound the messages of 256 MiB and more would take more than 380 MiB.
const MOST_MIB: u64 = 260;

#[tokio::test(flavor = "multi_thread")]
async fn frame_is_bounded() {
    is_survived("frame_oversized").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_are_bounded() {
    is_survived("frame_fragments").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decompression_is_bounded() {
    is_survived("inflating_payload").await;
}

/// Attacks a worker with each compression. They refuse it, take little memory, and connect again.
async fn is_survived(attack: &str) {
    // The simulator compresses 256 MiB for the largest attack, and acknowledges no heartbeat meanwhile.
    let config = SimConfig { heartbeat_interval: Duration::from_secs(30), ..sim_config(6) };
    let deployment = Deployment::start(config).await;
    let coordinator = deployment.coordinator(3).await;
    let start = async |compression: &str| {
        let mut command = deployment.worker_command(compression, &coordinator.address);
        command.env("GATEWAY_COMPRESSION", compression).env("SHARDS_PER_CLUSTER", "1");
        Worker::start(compression, &mut command).await
    };
    let (none, zlib, zstd) = tokio::join!(start("none"), start("zlib-stream"), start("zstd-stream"));
    let mut workers = [none, zlib, zstd];
    coordinator.until_balanced(&workers.each_ref()).await;

    let control = deployment.sim.control();
    let preset = NewPreset { name: attack.to_owned(), ..NewPreset::default() };
    control.inject(Fault::Preset(preset)).unwrap();
    control.inject(Fault::Abort { shards: None }).unwrap();
    for worker in &workers {
        worker.until_metric(MALFORMED, |malformed| malformed > 0).await;
    }
    control.inject(Fault::ClearOddities { name: None }).unwrap();
    coordinator.until_balanced(&workers.each_ref()).await;
    for worker in &mut workers {
        let peak = worker.process.peak_memory() / 1024;
        assert!(peak < MOST_MIB, "{}: {peak} MiB", worker.name);
        let is_refusal = |line: &str| line.contains("ERROR") && line.contains("malformed gateway message");
        worker.process.line("what it refused", |line| is_refusal(line).then_some(())).await;
    }
    deployment.assert_lawful();
}

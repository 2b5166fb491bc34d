//! The token goes only to the configured gateway, never to an address from another source.

#![allow(clippy::enum_glob_use, reason = "scripts read as lists of steps")]

use std::sync::Arc;

use discord_sim::SimConfig;
use gateway_worker::NoHandler;
use tokio_util::sync::CancellationToken;

use crate::{
    bench::{Bench, Recorder, sim},
    odd_gateway::{
        HELLO, OddGateway,
        Step::{self, *},
    },
};

const SERVE: &[Step] = &[Send(HELLO), Greet, Serve];
const CUT: &[Step] = &[Send(HELLO), Greet, Close(4000)];

async fn worker(bench: &mut Bench, name: &str, gateway: &OddGateway, drain: &str) -> CancellationToken {
    let url = format!("--discord-gateway-url={}", gateway.url);
    let drain = format!("--drain-timeout={drain}");
    bench.worker(name, Arc::new(NoHandler), &[&drain, &url]).await
}

/// A gateway that cuts its first connection, and one that must never be contacted; `{thief}` stands for its host and
/// port.
async fn gateway_and_thief(resume_url: &str, first: &'static [Step]) -> (OddGateway, OddGateway) {
    let thief = OddGateway::always(SERVE).await;
    let resume_url = resume_url.replace("{thief}", thief.url.trim_start_matches("ws://"));
    let script = move |index: usize, _: &str| if index == 0 { first.to_vec() } else { SERVE.to_vec() };
    (OddGateway::start(&resume_url, Box::new(script)).await, thief)
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_resume_url_of_ready_is_refused() {
    const ROWS: &[&str] = &[
        "ws://{thief}",
        "ws://{thief}/resume",
        "wss://{thief}",
        "http://{thief}",
        "{own}@{thief}",
        "ws://user@{thief}",
        "ws://{thief}?{own}",
        "ws://{thief}#{own}",
        "ws:\\\\{thief}",
        " ws://{thief}",
        "{own}?encoding=json&x=1",
        "wss://gateway us-east1.discord.gg",
        "wss://gateway.discord.gg",
        "ws://",
        "nonsense",
        "",
    ];
    // Each worker runs one shard against a gateway of its own.
    let config = SimConfig { max_concurrency: 64, ..sim(1) };
    let mut bench = Bench::of_shards(ROWS.len() as u32, config, Recorder::default()).await;
    let mut gateways = Vec::new();
    for (index, resume_url) in ROWS.iter().enumerate() {
        let (gateway, thief) = gateway_and_thief(resume_url, CUT).await;
        let url = format!("--discord-gateway-url={}", gateway.url);
        let flags = ["--drain-timeout=100ms", "--shards-per-cluster=1", &url];
        bench.worker(&format!("w{index}"), Arc::new(NoHandler), &flags).await;
        gateways.push((resume_url, gateway, thief));
    }
    for (resume_url, gateway, thief) in gateways {
        let made = gateway.until(resume_url, |made| made.len() > 1 && made[1].sent(6)).await;
        assert_eq!((made[1].path.as_str(), made.len()), ("/", 2), "{resume_url}");
        assert!(thief.made().is_empty(), "{resume_url}");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_resume_url_of_a_checkpoint_or_copy_is_refused() {
    let (gateway, thief) = gateway_and_thief("ws://{thief}", SERVE).await;
    let mut bench = Bench::without_workers(sim(1), Recorder::default()).await;
    let stop = worker(&mut bench, "a", &gateway, "20s").await;
    bench.until_ready("the first owner").await;
    // Handed over, from worker to worker.
    let stop_next = worker(&mut bench, "b", &gateway, "100ms").await;
    stop.cancel();
    bench.until("the second owner", |shard| shard.worker_id == "b" && shard.status == 5).await;
    // From the checkpoint.
    stop_next.cancel();
    worker(&mut bench, "c", &gateway, "100ms").await;
    bench.until("the third owner", |shard| shard.worker_id == "c" && shard.status == 5).await;
    let made = gateway.made();
    let resumed: Vec<_> = made.iter().map(|made| (made.path.as_str(), made.sent(6))).collect();
    assert_eq!(resumed, [("/", false), ("/", true), ("/", true)]);
    assert!(thief.made().is_empty());
    bench.finish().await;
}

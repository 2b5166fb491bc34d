//! Bad resume URLs and sessions are given up, and the next owner does not try them again.

#![allow(clippy::enum_glob_use, reason = "scripts read as lists of steps")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use altergolden_proto::v1::ShardStatus;
use checkpoint::CheckpointStore as _;
use fleet_model::{ShardKey, StartKind};
use gateway_worker::NoHandler;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    bench::{Bench, Recorder, kind, sim},
    odd_gateway::{
        HELLO, Made, OddGateway,
        Step::{self, *},
    },
};

const SERVE: &[Step] = &[Send(HELLO), Greet, Serve];
const CUT: &[Step] = &[Send(HELLO), Greet, Close(4000)];
/// RESUME gets no answer.
const SNUB: &[Step] = &[Send(HELLO), Hear, Close(4000)];

async fn start() -> Bench {
    Bench::without_workers(sim(1), Recorder::default()).await
}

async fn worker(bench: &mut Bench, name: &str, gateway: &OddGateway) -> CancellationToken {
    let url = format!("--discord-gateway-url={}", gateway.url);
    bench.worker(name, Arc::new(NoHandler), &["--drain-timeout=100ms", &url]).await
}

/// Waits for a checkpoint that is newer than `at`.
async fn written_since(bench: &Bench, at: Instant) {
    let writing = async {
        loop {
            let freshness = bench.checkpoints.freshness(ShardKey::new(0, 1)).await.unwrap();
            if freshness.is_some_and(|freshness| freshness.age < at.elapsed()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), writing).await.expect("no checkpoint was written");
}

fn paths(made: &[Made]) -> Vec<&str> {
    made.iter().map(|made| made.path.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_url_without_hello_is_given_up_for_good() {
    const ROWS: &[&[Step]] = &[
        &[End],
        &[Refuse],
        &[Close(4000)],
        &[CloseWithoutCode],
        &[Http("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")],
        &[Send(r#"{"op":10,"d":{"heartbeat_interval":0}}"#), Serve],
        &[Send(r#"{"op":7,"d":null}"#), Serve],
    ];
    let mut rows = JoinSet::new();
    for (steps, killed) in ROWS.iter().flat_map(|steps| [(steps, false), (steps, true)]) {
        rows.spawn(async move {
            // A busy worker may lose a connection before it identifies: the first ones are cut until one resumes.
            let resumes = AtomicBool::new(false);
            let script = move |_: usize, path: &str| {
                if path.starts_with("/resume") {
                    resumes.store(true, Ordering::Relaxed);
                    steps.to_vec()
                } else if resumes.load(Ordering::Relaxed) {
                    SERVE.to_vec()
                } else {
                    CUT.to_vec()
                }
            };
            let gateway = OddGateway::start("{own}/resume", Box::new(script)).await;
            let mut bench = start().await;
            let stop = worker(&mut bench, "a", &gateway).await;
            bench
                .until("the session to be resumed", |shard| {
                    kind(shard) == Some(StartKind::Resumed) && shard.status == 5
                })
                .await;
            let first = gateway.made().iter().position(|made| made.path.starts_with("/resume")).unwrap();
            if killed {
                written_since(&bench, gateway.made()[first + 2].at).await;
                bench.kill("a");
            } else {
                stop.cancel();
            }
            worker(&mut bench, "b", &gateway).await;
            let next = first + 3;
            let made = gateway.until("the next owner", |made| made.len() > next && made[next].sent(6)).await;
            let since = &made[first..];
            assert_eq!(paths(since), ["/resume/", "/resume/", "/", "/"], "{steps:?}, killed: {killed}");
            assert!(since[2].sent(6), "{made:?}");
            bench.finish().await;
        });
    }
    while let Some(ended) = rows.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_session_is_given_up_for_good() {
    let script = |index: usize, _: &str| match index {
        0 => CUT.to_vec(),
        1..=5 => SNUB.to_vec(),
        _ => SERVE.to_vec(),
    };
    let gateway = OddGateway::start("{own}", Box::new(script)).await;
    let mut bench = start().await;
    let stop = worker(&mut bench, "a", &gateway).await;
    bench.until("the session to be given up", |shard| shard.detail.contains("session given up")).await;
    stop.cancel();
    worker(&mut bench, "b", &gateway).await;
    let made = gateway.until("an IDENTIFY", |made| made.len() > 6 && made[6].sent(2)).await;
    let resumes = made.iter().filter(|made| made.sent(6)).count();
    assert_eq!((resumes, made[6].sent(6)), (5, false), "{made:?}");
    let shard = bench.until_ready("the shard to be ready").await;
    // Not if the first worker identified before it stopped: then the second resumes that session.
    if kind(&shard) == Some(StartKind::Reidentified) {
        assert_eq!(shard.outcome.unwrap().gap.unwrap().last_sequence, 1);
    }
    bench.finish().await;
}

/// Four refusals, a connection that works for a while, and a fifth refusal.
#[tokio::test(flavor = "multi_thread")]
async fn session_that_works_in_between_is_kept() {
    const WORKS: &[Step] = &[Send(HELLO), Greet, ServeFor(Duration::from_secs(6)), Close(4000)];
    let script = |index: usize, _: &str| match index {
        0 => CUT.to_vec(),
        1..=4 => SNUB.to_vec(),
        5 => WORKS.to_vec(),
        6 => vec![Send(HELLO), Hear, Close(4999)],
        _ => SERVE.to_vec(),
    };
    let gateway = OddGateway::start("{own}", Box::new(script)).await;
    let mut bench = start().await;
    worker(&mut bench, "a", &gateway).await;
    let made = gateway.until("the session to work", |made| made.len() > 5 && made[5].sent(6)).await;
    assert!(made[1..5].iter().all(|made| made.sent(6)), "{made:?}");
    let shard = bench.until("the fifth refusal", |shard| shard.detail.contains("4999")).await;
    assert!(!shard.detail.contains("given up"), "{}", shard.detail);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_sequence_gives_the_session_up_at_once() {
    let script = |index: usize, _: &str| match index {
        0 => CUT.to_vec(),
        1 => vec![Send(HELLO), Hear, Close(4007)],
        _ => SERVE.to_vec(),
    };
    let gateway = OddGateway::start("{own}", Box::new(script)).await;
    let mut bench = start().await;
    worker(&mut bench, "a", &gateway).await;
    let made = gateway.until("an IDENTIFY", |made| made.len() > 2 && made[2].sent(2)).await;
    assert!(made[1].sent(6) && !made[2].sent(6), "{made:?}");
    assert_eq!(kind(&bench.until_ready("the shard to be ready").await), Some(StartKind::Reidentified));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_token_is_tried_again_sooner_with_a_session() {
    const REFUSED: &[Step] = &[Send(HELLO), Hear, Close(4004)];
    for (before, wait) in [(CUT, "next attempt in 1 min"), (REFUSED, "next attempt in 10 min")] {
        let script = move |index: usize, _: &str| if index == 0 { before.to_vec() } else { REFUSED.to_vec() };
        let gateway = OddGateway::start("{own}", Box::new(script)).await;
        let mut bench = start().await;
        worker(&mut bench, "a", &gateway).await;
        let failed = i32::from(ShardStatus::Failed);
        bench.until(wait, |shard| shard.status == failed && shard.detail.contains(wait)).await;
        bench.finish().await;
    }
}

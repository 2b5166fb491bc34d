//! Handlers: in order, bounded, unable to hurt.

use std::time::Duration;

use gateway_worker::Mark;
use tokio::sync::Semaphore;

use crate::bench::{Bench, Recorder, sim};

#[tokio::test(flavor = "multi_thread")]
async fn full_queue_closes_the_connection_and_loses_nothing() {
    let recorder = Recorder { leave: Semaphore::new(0), ..Recorder::default() };
    // The guilds' own events pass through it as well.
    let mut bench = Bench::start(sim(5), recorder, &["--queue-events=8"]).await;
    let resumes =
        |bench: &Bench| -> u32 { bench.control().sessions().shards.iter().map(|shard| shard.resumes).sum() };
    for round in 0..6 {
        bench.write(5, &format!("message {round}"));
    }
    bench.until("the connection to be shut", |shard| shard.detail.contains("behind")).await;
    assert!(bench.recorder.messages().len() <= 5, "one of each guild at most");
    bench.recorder.leave.close();
    bench.until_seen("all messages", |seen| seen.messages().len() >= 30).await;
    bench.until_ready("the shard to be back").await;
    assert!(resumes(&bench) >= 1);
    let seen = bench.recorder.messages();
    let mut positions: Vec<_> = seen.iter().map(|seen| seen.position).collect();
    positions.sort_unstable();
    positions.dedup();
    assert_eq!((positions.len(), seen.len()), (30, 30), "none lost, none repeated");
    for guild in bench.guilds() {
        let of_guild: Vec<_> =
            seen.iter().filter(|seen| seen.guild == Some(guild.to_string().parse().unwrap())).collect();
        assert!(of_guild.is_sorted_by_key(|seen| seen.position), "{of_guild:?}");
    }
    assert!(seen.iter().all(|seen| seen.mark == Mark::Fresh));
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_handlers_do_not_stop_leases_or_sockets() {
    let recorder = Recorder { blocks: Some(("block", Duration::from_secs(5))), ..Recorder::default() };
    let mut bench = Bench::start(sim(8), recorder, &[]).await;
    let before = bench.until_ready("it").await;
    // Every thread for handlers is blocked for longer than the lease lives.
    bench.write(8, "block");
    bench.until_seen("a handler to begin", |seen| !seen.messages().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = bench.until_ready("it to be ready all the while").await;
    assert_eq!(after.epoch, before.epoch);
    assert!(after.sequence >= before.sequence + 8, "events are received: {after:?}");
    let resumes: u32 = bench.control().sessions().shards.iter().map(|shard| shard.resumes).sum();
    assert_eq!(resumes, 0, "the connection was never lost");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_ends_only_its_event() {
    let recorder = Recorder { panics: Some("boom"), ..Recorder::default() };
    let bench = Bench::start(sim(3), recorder, &[]).await;
    bench.write(1, "boom");
    bench.write(1, "after it");
    bench.write(3, "elsewhere");
    bench.until_seen("all messages", |seen| seen.messages().len() == 5).await;
    bench.finish().await;
}

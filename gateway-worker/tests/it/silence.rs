//! A connection that is open and dead is found.

use discord_sim::Fault;
use fleet_model::StartKind;

use crate::bench::{Bench, Recorder, kind, sim};

#[tokio::test(flavor = "multi_thread")]
async fn frozen_gateway_is_shown_as_silent_and_left() {
    let mut config = sim(5);
    // The library itself would notice after two heartbeats without a word, which is far longer with Discord's interval.
    config.heartbeat_interval = std::time::Duration::from_secs(8);
    let mut bench = Bench::start(config, Recorder::default(), &[]).await;
    bench.inject(Fault::Freeze { shards: None, on: true });
    let silent = i32::from(altergolden_proto::v1::ShardStatus::Silent);
    let shard = bench.until("the shard to be silent", |shard| shard.status == silent).await;
    assert!(shard.detail.contains("not acknowledged"), "{shard:?}");
    bench.write(5, "while frozen");
    let shard = bench
        .until("the shard to come back", |shard| kind(shard) == Some(StartKind::Resumed) && shard.status == 5)
        .await;
    assert!(shard.outcome.unwrap().gap.is_none());
    bench.until_seen("what came meanwhile", |seen| seen.messages().len() == 5).await;
    bench.finish().await;
}

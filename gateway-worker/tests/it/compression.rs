//! The transport compression that `GATEWAY_COMPRESSION` names.

use discord_sim::Fault;
use fleet_model::StartKind;

use crate::bench::{Bench, Recorder, kind, sim};

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_and_sessions_resume_with_each_compression() {
    for compression in ["zstd-stream", "zlib-stream", "none"] {
        let flag = format!("--gateway-compression={compression}");
        let mut bench = Bench::start(sim(20), Recorder::default(), &[&flag]).await;
        bench.write(20, "before");
        bench.until_seen("the messages", |seen| seen.messages().len() == 20).await;
        bench.inject(Fault::Abort { shards: None });
        bench
            .until("the shard to resume", |shard| {
                kind(shard) == Some(StartKind::Resumed) && shard.status == 5
            })
            .await;
        bench.write(20, "after");
        bench.until_seen("the messages", |seen| seen.messages().len() == 40).await;
        assert!(bench.recorder.gaps().is_empty(), "{compression}");
        bench.finish().await;
    }
}

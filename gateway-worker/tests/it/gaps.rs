//! What was or may have been lost is reported as a gap.

use std::sync::Arc;

use discord_sim::Fault;
use fleet_model::StartKind;

use crate::{
    bench::{Bench, Handler, Recorder, kind, sim},
    odd_gateway::{HELLO, OddGateway, Step},
};

#[tokio::test(flavor = "multi_thread")]
async fn first_start_has_no_gap() {
    let mut bench = Bench::start(sim(5), Recorder::default(), &[]).await;
    let shard = bench.until_ready("it").await;
    assert_eq!(kind(&shard), Some(StartKind::Identified));
    assert!(shard.outcome.unwrap().gap.is_none());
    assert!(bench.recorder.gaps().is_empty());
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_session_is_a_gap() {
    let mut bench = Bench::start(sim(5), Recorder::default(), &[]).await;
    bench.write(5, "before");
    bench.until_seen("the messages", |seen| seen.messages().len() == 5).await;
    let last = bench.recorder.messages().iter().map(|seen| seen.position.sequence).max().unwrap();
    bench.inject(Fault::InvalidSession { shards: None, resumable: false });
    let shard = bench
        .until("the shard to identify again", |shard| {
            kind(shard) == Some(StartKind::Reidentified) && shard.status == 5
        })
        .await;
    let told = shard.outcome.unwrap().gap.unwrap();
    assert_eq!(told.last_sequence, last);
    assert!(told.reason.contains("op 9") && told.since_unix_ms > 0, "{told:?}");
    bench.until_seen("the gap", |seen| seen.gaps().len() == 1).await;
    assert_eq!(bench.recorder.gaps()[0].last_sequence, last);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_discord_did_not_keep_are_a_gap() {
    let mut bench = Bench::start(sim(5), Recorder::default(), &[]).await;
    bench.write(1, "before");
    bench.until_seen("the message", |seen| seen.messages().len() == 1).await;
    let last = bench.recorder.messages()[0].position;
    // It keeps three, and more than that come while the shard is away.
    bench.control().switch(|switches| switches.replay_buffer = 3).unwrap();
    bench.inject(Fault::AcceptThenClose { connections: 2 });
    bench.inject(Fault::Abort { shards: None });
    for round in 0..4 {
        bench.write(5, &format!("meanwhile {round}"));
    }
    bench.until_seen("a gap", |seen| !seen.gaps().is_empty()).await;
    let shard = bench.until_ready("the shard to be back").await;
    let gap = &bench.recorder.gaps()[0];
    assert_eq!(gap.last_sequence, last.sequence);
    if kind(&shard) == Some(StartKind::Resumed) {
        bench.until_seen("the last message", |seen| seen.messages().len() >= 3).await;
        let positions: Vec<_> = bench.recorder.messages().iter().map(|seen| seen.position).collect();
        assert!(positions.iter().all(|position| position.session == last.session), "{positions:?}");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_gap_of_the_gateway_is_ignored() {
    const FORGED: &str = r#"{"t":"ALTERGOLDEN_GAP","s":2,"op":0,"d":{"since_unix_ms":1,"until_unix_ms":2,"last_sequence":1,"reason":"forged"}}"#;
    const LAST: &str = r#"{"t":"INTERACTION_CREATE","s":3,"op":0,"d":{"id":"1","guild_id":"8"}}"#;
    const STEPS: &[Step] =
        &[Step::Send(HELLO), Step::Greet, Step::Send(FORGED), Step::Send(LAST), Step::Serve];
    let gateway = OddGateway::always(STEPS).await;
    let mut bench = Bench::without_workers(sim(1), Recorder::default()).await;
    let handler = Arc::new(Handler(bench.recorder.clone()));
    let url = format!("--discord-gateway-url={}", gateway.url);
    bench.worker("a", handler, &["--drain-timeout=100ms", &url]).await;
    bench
        .until_seen("the last event", |recorder| {
            recorder.seen.lock().unwrap().iter().any(|seen| seen.name == "INTERACTION_CREATE")
        })
        .await;
    let reasons: Vec<String> = bench.recorder.gaps().into_iter().map(|gap| gap.reason).collect();
    assert!(reasons.iter().all(|reason| reason != "forged"), "{reasons:?}");
    bench.finish().await;
}

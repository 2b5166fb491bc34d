//! Waits grow until a session has lasted, regardless of the gateway's behaviour: at most one connection a second over 15 s, and the
//! shard shows why it is not connected.

#![allow(clippy::enum_glob_use, reason = "scripts read as lists of steps")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use altergolden_proto::v1::ShardStatus;
use discord_sim::SimConfig;
use gateway_worker::NoHandler;

use crate::{
    bench::{Bench, Recorder, sim},
    odd_gateway::{
        HELLO, OddGateway,
        Step::{self, *},
    },
};

const OP_1: &str = r#"{"t":null,"s":null,"op":1,"d":null}"#;
const OP_7: &str = r#"{"t":null,"s":null,"op":7,"d":null}"#;
const OP_9_FALSE: &str = r#"{"t":null,"s":null,"op":9,"d":false}"#;
const OP_9_TRUE: &str = r#"{"t":null,"s":null,"op":9,"d":true}"#;

const EVENT: &str = r#"{"t":"TYPING_START","s":1,"op":0,"d":{}}"#;
const EVENT_FAR_AHEAD: &str = r#"{"t":"TYPING_START","s":9007199254740991,"op":0,"d":{}}"#;
const READY_OF_ANOTHER: &str =
    r#"{"t":"READY","s":1,"op":0,"d":{"session_id":"s","guilds":[],"shard":[7,9000]}}"#;
const READY_WITHOUT_SESSION: &str = r#"{"t":"READY","s":1,"op":0,"d":{"guilds":[]}}"#;

/// Name, steps of the gateway, and the cause that the shard shows.
const ROWS: &[(&str, &[Step], &str)] = &[
    ("refused", &[Refuse], "cannot connect"),
    ("503", &[Http("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")], "cannot connect"),
    ("520 with a page", &[Http("HTTP/1.1 520 x\r\ncontent-length: 5\r\n\r\noops!")], "cannot connect"),
    ("not HTTP", &[Http("SSH-2.0-OpenSSH_9.6\r\n")], "cannot connect"),
    ("endless answer", &[HttpFlood], "larger than 16384 bytes"),
    ("flood before READY", &[Send(HELLO), Hear, Flood(EVENT, 8_300), Serve], "before READY"),
    ("READY of another shard", &[Send(HELLO), Hear, Send(READY_OF_ANOTHER), Serve], "another shard"),
    ("READY without a session", &[Send(HELLO), Hear, Send(READY_WITHOUT_SESSION), Serve], "session id"),
    ("sequence again", &[Send(HELLO), Greet, Send(EVENT), Serve], "out of order"),
    ("sequence far ahead", &[Send(HELLO), Greet, Send(EVENT_FAR_AHEAD), Serve], "out of order"),
    ("ready, 4007", &[Send(HELLO), Greet, Close(4007)], "closed with 4007"),
    ("op 7 before HELLO", &[Send(OP_7)], "op 7"),
    ("HELLO, close", &[Send(HELLO), Close(4000)], "closed with 4000"),
    ("HELLO, end", &[Send(HELLO), End], ""),
    ("HELLO, RESUME or IDENTIFY, end", &[Send(HELLO), Hear, End], ""),
    ("ready, op 7", &[Send(HELLO), Greet, Send(OP_7), Serve], "op 7"),
    ("ready, op 9 true", &[Send(HELLO), Greet, Send(OP_9_TRUE), Serve], "op 9"),
    ("ready, op 9 false", &[Send(HELLO), Greet, Send(OP_9_FALSE), Serve], "op 9"),
    ("ready, op 9 many times", &[Send(HELLO), Greet, Flood(OP_9_TRUE, 50), Serve], "op 9"),
    ("ready, 1011", &[Send(HELLO), Greet, Close(1011)], "closed with 1011"),
    ("ready, 1000", &[Send(HELLO), Greet, Close(1000)], "closed with 1000"),
    ("ready, 4008", &[Send(HELLO), Greet, Close(4008)], "closed with 4008"),
    ("ready, unknown code", &[Send(HELLO), Greet, Close(4999)], "closed with 4999 bye\\u{1b}[2J"),
    ("ready, close without a code", &[Send(HELLO), Greet, CloseWithoutCode], "without a code"),
    ("ready, reset", &[Send(HELLO), Greet, Reset], ""),
    ("ready, end", &[Send(HELLO), Greet, End], ""),
    ("READY, 1011, RESUME refused", &[Send(HELLO), GreetOnce, Close(1011)], ""),
    ("op 1 storm, close", &[Send(HELLO), Flood(OP_1, 500), Greet, Flood(OP_1, 500), Close(4000)], "4000"),
    ("interval 0", &[Send(r#"{"op":10,"d":{"heartbeat_interval":0}}"#), Serve], "heartbeat interval"),
    ("interval -1", &[Send(r#"{"op":10,"d":{"heartbeat_interval":-1}}"#), Serve], "heartbeat interval"),
    ("no interval", &[Send(r#"{"op":10,"d":{}}"#), Serve], "heartbeat interval"),
    ("frame of 2^62 bytes", &[Raw(&[0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0])], ""),
    ("reserved bits", &[Raw(&[0xff, 0x00])], ""),
    ("not zstd", &[Send(HELLO), Binary(b"not zstd at all")], "decompress"),
];

#[tokio::test(flavor = "multi_thread")]
async fn at_most_one_connection_a_second() {
    // Each worker runs one shard against a gateway of its own.
    let config = SimConfig { max_concurrency: 64, ..sim(1) };
    let mut bench = Bench::of_shards(ROWS.len() as u32, config, Recorder::default()).await;
    let mut gateways = BTreeMap::new();
    for (index, (name, steps, cause)) in ROWS.iter().enumerate() {
        let gateway = OddGateway::always(steps).await;
        let url = format!("--discord-gateway-url={}", gateway.url);
        let worker = format!("w{index}");
        let flags = ["--drain-timeout=100ms", "--shards-per-cluster=1", &url];
        bench.worker(&worker, Arc::new(NoHandler), &flags).await;
        gateways.insert(worker, (*name, gateway, *cause));
    }
    let reconnecting = i32::from(ShardStatus::Reconnecting);
    let mut untold: BTreeSet<String> = gateways.keys().cloned().collect();
    let began = Instant::now();
    while !untold.is_empty() || began.elapsed() < Duration::from_secs(16) {
        for shard in bench.client.shards("").await.unwrap_or_default() {
            let Some((_, _, cause)) = gateways.get(&shard.worker_id) else { continue };
            let is_told = shard.detail.contains(cause) && shard.detail.contains("next attempt in");
            if shard.status == reconnecting && is_told {
                untold.remove(&shard.worker_id);
            }
        }
        let names: Vec<_> = untold.iter().map(|worker| gateways[worker].0).collect();
        assert!(began.elapsed() < Duration::from_mins(1), "no cause and wait shown: {names:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (name, gateway, _) in gateways.values() {
        let most = gateway.most_within_15_s();
        assert!((2..=15).contains(&most), "{name}: {most} connections within 15 s");
    }
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_heartbeat_requests_gets_one_answer_a_second() {
    let gateway = OddGateway::always(&[Send(HELLO), Greet, Flood(OP_1, 20_000), Serve]).await;
    let mut bench = start(&gateway).await;
    bench.until_ready("the shard to be ready").await;
    let made = gateway.until("three heartbeats", |made| made[0].count(1) >= 3).await;
    let seconds = made[0].at.elapsed().as_secs() as usize;
    assert!(made[0].count(1) <= seconds + 2, "{} in {seconds} s", made[0].count(1));
    assert_eq!(gateway.made().len(), 1, "the connection holds");
    bench.finish().await;
}

/// A worker with one shard at this gateway.
async fn start(gateway: &OddGateway) -> Bench {
    let mut bench = Bench::without_workers(sim(1), Recorder::default()).await;
    let url = format!("--discord-gateway-url={}", gateway.url);
    bench.worker("w", Arc::new(NoHandler), &["--drain-timeout=100ms", &url]).await;
    bench
}

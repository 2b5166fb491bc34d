//! One test per rule: Discord's answer and the recorded violation.

use crate::client::{Client, PATIENCE, Received, USUAL, identify, quick, start};
use discord_sim::{Intents, Sim, SimConfig, ViolationKind};
use serde_json::{Value, json};
use std::time::Duration;

fn kinds(sim: &Sim) -> Vec<ViolationKind> {
    sim.control().violations().items.into_iter().map(|violation| violation.kind).collect()
}

/// Asserts that a client which sends `payload` first is closed with `code` and recorded as `kind`.
async fn assert_closed(config: SimConfig, payload: Value, code: u16, kind: ViolationKind) {
    let sim = start(config).await;
    let mut client = Client::connect(&sim).await;
    client.send(payload).await;
    assert_eq!(client.close_code().await, code);
    assert_eq!(kinds(&sim), [kind]);
    sim.shutdown().await;
}

#[tokio::test]
async fn wrong_token_is_4004() {
    let config = SimConfig { token: Some("right".into()), ..quick() };
    assert_closed(config.clone(), identify("wrong", (0, 1), 1), 4004, ViolationKind::BadToken).await;
    for token in ["right", "Bot right"] {
        let sim = start(config.clone()).await;
        let mut client = Client::connect(&sim).await;
        client.send(identify(token, (0, 1), 1)).await;
        assert_eq!(client.payload().await["t"], "READY");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn invalid_shard_is_4010() {
    for shard in [(1, 1), (0, 0), (3, 2)] {
        assert_closed(quick(), identify("t", shard, 1), 4010, ViolationKind::InvalidShard).await;
    }
    let large = SimConfig { shard_multiple: 4, ..quick() };
    assert_closed(large, identify("t", (0, 6), 1), 4010, ViolationKind::InvalidShard).await;
}

#[tokio::test]
async fn too_many_guilds_on_a_shard_is_4011() {
    let config = SimConfig { max_guilds_per_shard: 7, ..quick() };
    assert_closed(config, identify("t", (0, 1), 1), 4011, ViolationKind::ShardingRequired).await;
}

#[tokio::test]
async fn unknown_intents_are_4013_and_disallowed_ones_4014() {
    assert_closed(quick(), identify("t", (0, 1), 1 << 19), 4013, ViolationKind::InvalidIntents).await;
    let config = SimConfig { privileged_intents: Intents(0), ..quick() };
    assert_closed(config, identify("t", (0, 1), 1 << 15), 4014, ViolationKind::DisallowedIntents).await;
}

#[tokio::test]
async fn other_version_or_encoding_is_4012() {
    let sim = start(quick()).await;
    for query in ["/?v=8&encoding=json", "/?encoding=json", "/?v=10&encoding=etf"] {
        assert_eq!(Client::dial(&sim, query).await.close_code().await, 4012);
    }
    assert_eq!(kinds(&sim), [ViolationKind::InvalidVersion; 3]);
    sim.shutdown().await;
}

#[tokio::test]
async fn payload_before_identify_is_4003() {
    assert_closed(quick(), json!({"op": 3, "d": {}}), 4003, ViolationKind::NotAuthenticated).await;
}

#[tokio::test]
async fn second_identify_is_4005() {
    let sim = start(quick()).await;
    let (mut client, _) = Client::open(&sim, (0, 1), 1).await;
    client.identify((0, 1), 1).await;
    assert_eq!(client.close_code().await, 4005);
    assert_eq!(kinds(&sim), [ViolationKind::AlreadyAuthenticated]);
    sim.shutdown().await;
}

#[tokio::test]
async fn unknown_opcode_is_4001() {
    assert_closed(quick(), json!({"op": 99, "d": null}), 4001, ViolationKind::UnknownOpcode).await;
}

#[tokio::test]
async fn undecodable_payload_is_4002() {
    assert_closed(quick(), json!("x"), 4002, ViolationKind::DecodeError).await;
    assert_closed(quick(), json!({"op": 3, "d": "x".repeat(4_096)}), 4002, ViolationKind::DecodeError).await;
    assert_closed(quick(), json!({"op": 3, "d": "x".repeat(100_000)}), 4002, ViolationKind::DecodeError)
        .await;
    assert_closed(quick(), json!({"op": 2, "d": {"token": "t"}}), 4002, ViolationKind::DecodeError).await;
}

#[tokio::test]
async fn more_than_120_sends_in_a_minute_is_4008() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), 1).await;
    for _ in 0..119 {
        client.send(json!({"op": 1, "d": null})).await;
        assert_eq!(client.payload().await["op"], 11);
    }
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.close_code().await, 4008);
    assert_eq!(kinds(&sim), [ViolationKind::RateLimited]);
    sim.shutdown().await;
}

#[tokio::test]
async fn client_without_heartbeats_is_closed_and_may_resume() {
    let sim = start(SimConfig { heartbeat_interval: Duration::from_millis(100), ..quick() }).await;
    let (mut client, opened, _) = Client::open_all(&sim, (0, 1), 1).await;
    assert_eq!(client.close_code().await, 4009);
    assert_eq!(kinds(&sim), [ViolationKind::MissedHeartbeat]);
    let mut client = Client::connect(&sim).await;
    client.resume(&opened.session_id, 9).await;
    assert_eq!(client.payload().await["t"], "RESUMED");
    sim.shutdown().await;
}

#[tokio::test]
async fn one_identify_per_bucket_and_interval() {
    let config = SimConfig { max_concurrency: 2, identify_interval: Duration::from_mins(10), ..quick() };
    let sim = start(config).await;
    let _zero = Client::open(&sim, (0, 4), 1).await;
    let _one = Client::open(&sim, (1, 4), 1).await;
    let mut two = Client::connect(&sim).await;
    two.identify((2, 4), 1).await;
    let refusal = two.payload().await;
    assert_eq!((&refusal["op"], &refusal["d"]), (&json!(9), &json!(false)));
    assert_eq!(kinds(&sim), [ViolationKind::IdentifyConcurrency]);
    let identifies = sim.control().identifies().items;
    assert_eq!(identifies.iter().map(|one| one.refused.is_none()).collect::<Vec<_>>(), [true, true, false]);
    sim.shutdown().await;
}

#[tokio::test]
async fn socket_can_be_reused_after_op_9() {
    let config = SimConfig { identify_interval: Duration::from_millis(100), ..quick() };
    let sim = start(config).await;
    let _first = Client::open(&sim, (0, 2), 1).await;
    let mut client = Client::connect(&sim).await;
    let ready = tokio::time::timeout(PATIENCE, async {
        loop {
            client.identify((1, 2), 1).await;
            let answer = client.payload().await;
            if answer["op"] == 0 {
                return answer;
            }
            assert_eq!(answer["d"], false);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(ready.await.unwrap()["t"], "READY");
    sim.shutdown().await;
}

#[tokio::test]
async fn exceeded_identify_budget_ends_all_sessions() {
    let sim = start(SimConfig { daily_identifies: 1, ..quick() }).await;
    let (mut first, _) = Client::open(&sim, (0, 2), USUAL).await;
    let mut second = Client::connect(&sim).await;
    second.identify((1, 2), 1).await;
    assert_eq!(second.close_code().await, 4004);
    assert_eq!(first.close_code().await, 4003, "its session was ended");
    assert_eq!(kinds(&sim), [ViolationKind::IdentifyBudget]);
    sim.shutdown().await;
}

#[tokio::test]
async fn heartbeats_are_answered_before_and_after_identify() {
    let sim = start(quick()).await;
    let mut client = Client::connect(&sim).await;
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.payload().await, json!({"t": null, "s": null, "op": 11, "d": null}));
    client.identify((0, 1), 0).await;
    assert_eq!(client.payload().await["t"], "READY");
    client.send(json!({"op": 1, "d": 1})).await;
    assert_eq!(client.payload().await["op"], 11);
    assert_eq!(sim.control().sessions().sessions[0].acknowledged, 1);
    sim.shutdown().await;
    assert!(matches!(client.next().await, Received::Closed(1001)));
}

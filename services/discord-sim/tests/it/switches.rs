//! Every position of every switch.

use crate::client::{Client, PATIENCE, Received, USUAL, quick, start, write_message};
use discord_sim::{Fault, ResumeWhileOpen, Sim, SimConfig, Switches};
use serde_json::json;
use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};
use tokio_tungstenite::tungstenite::Error;

async fn with(switches: Switches) -> Sim {
    start(SimConfig { switches, ..quick() }).await
}

#[tokio::test]
async fn resume_can_be_rejected_while_a_connection_is_open() {
    for (resume_while_open, d) in [(ResumeWhileOpen::Refuse, false), (ResumeWhileOpen::RefuseForNow, true)] {
        let sim = with(Switches { resume_while_open, ..Switches::default() }).await;
        let (mut old, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
        let mut new = Client::connect(&sim).await;
        new.resume(&opened.session_id, 9).await;
        assert_eq!(new.payload().await, json!({"t": null, "s": null, "op": 9, "d": d}));
        write_message(&sim.control());
        assert_eq!(old.payload().await["t"], "MESSAGE_CREATE", "the old connection continues");
        old.close(4000).await;
        let mut later = Client::connect(&sim).await;
        later.resume(&opened.session_id, 10).await;
        assert_eq!(later.payload().await["t"], "RESUMED", "resumable after the old connection closed");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn resume_can_share_the_session() {
    let sim = with(Switches { resume_while_open: ResumeWhileOpen::Both, ..Switches::default() }).await;
    let (mut old, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    let mut new = Client::connect(&sim).await;
    new.resume(&opened.session_id, 9).await;
    assert_eq!(new.payload().await["t"], "RESUMED");
    write_message(&sim.control());
    for client in [&mut old, &mut new] {
        assert_eq!(client.event("MESSAGE_CREATE").await["s"], 11);
    }
    let control = sim.control();
    let sent = || control.sequences(0, 11, 11).pop().map(|one| one.sent).unwrap_or_default();
    assert!(control.wait_until(PATIENCE, |_| sent().len() == 2).await, "{:?}", sent());
    sim.shutdown().await;
}

#[tokio::test]
async fn heartbeat_can_trim_the_replay_buffer() {
    for heartbeat_trims in [false, true] {
        let sim = with(Switches { heartbeat_trims, ..Switches::default() }).await;
        let (mut client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
        client.send(json!({"op": 1, "d": 9})).await;
        assert_eq!(client.payload().await["op"], 11);
        client.close(4000).await;
        let mut client = Client::connect(&sim).await;
        client.resume(&opened.session_id, 5).await;
        let answer = client.payload().await;
        let (op, sequence) = if heartbeat_trims { (json!(9), json!(null)) } else { (json!(0), json!(6)) };
        assert_eq!((&answer["op"], &answer["s"]), (&op, &sequence));
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn connection_is_closed_after_the_op_7_grace_with_or_without_a_frame() {
    for close_frames in [true, false] {
        let reconnect_grace = Duration::from_millis(50);
        let sim = with(Switches { close_frames, reconnect_grace, ..Switches::default() }).await;
        let (mut client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
        sim.control().inject(Fault::Reconnect { shards: None }).unwrap();
        assert_eq!(client.payload().await["op"], 7);
        match client.next().await {
            Received::Closed(1001) if close_frames => {}
            Received::Dropped if !close_frames => {}
            other => panic!("{other:?}"),
        }
        let mut client = Client::connect(&sim).await;
        client.resume(&opened.session_id, 9).await;
        assert_eq!(client.payload().await["t"], "RESUMED");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn silent_client_is_closed_with_the_configured_code() {
    let switches = Switches { zombie_close_code: 1000, ..Switches::default() };
    let heartbeat_interval = Duration::from_millis(100);
    let sim = start(SimConfig { switches, heartbeat_interval, ..quick() }).await;
    let (mut client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    assert_eq!(client.close_code().await, 1000);
    let mut client = Client::connect(&sim).await;
    client.resume(&opened.session_id, 9).await;
    assert_eq!(client.payload().await["t"], "RESUMED");
    assert!(sim.control().switch(|switches| switches.zombie_close_code = 1006).is_err());
    sim.shutdown().await;
}

#[tokio::test]
async fn broken_rules_get_their_code_without_close_frames() {
    let sim = with(Switches { close_frames: false, ..Switches::default() }).await;
    let mut client = Client::connect(&sim).await;
    client.send(json!({"op": 99, "d": null})).await;
    assert_eq!(client.close_code().await, 4001);
    sim.shutdown().await;
}

#[tokio::test]
async fn hello_and_ready_can_be_delayed() {
    let late = Duration::from_millis(300);
    let sim = with(Switches { hello_delay: late, ready_delay: late, ..Switches::default() }).await;
    let from = Instant::now();
    let mut client = Client::connect(&sim).await;
    assert!(from.elapsed() >= late);
    let from = Instant::now();
    client.identify((0, 1), USUAL).await;
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.payload().await["op"], 11, "heartbeats are answered meanwhile");
    assert_eq!(client.payload().await["t"], "READY");
    assert!(from.elapsed() >= late);
    sim.shutdown().await;
}

#[tokio::test]
async fn hello_delay_extends_the_first_heartbeat_deadline() {
    let switches = Switches { hello_delay: Duration::from_millis(600), ..Switches::default() };
    let heartbeat_interval = Duration::from_millis(200);
    let sim = start(SimConfig { switches, heartbeat_interval, ..quick() }).await;
    let mut client = Client::connect(&sim).await;
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.payload().await["op"], 11);
    assert!(sim.control().violations().items.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn resume_url_can_be_unreachable() {
    let sim = with(Switches { resume_url_dead: true, ..Switches::default() }).await;
    let (client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    client.close(4000).await;
    let url = opened.ready["d"]["resume_gateway_url"].as_str().unwrap();
    assert!(Client::connect_to(url).await.is_none());
    sim.control().switch(|switches| switches.resume_url_dead = false).unwrap();
    let mut client = Client::connect_to(url).await.expect("the URL works again");
    client.resume(&opened.session_id, 9).await;
    assert_eq!(client.payload().await["t"], "RESUMED");
    sim.shutdown().await;
}

#[tokio::test]
async fn replay_buffer_can_shrink_at_runtime() {
    let sim = start(quick()).await;
    let (client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    client.close(4000).await;
    assert!(sim.control().switch(|switches| switches.replay_buffer = 0).is_err());
    sim.control().switch(|switches| switches.replay_buffer = 2).unwrap();
    let mut client = Client::connect(&sim).await;
    client.resume(&opened.session_id, 6).await;
    assert_eq!(client.payload().await["op"], 9, "7 is no longer kept");
    sim.shutdown().await;
}

#[tokio::test]
async fn abort_is_a_tcp_reset() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    sim.control().inject(Fault::Abort { shards: None }).unwrap();
    match client.error().await {
        Some(Error::Io(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        other => panic!("{other:?}"),
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn server_can_request_a_heartbeat() {
    let sim = start(SimConfig { heartbeat_interval: Duration::from_millis(300), ..quick() }).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    let from = Instant::now();
    sim.control().inject(Fault::RequestHeartbeat { shards: None }).unwrap();
    assert_eq!(client.payload().await, json!({"t": null, "s": null, "op": 1, "d": null}));
    assert_eq!(client.close_code().await, 4009, "the client did not answer");
    assert!(from.elapsed() < Duration::from_millis(600), "one interval, not two");
    sim.shutdown().await;
}

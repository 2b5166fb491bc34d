//! RESUME and replays.

use crate::client::{Client, PATIENCE, Received, USUAL, first_guild, quick, start, write_message};
use discord_sim::{Control, Delivery, Fault, SessionReport, Sim, SimConfig, Switches, ViolationKind};
use serde_json::json;
use std::time::Duration;

fn session(sim: &Sim, id: &str) -> SessionReport {
    sim.control().ledger().sessions.into_iter().find(|session| session.session_id == id).unwrap()
}

/// Waits until the session has no connection.
async fn detached(sim: &Sim, id: &str) {
    assert!(
        sim.control()
            .wait_until(PATIENCE, |control| {
                control.sessions().sessions.iter().all(|one| one.session_id != id || one.connection.is_none())
            })
            .await
    );
}

#[tokio::test]
async fn resume_replays_exactly_the_missed_events() {
    let sim = start(quick()).await;
    let (client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    client.close(4000).await;
    detached(&sim, &opened.session_id).await;
    let missed: Vec<_> = (0..3).map(|_| write_message(&sim.control()).dispatched[0].sequence).collect();
    assert_eq!(missed, [10, 11, 12]);

    let mut client = Client::connect(&sim).await;
    client.resume(&opened.session_id, 10).await;
    for sequence in [11, 12] {
        let event = client.payload().await;
        assert_eq!((&event["t"], &event["s"]), (&json!("MESSAGE_CREATE"), &json!(sequence)));
    }
    let resumed = client.payload().await;
    assert_eq!((&resumed["t"], &resumed["s"]), (&json!("RESUMED"), &json!(13)));
    assert_eq!(write_message(&sim.control()).dispatched[0].sequence, 14);
    assert_eq!(client.payload().await["s"], 14);

    let of = |connection, from, to, replayed| Delivery { connection, from, to, replayed };
    let expected = [of(1, 1, 9, false), of(2, 11, 12, true), of(2, 13, 14, false)];
    let control = sim.control();
    let recorded = control.wait_until(PATIENCE, |_| session(&sim, &opened.session_id).deliveries == expected);
    assert!(recorded.await, "{:?}", session(&sim, &opened.session_id).deliveries);
    let shards = sim.control().sessions().shards;
    assert_eq!((shards[0].open, shards[0].open_max, shards[0].resumes, shards[0].takeovers), (1, 1, 1, 0));
    sim.shutdown().await;
}

#[tokio::test]
async fn remaining_guilds_arrive_after_the_resume() {
    let sim = start(SimConfig { guilds: 200, ..quick() }).await;
    let (client, opened) = Client::open(&sim, (0, 1), USUAL).await;
    drop(client);
    detached(&sim, &opened.session_id).await;
    let mut client = Client::connect(&sim).await;
    client.resume(&opened.session_id, 1).await;
    let mut guilds = 0;
    let mut last = 1;
    while guilds < 200 {
        let event = client.payload().await;
        last += 1;
        assert_eq!(event["s"], last, "sequences are contiguous");
        guilds += usize::from(event["t"] == "GUILD_CREATE");
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn closing_with_1000_ends_the_session() {
    let sim = start(quick()).await;
    let (client, opened) = Client::open(&sim, (0, 1), 1).await;
    client.close(1000).await;
    let control = sim.control();
    let ended = control.wait_until(PATIENCE, |_| session(&sim, &opened.session_id).ended_why.is_some());
    assert!(ended.await);
    let mut client = Client::connect(&sim).await;
    client.resume(&opened.session_id, 1).await;
    let refusal = client.payload().await;
    assert_eq!((&refusal["op"], &refusal["d"]), (&json!(9), &json!(false)));
    assert!(sim.control().violations().items.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn session_expires_without_a_resume() {
    let sim = start(SimConfig {
        switches: Switches { session_life: Duration::from_millis(50), ..Switches::default() },
        ..quick()
    })
    .await;
    let (client, opened) = Client::open(&sim, (0, 1), 1).await;
    drop(client);
    assert!(sim.control().wait_until(PATIENCE, |control| control.sessions().sessions.is_empty()).await);
    assert_eq!(session(&sim, &opened.session_id).ended_why.as_deref(), Some("not resumed in time"));
    sim.shutdown().await;
}

#[tokio::test]
async fn resume_outside_the_session_is_rejected() {
    let sim =
        start(SimConfig { switches: Switches { replay_buffer: 4, ..Switches::default() }, ..quick() }).await;
    let (client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    client.close(4000).await;
    detached(&sim, &opened.session_id).await;
    let mut client = Client::connect(&sim).await;
    client.resume(&opened.session_id, 10).await;
    assert_eq!(client.close_code().await, 4007);
    assert_eq!(sim.control().violations().items[0].kind, ViolationKind::InvalidSequence);
    let mut client = Client::connect(&sim).await;
    client.resume(&opened.session_id, 2).await;
    assert_eq!(client.payload().await["op"], 9, "older than the buffer");
    sim.shutdown().await;
}

#[tokio::test]
async fn resume_takes_over_an_open_session() {
    let sim = start(quick()).await;
    let (mut old, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    let mut new = Client::connect(&sim).await;
    new.resume(&opened.session_id, 9).await;
    assert_eq!(new.payload().await["t"], "RESUMED");
    assert_eq!(old.close_code().await, 4000);
    write_message(&sim.control());
    assert_eq!(new.payload().await["t"], "MESSAGE_CREATE");
    let shards = sim.control().sessions().shards;
    assert_eq!((shards[0].open_max, shards[0].takeovers), (2, 1), "the takeover is counted");
    sim.shutdown().await;
}

#[tokio::test]
async fn small_replay_buffer_does_not_affect_connected_clients() {
    let switches = Switches { replay_buffer: 2, ..Switches::default() };
    let sim = start(SimConfig { largest_guild: Some(9_000), switches, ..quick() }).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL | 1 << 1).await;
    let guild_id = first_guild(&sim.control());
    client.send(json!({"op": 8, "d": {"guild_id": guild_id, "query": "", "limit": 0}})).await;
    for index in 0..9 {
        assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["chunk_index"], index);
    }
    sim.shutdown().await;
}

/// A client that does not read can still be closed while events or answers wait for it.
#[tokio::test]
async fn client_that_does_not_read_misses_its_heartbeat() {
    let heartbeat_interval = Duration::from_millis(500);
    let sim = start(SimConfig { heartbeat_interval, events_per_second: 0.0, ..quick() }).await;
    let (client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    let control = sim.control();
    let guild_id = first_guild(&control);
    let text = "x".repeat(2_000);
    let full = control.wait_until(PATIENCE, |control| {
        let before = session(&sim, &opened.session_id).sent;
        for _ in 0..500 {
            control.inject(Fault::Message { guild_id, content: Some(text.clone()) }).unwrap();
        }
        // The socket is full.
        before == session(&sim, &opened.session_id).sent && before > 1_000
    });
    let noticed = control.wait_until(PATIENCE, |control| {
        control.violations().items.iter().any(|one| one.kind == ViolationKind::MissedHeartbeat)
            && control.sessions().connections.is_empty()
    });
    let _ = full.await;
    assert!(noticed.await, "{:?}", control.sessions());
    drop(client);
    sim.shutdown().await;
}

#[tokio::test]
async fn slow_reader_is_closed_when_too_far_behind() {
    let sim =
        start(SimConfig { switches: Switches { replay_buffer: 64, ..Switches::default() }, ..quick() }).await;
    let (mut client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    // More than the socket buffers and the replay buffer hold, while the client does not read.
    let text = "x".repeat(2_000);
    let guild_id = first_guild(&sim.control());
    let behind = |control: &Control| {
        for _ in 0..500 {
            control.inject(Fault::Message { guild_id, content: Some(text.clone()) }).unwrap();
        }
        let session = session(&sim, &opened.session_id);
        session.sequence > session.sent + 16_384 + 500
    };
    assert!(sim.control().wait_until(Duration::from_mins(1), behind).await);
    let code = loop {
        match client.next().await {
            Received::Closed(code) => break code,
            Received::Payload(_) => {}
            Received::Dropped => panic!("no close frame"),
        }
    };
    assert_eq!(code, 4000);
    sim.shutdown().await;
}

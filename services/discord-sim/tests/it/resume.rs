//! Sessions that outlive their connections.

use crate::client::{Client, PATIENCE, Seen, USUAL, first_guild, quick, start, write_message};
use discord_sim::{Control, Delivery, Fault, SessionReport, Sim, SimConfig, Switches, ViolationKind};
use serde_json::json;
use std::time::Duration;

fn session(sim: &Sim, id: &str) -> SessionReport {
    sim.control().ledger().sessions.into_iter().find(|session| session.session_id == id).unwrap()
}

/// Waits until nobody is connected to the session.
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
async fn a_resume_replays_exactly_what_was_missed() {
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
async fn guilds_that_were_still_to_come_come_after_the_resume() {
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
        assert_eq!(event["s"], last, "no hole");
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
async fn a_session_expires() {
    let sim = start(SimConfig {
        switches: Switches { session_life: Duration::from_millis(50), ..Switches::default() },
        ..quick()
    })
    .await;
    let (client, opened) = Client::open(&sim, (0, 1), 1).await;
    drop(client);
    assert!(sim.control().wait_until(PATIENCE, |control| control.sessions().sessions.is_empty()).await);
    assert_eq!(session(&sim, &opened.session_id).ended_why.as_deref(), Some("nobody resumed it in time"));
    sim.shutdown().await;
}

#[tokio::test]
async fn a_sequence_outside_the_session_is_refused() {
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
async fn a_resume_takes_an_open_session_over() {
    let sim = start(quick()).await;
    let (mut old, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    let mut new = Client::connect(&sim).await;
    new.resume(&opened.session_id, 9).await;
    assert_eq!(new.payload().await["t"], "RESUMED");
    assert_eq!(old.close_code().await, 4000);
    write_message(&sim.control());
    assert_eq!(new.payload().await["t"], "MESSAGE_CREATE");
    let shards = sim.control().sessions().shards;
    assert_eq!((shards[0].open_max, shards[0].takeovers), (2, 1), "a test can see it");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_small_replay_buffer_does_not_hurt_who_reads() {
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

/// Whatever is written to it, events or answers, it is told apart and can be closed.
#[tokio::test]
async fn a_client_that_reads_nothing_is_still_noticed() {
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
        // It takes no more: the socket is full.
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
async fn a_slow_reader_costs_no_memory_and_is_cut_off() {
    let sim =
        start(SimConfig { switches: Switches { replay_buffer: 64, ..Switches::default() }, ..quick() }).await;
    let (mut client, opened, _) = Client::open_all(&sim, (0, 1), USUAL).await;
    // More than socket buffers and replay buffer hold, and nobody reads.
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
            Seen::Closed(code) => break code,
            Seen::Payload(_) => {}
            Seen::Dropped => panic!("no close frame"),
        }
    };
    assert_eq!(code, 4000);
    sim.shutdown().await;
}

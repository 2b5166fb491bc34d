//! Faults and reports.

use crate::{
    client::{Client, PATIENCE, Received, USUAL, first_guild, quick, start},
    http::http,
};
use discord_sim::{
    Control, Fault, FaultError, FaultOutcome, Sim, SimConfig, Snowflake, StatsReport, ViolationKind,
};
use serde_json::json;

fn inject(sim: &Sim, fault: Fault) -> FaultOutcome {
    sim.control().inject(fault).unwrap()
}

#[tokio::test]
async fn connection_faults_affect_only_their_shards() {
    let sim = start(quick()).await;
    let (mut zero, ..) = Client::open_all(&sim, (0, 2), 1).await;
    let (mut one, opened, _) = Client::open_all(&sim, (1, 2), 1).await;
    let shards = Some(vec![0]);
    assert_eq!(inject(&sim, Fault::Reconnect { shards: shards.clone() }).connections, 1);
    assert_eq!(zero.payload().await, json!({"t": null, "s": null, "op": 7, "d": null}));
    inject(&sim, Fault::Close { shards, code: 4009, reason: String::new() });
    assert_eq!(zero.close_code().await, 4009);

    assert_eq!(inject(&sim, Fault::InvalidSession { shards: None, resumable: true }).connections, 1);
    let invalid = one.payload().await;
    assert_eq!((&invalid["op"], &invalid["d"]), (&json!(9), &json!(true)));
    one.resume(&opened.session_id, 5).await;
    assert_eq!(one.payload().await["t"], "RESUMED", "on the same socket");
    inject(&sim, Fault::Abort { shards: None });
    assert!(matches!(one.next().await, Received::Dropped));
    sim.shutdown().await;
}

#[tokio::test]
async fn op_9_false_ends_the_session() {
    let sim = start(quick()).await;
    let (mut client, opened, _) = Client::open_all(&sim, (0, 1), 1).await;
    inject(&sim, Fault::InvalidSession { shards: None, resumable: false });
    assert_eq!(client.payload().await["d"], false);
    client.resume(&opened.session_id, 9).await;
    assert_eq!(client.payload().await["op"], 9);
    client.identify((0, 1), 1).await;
    assert_eq!(client.payload().await["t"], "READY");
    sim.shutdown().await;
}

#[tokio::test]
async fn client_on_a_frozen_connection_is_recorded() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    inject(&sim, Fault::Freeze { shards: None, on: true });
    client.send(json!({"op": 1, "d": 9})).await;
    client.send(json!({"op": 1, "d": 9})).await;
    let control = sim.control();
    let kept = |control: &Control| {
        control.violations().items.iter().any(|one| one.kind == ViolationKind::ZombieKept)
    };
    assert!(control.wait_until(PATIENCE, kept).await);
    inject(&sim, Fault::InvalidSession { shards: None, resumable: false });
    let ended = control.wait_until(PATIENCE, |control| control.sessions().sessions.is_empty());
    assert!(ended.await, "the session ends although the client gets no op 9");
    sim.shutdown().await;
}

#[tokio::test]
async fn invalid_faults_are_rejected() {
    let sim = start(quick()).await;
    let control = sim.control();
    let close =
        |code, reason: &str| control.inject(Fault::Close { shards: None, code, reason: reason.into() });
    for code in [999, 1005, 1006, 1015, 5000] {
        assert_eq!(close(code, "").unwrap_err(), FaultError::BadCode);
    }
    assert_eq!(close(4000, &"x".repeat(124)).unwrap_err(), FaultError::BadReason);
    let guild_id = first_guild(&sim.control());
    let event =
        |name: &str| Fault::Event { name: name.into(), guild_id: Some(guild_id), d: json!({}), shards: None };
    assert_eq!(control.inject(event("A\"B")).unwrap_err(), FaultError::BadName);
    inject(&sim, Fault::GuildLeave { guild_id });
    assert_eq!(control.inject(event("TYPING_START")).unwrap_err(), FaultError::NotAvailable(guild_id));
    sim.shutdown().await;
}

#[tokio::test]
async fn frozen_connection_is_silent_and_loses_no_event() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    inject(&sim, Fault::Freeze { shards: None, on: true });
    client.send(json!({"op": 1, "d": 9})).await;
    for _ in 0..3 {
        inject(&sim, Fault::Message { guild_id: first_guild(&sim.control()), content: None });
    }
    let silence = tokio::time::timeout(std::time::Duration::from_millis(200), client.payload());
    assert!(silence.await.is_err());
    inject(&sim, Fault::Freeze { shards: None, on: false });
    for sequence in 10..13 {
        assert_eq!(client.payload().await["s"], sequence);
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn resumes_can_be_denied_and_connections_reset() {
    let sim = start(quick()).await;
    let (client, opened, _) = Client::open_all(&sim, (0, 1), 1).await;
    client.close(4000).await;
    inject(&sim, Fault::AcceptThenClose { connections: 2 });
    for _ in 0..2 {
        assert!(matches!(Client::dial(&sim, "/?v=10&encoding=json").await.next().await, Received::Dropped));
    }
    inject(&sim, Fault::DenyResumes { on: true });
    let mut client = Client::connect(&sim).await;
    client.resume(&opened.session_id, 9).await;
    assert_eq!(client.payload().await["op"], 9);
    assert_eq!(sim.control().sessions().shards[0].resumes_refused, 1);
    sim.shutdown().await;
}

#[tokio::test]
async fn guild_outages_leaves_and_joins_are_dispatched() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    let guild_id = first_guild(&sim.control());
    inject(&sim, Fault::GuildOutage { guild_id, on: true });
    assert_eq!(client.event("GUILD_DELETE").await["d"], json!({"id": guild_id, "unavailable": true}));
    assert_eq!(
        sim.control().inject(Fault::Message { guild_id, content: None }).unwrap_err(),
        FaultError::NotAvailable(guild_id)
    );
    let (_, opened) = Client::open(&sim, (0, 1), USUAL).await;
    assert_eq!(opened.ready["d"]["guilds"].as_array().unwrap().len(), 8, "READY lists it");
    assert_eq!(
        (sim.control().stats(1).total.guilds, sim.control().stats(1).total.unavailable_guilds),
        (7, 1)
    );
    inject(&sim, Fault::GuildOutage { guild_id, on: false });
    assert_eq!(client.event("GUILD_CREATE").await["d"]["unavailable"], false);
    inject(&sim, Fault::GuildLeave { guild_id });
    assert_eq!(client.event("GUILD_DELETE").await["d"], json!({"id": guild_id}));
    let joined = inject(&sim, Fault::GuildJoin { guild_id: None }).guild_id.unwrap();
    let create = client.event("GUILD_CREATE").await;
    assert_eq!((&create["d"]["id"], create["d"].get("unavailable")), (&json!(joined), None));
    assert_eq!(sim.control().stats(1).total.guilds, 8);
    let unknown = Snowflake(1);
    assert_eq!(
        sim.control().inject(Fault::GuildLeave { guild_id: unknown }).unwrap_err(),
        FaultError::UnknownGuild(unknown)
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn token_can_be_rejected() {
    let sim = start(quick()).await;
    inject(&sim, Fault::RejectToken { on: true });
    let mut client = Client::connect(&sim).await;
    client.identify((0, 1), 1).await;
    assert_eq!(client.close_code().await, 4004);
    assert!(sim.control().violations().items.is_empty(), "not the client's fault");
    let (status, _) = http(&sim, "GET", "/api/v10/users/@me", "Authorization: Bot t\r\n", "").await;
    assert_eq!(status, 401);
    inject(&sim, Fault::RejectToken { on: false });
    Client::open(&sim, (0, 1), 1).await;
    sim.shutdown().await;
}

#[tokio::test]
async fn http_api_matches_control() {
    let sim = start(SimConfig { guilds: 40, ..quick() }).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    let json = "Content-Type: application/json\r\n";
    let (status, guilds) = http(&sim, "GET", "/sim/guilds?limit=3&shard_total=4", "", "").await;
    assert_eq!((status, guilds.as_array().unwrap().len(), &guilds[0]["shard"][1]), (200, 3, &json!(4)));
    let fault = json!({"kind": "message", "guild_id": guilds[0]["id"], "content": "hello"}).to_string();
    let (status, outcome) = http(&sim, "POST", "/sim/faults", json, &fault).await;
    assert_eq!((status, &outcome["dispatched"][0]["sequence"]), (200, &json!(42)), "{outcome}");
    assert_eq!(client.event("MESSAGE_CREATE").await["d"]["content"], "hello");
    let (status, _) = http(&sim, "POST", "/sim/faults", json, r#"{"kind":"reconnect"}"#).await;
    assert_eq!((status, client.payload().await["op"].as_u64()), (200, Some(7)));

    for (body, status) in [(r#"{"kind":"nonsense"}"#, 400), (r#"{"kind":"guild_leave","guild_id":"1"}"#, 400)]
    {
        let (got, answer) = http(&sim, "POST", "/sim/faults", json, body).await;
        assert_eq!((got, answer["error"].is_string()), (status, true));
    }
    let (_, stats) = http(&sim, "GET", "/sim/stats?shard_total=2", "", "").await;
    let stats: StatsReport = serde_json::from_value(stats).unwrap();
    assert_eq!((stats.total, stats.shards.len()), (sim.control().stats(1).total, 2));
    let (_, users) = http(&sim, "GET", "/sim/users?limit=10", "", "").await;
    assert!(users.as_array().unwrap().iter().any(|user| user["guilds"].as_array().unwrap().len() > 1));
    assert!(users[0]["in_voice"].as_array().is_some_and(|guilds| !guilds.is_empty()));
    let (_, none) = http(&sim, "GET", "/sim/ledger?shard=7", "", "").await;
    assert_eq!(none["sessions"], json!([]));
    for path in ["ledger", "violations", "identifies", "sessions"] {
        let (status, body) = http(&sim, "GET", &format!("/sim/{path}"), "", "").await;
        assert!(status == 200 && body.is_object(), "{path}");
    }
    assert_eq!(http(&sim, "DELETE", "/sim/violations", "", "").await.0, 204);
    assert!(sim.control().wait_until(PATIENCE, |control| control.sessions().connections.len() == 1).await);
    sim.shutdown().await;
}

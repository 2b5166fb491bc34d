//! An interaction is one trace from the gateway to the REST call that answers it, for a bot in Rust and for one beside the fleet.

use discord_sim::{Fault, InteractionState, NewInteraction, Snowflake};
use fleet_fixture::{Coordinator, Deployment, Worker, sim_config, until};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::collector::{Listening, Span, assert_child, assert_connected, has, only};

/// Id and fields of an entry of a stream.
type StreamEntry = (String, Vec<(String, Vec<u8>)>);

/// A person uses `/ping`.
fn ping(deployment: &Deployment) -> Snowflake {
    let control = deployment.sim.control();
    let wanted = NewInteraction {
        command: Some("ping".to_owned()),
        guild_id: Some(control.guilds(1, 1)[0].id),
        ..NewInteraction::default()
    };
    control.inject(Fault::Interaction(wanted)).unwrap().interaction_id.unwrap()
}

async fn until_answered(deployment: &Deployment, id: Snowflake) {
    until("the interaction to be answered", async || {
        let all = deployment.sim.control().interactions();
        all.into_iter().find(|one| one.id == id && one.state == InteractionState::Answered).map(drop)
    })
    .await;
}

/// Sends a request to the proxy as a bot in another language would, and returns the answer's head.
async fn post(proxy: &str, path: &str, body: &str, traceparent: &str) -> String {
    let mut socket = TcpStream::connect(proxy).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {proxy}\r\ntraceparent: {traceparent}\r\ncontent-type: application/json\r\n\
         user-agent: DiscordBot (test, 1)\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The spans of the proxy, from the caller's down.
fn assert_answered_by_proxy(spans: &[Span], caller: &str) {
    for (child, parent, kind) in [
        ("rest_request", caller, SpanKind::Server),
        ("wait_for_turn", "rest_request", SpanKind::Internal),
        ("discord_request", "rest_request", SpanKind::Client),
    ] {
        assert_child(spans, child, parent);
        assert_eq!(only(spans, child).kind, kind, "{child}");
    }
    let request = only(spans, "rest_request");
    assert_eq!(request.attribute("http.route"), "POST /interactions/:id/:token/callback", "{request:?}");
    for span in [request, only(spans, "discord_request")] {
        let status = span.attribute("http.response.status_code");
        assert!(["200", "204"].contains(&status), "{span:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interaction_of_a_rust_bot_is_one_trace() {
    let (collector, deployment) = (Listening::start().await, Deployment::start(sim_config(10)).await);
    let coordinator = deployment.coordinator(1).await;
    let mut command = deployment.bot_command("example-bot", "bot", &coordinator.address);
    // Other events are not traced, and not every request is.
    collector
        .trace(&mut command)
        .env("TRACE_EVENTS", "0.000001")
        .env("RUST_LOG", "warn,gateway_worker=info,process=info");
    let bot = Worker::start("bot", &mut command).await;
    coordinator.until_balanced(&[&bot]).await;
    until("the commands to be registered", async || {
        (deployment.sim.control().commands().len() == 3).then_some(())
    })
    .await;
    until_answered(&deployment, ping(&deployment)).await;

    let names =
        ["gateway_event", "queue_wait", "handle_event", "rest_request", "wait_for_turn", "discord_request"];
    let traces = collector.collector.until_roots("gateway_event", 1, |spans| has(spans, &names)).await;
    let spans = &traces[0];
    assert_connected(spans);
    assert_answered_by_proxy(spans, "handle_event");
    assert_child(spans, "queue_wait", "gateway_event");
    assert_child(spans, "handle_event", "gateway_event");
    let event = only(spans, "gateway_event");
    assert_eq!((event.kind, event.attribute("event.name")), (SpanKind::Consumer, "INTERACTION_CREATE"));
    assert_eq!((event.attribute("shard.id"), event.instance.as_str()), ("0", "bot"));

    // The token of the interaction, and the bot's own, are in no span; requests outside of traced events have none.
    let all = collector.collector.spans();
    let text = format!("{all:?}");
    assert!(!text.contains("a-token-of-the-tests"), "{text}");
    assert_eq!(all.iter().filter(|span| span.name == "rest_request").count(), 1, "{text}");
    assert!(!all.iter().any(|span| span.name == "request"), "twilight's own spans: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interaction_of_a_bot_beside_the_fleet_is_one_trace() {
    let (collector, deployment) = (Listening::start().await, Deployment::start(sim_config(10)).await);
    let coordinator = Coordinator::start(&mut deployment.coordinator_command(1)).await;
    let mut command = deployment.worker_command("w", &coordinator.address);
    collector.trace(&mut command).env("RELAY", "redis").env("TRACE_EVENTS", "0.000001");
    let mut worker = Worker::start("w", &mut command).await;
    let proxy = worker.process.logged("REST proxy listening", "address").await;
    coordinator.until_balanced(&[&worker]).await;
    let interaction = ping(&deployment);

    // The bot reads the entry, and answers with the entry's trace.
    let (traceparent, payload) = until("the entry of the interaction", async || {
        let found: Vec<StreamEntry> =
            deployment.redis.command(&["XRANGE", "INTERACTION_CREATE", "-", "+"]).await;
        let (_, fields) = found.into_iter().next()?;
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let payload: Value = rmp_serde::from_slice(&field("data")?).unwrap();
        Some((String::from_utf8(field("traceparent")?).unwrap(), payload["payload"]["d"].clone()))
    })
    .await;
    let (id, token) = (payload["id"].as_str().unwrap(), payload["token"].as_str().unwrap());
    let path = format!("/api/v10/interactions/{id}/{token}/callback");
    let answer = json!({ "type": 4, "data": { "content": "pong" } }).to_string();
    let said = post(&proxy, &path, &answer, &traceparent).await;
    assert!(said.starts_with("HTTP/1.1 20"), "{said}");
    until_answered(&deployment, interaction).await;

    let names = ["gateway_event", "relay_event", "rest_request", "wait_for_turn", "discord_request"];
    let traces = collector.collector.until_roots("gateway_event", 1, |spans| has(spans, &names)).await;
    let spans = &traces[0];
    assert_connected(spans);
    assert_child(spans, "relay_event", "gateway_event");
    assert_answered_by_proxy(spans, "gateway_event");
    assert!(!format!("{spans:?}").contains(token), "the interaction's token");
}

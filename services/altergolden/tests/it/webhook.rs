//! The problems webhook over real processes and a real HTTP server.

use std::{collections::BTreeSet, time::Duration};

use fleet_fixture::{Coordinator, Deployment, PATIENCE, http, sim_config, until};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

/// The part of the URL that no output may have.
const SECRET: &str = "s3cretS3cretS3cretS3cret";

/// Answers each POST with 204 and hands on its body.
struct Receiver {
    url: String,
    bodies: mpsc::UnboundedReceiver<Value>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/{SECRET}", listener.local_addr().unwrap());
        let (sender, bodies) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let body = read_body(&mut socket).await;
                socket.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
                if sender.send(body).is_err() {
                    return;
                }
            }
        });
        Self { url, bodies }
    }

    async fn next(&mut self) -> Value {
        timeout(PATIENCE, self.bodies.recv()).await.expect("the webhook was not told").unwrap()
    }

    /// Waits until a problem is in this list; returns the body, and the codes of all that came before in it.
    async fn until(&mut self, list: &str, code: &str) -> (Value, BTreeSet<String>) {
        let mut before = BTreeSet::new();
        loop {
            let body = self.next().await;
            let codes = codes(&body, list);
            if codes.contains(code) {
                return (body, before);
            }
            before.extend(codes);
        }
    }
}

async fn read_body(socket: &mut TcpStream) -> Value {
    let mut text = Vec::new();
    loop {
        let read = socket.read_buf(&mut text).await.unwrap();
        assert!(read > 0, "the request ended early");
        let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        if let Ok(body) = serde_json::from_slice(&text[end + 4..]) {
            return body;
        }
    }
}

fn codes(body: &Value, list: &str) -> BTreeSet<String> {
    body[list].as_array().unwrap().iter().map(|entry| entry["code"].as_str().unwrap().to_owned()).collect()
}

async fn coordinator(deployment: &Deployment, receiver: &Receiver) -> Coordinator {
    let mut command = deployment.coordinator_command(2);
    command.env("PROBLEMS_WEBHOOK_URL", &receiver.url).env("PROBLEMS_WEBHOOK_INTERVAL", "1s");
    Coordinator::start(&mut command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_of_redis_is_told_to_the_webhook_when_it_begins_and_ends() {
    let mut deployment = Deployment::start(sim_config(10)).await;
    let mut receiver = Receiver::start().await;
    let coordinator = coordinator(&deployment, &receiver).await;
    let worker = deployment.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;

    deployment.redis.kill();
    let (body, _) = receiver.until("raised", "store_away").await;
    assert_eq!(
        (&body["status"], body["allowed_mentions"]["parse"].as_array().unwrap().len()),
        (&"raised".into(), 0)
    );
    let content = body["content"].as_str().unwrap();
    assert!(content.contains("store_away: the fleet store is away"), "{content}");
    assert!(content.contains("2 of 2 shards ready on 1 workers"), "{content}");
    let told =
        body["problems"].as_array().unwrap().iter().find(|entry| entry["code"] == "store_away").unwrap();
    assert!(told["weight"] == "problem" && told["since"].is_string(), "{told}");

    deployment.redis.restart().await;
    let (body, _) = receiver.until("cleared", "store_away").await;
    let told =
        body["cleared"].as_array().unwrap().iter().find(|entry| entry["code"] == "store_away").unwrap();
    assert!(told["lastedSeconds"].is_u64(), "{told}");
    let (_, metrics) = http::request(&format!("{}/metrics", coordinator.health), None).await.unwrap();
    let accepted =
        metrics.lines().find(|line| line.contains("problem_webhooks_total{outcome=\"accepted\"}")).unwrap();
    assert!(accepted.rsplit(' ').next().unwrap().parse::<u64>().unwrap() >= 2, "{accepted}");
    assert!(!coordinator.process.output().contains(SECRET), "the URL was logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn next_coordinator_does_not_tell_of_a_lasting_problem_again() {
    let deployment = Deployment::start(sim_config(10)).await;
    let mut receiver = Receiver::start().await;
    let mut first = coordinator(&deployment, &receiver).await;
    let (body, _) = receiver.until("raised", "total_unsettled").await;
    // Written right after the answer.
    until("the record of what was told", async || {
        let record: Option<String> =
            deployment.redis.command(&["HGET", "{altergolden}:fleet", "notices"]).await;
        record.filter(|record| record.contains("total_unsettled"))
    })
    .await;
    assert!(codes(&body, "problems").contains("total_unsettled"), "{body}");
    first.process.kill().await;

    let next = coordinator(&deployment, &receiver).await;
    next.until("the next coordinator to act", |status| status.acting).await;
    // Long enough to be told, if it were.
    let again = timeout(Duration::from_secs(3), receiver.until("raised", "total_unsettled")).await;
    assert!(again.is_err(), "told again: {again:?}");
    let worker = deployment.worker("a", &next).await;
    next.until_balanced(&[&worker]).await;
    receiver.until("cleared", "total_unsettled").await;
}

//! The task over real sockets: a receiver that answers by script, snapshots published by the test, a store in memory.

use fleet_model::{Problem, ProblemCode};
use fleet_store::FleetMemoryStore;
use process::settings::Secret;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use super::*;
use crate::{
    snapshot::{self, Publisher},
    webhook_target::WebhookTarget,
};

/// So that an interval of a minute takes a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long anything may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A webhook's receiver. Its answers are HTTP heads, and it keeps connections open; `None` never answers. The last one is repeated.
struct Receiver {
    url: String,
    bodies: mpsc::UnboundedReceiver<(std::time::Instant, Value)>,
}

impl Receiver {
    async fn start(answers: Vec<Option<&'static str>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/s3cretS3cretS3cretS3cret", listener.local_addr().unwrap());
        let (sender, bodies) = mpsc::unbounded_channel();
        let mut answers = std::collections::VecDeque::from(answers);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let (head, body) = read_request(&mut socket).await;
                assert!(head.starts_with("POST /hooks/s3cretS3cretS3cretS3cret HTTP/1.1"), "{head}");
                assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
                sender.send((std::time::Instant::now(), serde_json::from_slice(&body).unwrap())).unwrap();
                let answer = answers[0];
                if answers.len() > 1 {
                    answers.pop_front();
                }
                if let Some(answer) = answer {
                    let length = if answer.contains("Content-Length") { "" } else { "\r\nContent-Length: 0" };
                    let answer = format!("HTTP/1.1 {answer}{length}\r\n\r\n");
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
                open.push(socket);
            }
        });
        Self { url, bodies }
    }

    async fn next(&mut self) -> (std::time::Instant, Value) {
        timeout(PATIENCE, self.bodies.recv()).await.unwrap().unwrap()
    }
}

async fn read_request(socket: &mut tokio::net::TcpStream) -> (String, Vec<u8>) {
    let mut text = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = socket.read(&mut part).await.unwrap();
        assert!(read > 0, "the request ended early");
        text.extend_from_slice(&part[..read]);
        let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(text[..end].to_vec()).unwrap();
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if text.len() >= end + 4 + length.unwrap_or(0) {
            return (head, text[end + 4..].to_vec());
        }
    }
}

/// A coordinator that acts, as far as the webhook knows.
struct Acting {
    publisher: Publisher,
    metrics: CoordinatorMetrics,
    store: Arc<FleetMemoryStore>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Acting {
    fn start(receiver: &Receiver, store: Arc<FleetMemoryStore>, term: u64) -> Self {
        let (publisher, published) = snapshot::channel();
        let metrics = CoordinatorMetrics::default();
        let target = WebhookTarget::read(&Secret::new(&receiver.url)).unwrap().unwrap();
        let webhook = Webhook::new(WebhookParts {
            config: WebhookConfig { target, interval: INTERVAL },
            published,
            store: store.clone(),
            clock: Clock::start(),
            metrics: metrics.clone(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(webhook.unwrap().run(stop.clone()));
        let acting = Self { publisher, metrics, store, stop, task };
        acting.publish(term, Role::Acting, &[]);
        acting
    }

    fn publish(&self, term: u64, role: Role, problems: &[ProblemCode]) {
        let mut snapshot = Snapshot { role, ..Snapshot::empty() };
        snapshot.fleet.term = Term(term);
        snapshot.fleet.problems = problems.iter().map(|code| Problem::new(*code, code.as_str())).collect();
        self.publisher.publish(snapshot);
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn codes(body: &Value, list: &str) -> Vec<String> {
    body[list].as_array().unwrap().iter().map(|entry| entry["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn problem_is_told_and_its_end_not_within_the_interval() {
    let mut receiver = Receiver::start(vec![Some("204 No Content")]).await;
    let acting = Acting::start(&receiver, Arc::default(), 1);
    acting.publish(1, Role::Acting, &[ProblemCode::StoreAway, ProblemCode::TotalDiffers]);
    let (at, body) = receiver.next().await;
    assert_eq!((codes(&body, "raised"), &body["status"]), (vec!["store_away".to_owned()], &"raised".into()));
    acting.publish(1, Role::Acting, &[]);
    let (next, body) = receiver.next().await;
    assert_eq!(
        (codes(&body, "cleared"), &body["status"]),
        (vec!["store_away".to_owned()], &"cleared".into())
    );
    assert!(next - at >= INTERVAL, "{:?} apart", next - at);
    acting.stop().await;
}

#[tokio::test]
async fn passing_failures_are_repeated_and_refusals_are_not() {
    let answers =
        ["500 Internal Server Error", "429 Too Many Requests\r\nRetry-After: 1", "302 Found\r\nLocation: /x"];
    let mut receiver = Receiver::start(answers.map(Some).to_vec()).await;
    let acting = Acting::start(&receiver, Arc::default(), 1);
    acting.publish(1, Role::Acting, &[ProblemCode::StoreAway]);
    let (first, limited, refused) = (receiver.next().await, receiver.next().await, receiver.next().await);
    assert_eq!(
        (codes(&first.1, "raised"), codes(&refused.1, "raised")),
        (codes(&limited.1, "raised"), vec!["store_away".to_owned()])
    );
    assert!(refused.0 - limited.0 >= Duration::from_secs(1), "Retry-After was not kept");
    // The next request is about the next change.
    acting.publish(1, Role::Acting, &[ProblemCode::StoreAway, ProblemCode::NoWorker]);
    assert_eq!(codes(&receiver.next().await.1, "raised"), ["no_worker"]);
    let counted = ["failed", "refused", "accepted"].map(|outcome| acting.metrics.webhooks(outcome));
    assert!(counted[0] == 2 && counted[1] >= 1 && counted[2] == 0, "{counted:?}");
    acting.stop().await;
}

#[tokio::test]
async fn refusal_whose_text_never_comes_is_a_refusal() {
    let mut receiver =
        Receiver::start(vec![Some("404 Not Found\r\nContent-Length: 9"), Some("200 OK")]).await;
    let acting = Acting::start(&receiver, Arc::default(), 1);
    acting.publish(1, Role::Acting, &[ProblemCode::StoreAway]);
    assert_eq!(codes(&receiver.next().await.1, "raised"), ["store_away"]);
    acting.publish(1, Role::Acting, &[ProblemCode::StoreAway, ProblemCode::NoWorker]);
    assert_eq!(codes(&receiver.next().await.1, "raised"), ["no_worker"], "the refused one was repeated");
    let counted = ["failed", "refused"].map(|outcome| acting.metrics.webhooks(outcome));
    assert_eq!(counted, [0, 1]);
    acting.stop().await;
}

#[tokio::test]
async fn receiver_that_never_answers_is_left_after_5_s() {
    let mut receiver = Receiver::start(vec![None, Some("200 OK")]).await;
    let acting = Acting::start(&receiver, Arc::default(), 1);
    acting.publish(1, Role::Acting, &[ProblemCode::StoreAway]);
    let ((first, _), (next, _)) = (receiver.next().await, receiver.next().await);
    assert!(next - first + Duration::from_secs(1) >= ANSWER_WITHIN, "{:?}", next - first);
    acting.stop().await;
}

#[tokio::test]
async fn next_coordinator_tells_only_what_is_new() {
    let mut receiver = Receiver::start(vec![Some("200 OK")]).await;
    let first = Acting::start(&receiver, Arc::default(), 1);
    first.publish(1, Role::Acting, &[ProblemCode::StoreAway]);
    assert_eq!(codes(&receiver.next().await.1, "raised"), ["store_away"]);
    let until = Instant::now() + PATIENCE;
    while first.store.load_notices().await.unwrap().is_none() {
        assert!(Instant::now() < until);
        sleep(Duration::from_millis(10)).await;
    }
    let store = first.store.clone();
    first.stop().await;
    let next = Acting::start(&receiver, store, 2);
    next.publish(2, Role::Acting, &[ProblemCode::StoreAway, ProblemCode::NoWorker]);
    let (_, body) = receiver.next().await;
    assert_eq!(codes(&body, "raised"), ["no_worker"]);
    assert_eq!(codes(&body, "problems"), ["store_away", "no_worker"]);
    next.stop().await;
}

#[tokio::test]
async fn standby_tells_nothing() {
    let mut receiver = Receiver::start(vec![Some("200 OK")]).await;
    let acting = Acting::start(&receiver, Arc::default(), 1);
    acting.publish(1, Role::Standby, &[ProblemCode::StoreAway]);
    assert!(timeout(INTERVAL * 2, receiver.bodies.recv()).await.is_err());
    acting.publish(1, Role::Acting, &[ProblemCode::StoreAway]);
    receiver.next().await;
    acting.stop().await;
}

#[test]
fn answers_are_judged_by_their_status() {
    let judged = |status: u16| judge(StatusCode::from_u16(status).unwrap(), &http::HeaderMap::new());
    for (statuses, answer) in [
        (&[200, 201, 204][..], NoticeAnswer::Accepted),
        (&[301, 302, 308, 400, 401, 403, 404, 410], NoticeAnswer::Refused),
        (&[408, 429, 500, 502, 503, 504], NoticeAnswer::Failed(None)),
    ] {
        for status in statuses {
            assert_eq!(judged(*status), answer, "{status}");
        }
    }
}

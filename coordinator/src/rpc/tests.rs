//! A whole coordinator over real sockets, with an unusual Discord and hostile peers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use altergolden_proto::v1::{
    self, coordinator_client::CoordinatorClient, fleet_client::FleetClient, start_plan_request::Plan,
};
use clap::Parser as _;
use event_bus::MemoryBus;
use fleet_store::FleetMemoryStore;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming, transport::Channel};

use crate::{
    Coordinator, CoordinatorArgs, CoordinatorParts,
    dial_back::fake_worker::FakeWorker,
    discord::odd::{OddDiscord, answer, json, response},
};

const TOKEN: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OQ.Gsecre.tTOKENmarker0123456789abcdefghijklmnopq";
const LONG: Duration = Duration::from_secs(20);
/// How often a worker reports: a fifth of its lease.
const BEAT: Duration = Duration::from_millis(200);

struct Rig {
    discord: OddDiscord,
    workers: CoordinatorClient<Channel>,
    operators: FleetClient<Channel>,
    health: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn good() -> Vec<u8> {
    json(&answer("4", ["1000", "999", "86400000", "1"]))
}

impl Rig {
    async fn start(first_answer: Vec<u8>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let discord = OddDiscord::start(vec![first_answer]).await;
        let api = format!("--discord-api-url=http://{}", discord.address);
        let args = [
            "coordinator",
            "--coordinator-listen=127.0.0.1:0",
            "--manager-health-port=0",
            "--shard-count=4",
            "--settle=100ms",
            "--lease-ttl=1s",
            &api,
        ];
        let config = CoordinatorArgs::try_parse_from(args)
            .unwrap()
            .into_config(Some(process::settings::Secret::new(TOKEN)))
            .unwrap();
        let parts = CoordinatorParts {
            store: Arc::new(FleetMemoryStore::new()),
            set_aside: Arc::new(checkpoint::CheckpointMemoryStore::new()),
            bus: Arc::new(MemoryBus::new()),
            relay: None,
        };
        let coordinator = Coordinator::bind(config, parts).await.unwrap();
        let (url, health) = (format!("http://{}", coordinator.address()), coordinator.health_address());
        let stop = CancellationToken::new();
        let running = coordinator.run(stop.clone());
        tokio::spawn(async move { running.await.unwrap() });
        let workers = CoordinatorClient::connect(url.clone()).await.unwrap();
        let operators = FleetClient::connect(url).await.unwrap();
        Self { discord, workers, operators, health, stop }
    }

    /// Waits for a status that satisfies `is`.
    async fn until(&mut self, what: &str, is: impl Fn(&v1::FleetStatus) -> bool) -> v1::FleetStatus {
        let mut watch = self.operators.watch(v1::WatchRequest {}).await.unwrap().into_inner();
        let mut last = None;
        let found = timeout(LONG, async {
            while let Some(status) = watch.message().await.unwrap() {
                if is(&status) {
                    return status;
                }
                last = Some(status);
            }
            panic!("the stream ended");
        });
        found.await.unwrap_or_else(|_| panic!("no status with {what}; the last: {last:?}"))
    }

    async fn until_acting(&mut self) {
        self.until("an acting coordinator", |status| status.acting).await;
    }

    async fn until_problem(&mut self, code: &str) -> v1::Problem {
        let is = |problem: &v1::Problem| problem.code == code;
        let status = self.until(code, |status| status.problem_details.iter().any(is)).await;
        status.problem_details.into_iter().find(is).unwrap()
    }

    /// Registers this worker with a double at its address and opens its heartbeat stream.
    async fn join(&mut self, worker: &str) -> Heartbeat {
        let registration = registration(worker, FakeWorker::start(worker, "1").await);
        self.workers.register(registration).await.unwrap();
        let ((reports, mut changed), (sender, receiver)) = (mpsc::channel(16), mpsc::channel(16));
        let worker_id = worker.to_owned();
        tokio::spawn(async move {
            let mut shards: Vec<v1::ShardReport> = Vec::new();
            let mut beat = tokio::time::interval(BEAT);
            for sequence in 1.. {
                let incarnation = "1".to_owned();
                let (worker_id, shards_now) = (worker_id.clone(), shards.clone());
                let report = v1::WorkerReport {
                    worker_id,
                    incarnation,
                    sequence,
                    shards: shards_now,
                    ..Default::default()
                };
                if sender.send(report).await.is_err() {
                    return;
                }
                tokio::select! {
                    changed = changed.recv() => match changed {
                        Some(changed) => shards = changed,
                        None => return,
                    },
                    _ = beat.tick() => {}
                }
            }
        });
        let directives = self.workers.heartbeat(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Heartbeat { reports, directives }
    }
}

/// A worker's stream: resends the last report with each beat.
struct Heartbeat {
    reports: mpsc::Sender<Vec<v1::ShardReport>>,
    directives: Streaming<v1::Directive>,
}

impl Heartbeat {
    async fn report(&self, shards: Vec<v1::ShardReport>) {
        self.reports.send(shards).await.unwrap();
    }

    /// The shards that it is assigned.
    async fn assigned(&mut self) -> Vec<v1::ShardRange> {
        loop {
            let message =
                timeout(LONG, self.directives.message()).await.expect("an assignment").unwrap().unwrap();
            if let Some(v1::directive::Directive::Assignment(assignment)) = message.directive
                && !assignment.shards.is_empty()
            {
                return assignment.shards;
            }
        }
    }
}

fn registration(worker: &str, address: SocketAddr) -> v1::RegisterRequest {
    v1::RegisterRequest {
        worker_id: worker.to_owned(),
        incarnation: "1".to_owned(),
        advertise_url: format!("http://{address}"),
        protocol_min: 1,
        protocol_max: 1,
        ..Default::default()
    }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn coordinator_that_waits_for_discord_says_so() {
    let blocked = response("429 x", "content-type: text/html\r\nretry-after: 20\r\n", "error code: 1015");
    let mut rig = Rig::start(blocked).await;
    let problem = rig.until_problem("discord_unreachable").await;
    assert!(problem.message.contains("status 429 (text/html): Cloudflare error 1015"), "{problem:?}");
    assert!(problem.since_unix_ms.is_some());
    let health = get(rig.health, "/health").await;
    assert!(health.contains(r#""code":"discord_unreachable""#), "{health}");
    let drain = v1::DrainWorker { worker_id: "x".to_owned() };
    let plan = v1::StartPlanRequest { plan: Some(Plan::Drain(drain)), dry_run: false };
    let refused = rig.operators.start_plan(plan).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("429") && !refused.message().contains("the store"), "{refused}");
    let address = FakeWorker::start("w", "1").await;
    let refused = rig.workers.register(registration("w", address)).await.unwrap_err();
    assert!(refused.message().contains("does not act") && refused.message().contains("429"), "{refused}");
    assert_eq!(rig.discord.requests(), 1, "no request before Retry-After");
}

#[tokio::test]
async fn coordinator_acts_as_soon_as_discord_answers() {
    let mut rig = Rig::start(response("502 x", "content-type: text/html\r\n", "<html>")).await;
    rig.until_problem("discord_unreachable").await;
    rig.discord.answer(good());
    let status = rig.until("an acting coordinator", |status| status.acting).await;
    assert!(status.problem_details.iter().all(|problem| problem.code != "discord_unreachable"));
}

#[tokio::test]
async fn impossible_registrations_are_refused() {
    type Change = Box<dyn Fn(&mut v1::RegisterRequest) + Send + Sync>;
    let mut rig = Rig::start(good()).await;
    rig.until_acting().await;
    let address = FakeWorker::start("w", "1").await;
    let running = |first, last, epoch, total| -> Change {
        Box::new(move |request: &mut v1::RegisterRequest| {
            request.running = vec![v1::ShardRange { first, last, epoch }];
            request.running_total = total;
        })
    };
    let url =
        |url: &'static str| -> Change { Box::new(move |request| request.advertise_url = url.to_owned()) };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let rows: Vec<(Change, Code, &str)> = vec![
        (running(0, 3, u64::MAX, 4), Code::InvalidArgument, "ahead of the clocks of this coordinator"),
        (
            running(0, 3, now + 2 * 24 * 3600 * 1000, 4),
            Code::InvalidArgument,
            "ahead of the clocks of this coordinator",
        ),
        (running(0, 3, now, 65_536), Code::FailedPrecondition, "65536 shards"),
        (running(0, 3, now, 17), Code::FailedPrecondition, "17 shards"),
        (running(0, 3, now, 3), Code::InvalidArgument, "running_total"),
        (running(0, u32::MAX, 1, 4), Code::InvalidArgument, "no range"),
        (running(3, 1, 1, 4), Code::InvalidArgument, "3 to 1"),
        (Box::new(|r| r.version = "9".repeat(3_900_000)), Code::InvalidArgument, "version has 3900000 bytes"),
        (
            Box::new(|r| r.worker_id = "x".repeat(1_000_000)),
            Code::InvalidArgument,
            "worker_id has 1000000 bytes",
        ),
        (Box::new(|r| r.worker_id = "a\u{1b}[2J".to_owned()), Code::InvalidArgument, "\\u{1b}"),
        (Box::new(|r| r.generation = "../..".to_owned()), Code::InvalidArgument, "../.."),
        (url("http://user:pw@127.0.0.1:1"), Code::InvalidArgument, "HOST:PORT"),
        (url("http://2130706433:80"), Code::InvalidArgument, "HOST:PORT"),
        (url("http://0:80"), Code::InvalidArgument, "HOST:PORT"),
        (url("http://127.0.0.1:1/?x=1"), Code::InvalidArgument, "HOST:PORT"),
        (url("http://127.0.0.1"), Code::InvalidArgument, "HOST:PORT"),
        (url("http://127.0.0.1:1"), Code::FailedPrecondition, "does not lead to this worker"),
    ];
    for (change, code, says) in rows {
        let mut request = registration("w", address);
        change(&mut request);
        let refused = rig.workers.register(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(says) && refused.message().len() < 600, "{says}: {refused}");
    }
    let metrics = get(rig.health, "/metrics").await;
    for line in
        [r#"fleet_claims_refused_total{claim="epoch"} 2"#, r#"fleet_claims_refused_total{claim="total"} 2"#]
    {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    let list = |worker_id: String| v1::ListShardsRequest { worker_id, ..Default::default() };
    let refused = rig.operators.list_shards(list("x".repeat(1_000_000))).await.unwrap_err();
    assert!(refused.code() == Code::InvalidArgument && refused.message().len() < 200, "{refused}");
    let paged = v1::ListShardsRequest { page_token: "x".to_owned(), ..Default::default() };
    let refused = rig.operators.list_shards(paged).await.unwrap_err();
    assert!(refused.code() == Code::InvalidArgument && refused.message().contains("page_token"), "{refused}");
    let refused = rig.operators.list_shards(list("absent".to_owned())).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    // Refused registrations leave nothing behind.
    rig.workers.register(registration("w", address)).await.unwrap();
}

#[tokio::test]
async fn exit_report_about_a_live_worker_is_ignored() {
    let mut rig = Rig::start(good()).await;
    rig.until_acting().await;
    let mut alive = rig.join("w").await;
    alive.assigned().await;
    // The store is trusted after a TTL of answers.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    for n in 0..20 {
        let (worker_id, incarnation) = ("w".to_owned(), if n % 2 == 0 { "" } else { "1" }.to_owned());
        let notice = v1::ReportExitRequest { worker_id, incarnation, reason: "x\u{1b}[2J".repeat(100) };
        let refused = rig.workers.report_exit(notice).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("still answers"), "{refused}");
    }
    let workers =
        rig.operators.list_workers(v1::ListWorkersRequest::default()).await.unwrap().into_inner().workers;
    assert_eq!((workers.len(), workers[0].incarnation.as_str()), (1, "1"));
    let status = rig.until("any status", |_| true).await;
    assert!(status.problem_details.iter().all(|problem| !problem.code.contains("held_back")), "{status:?}");
}

fn refused_shard(shard_id: u32, epoch: u64) -> v1::ShardReport {
    let status = v1::ShardStatus::Failed.into();
    v1::ShardReport { shard_id, epoch, status, close_code: Some(4004), ..Default::default() }
}

#[tokio::test]
async fn close_code_counts_only_from_the_owner_and_epoch() {
    let mut rig = Rig::start(good()).await;
    rig.until_acting().await;
    let mut worker = rig.join("w").await;
    let own = worker.assigned().await[0];
    let asked = rig.discord.requests();
    for report in
        [refused_shard(65_000, own.epoch), refused_shard(own.first, own.epoch + 1), refused_shard(4, 1)]
    {
        worker.report(vec![report]).await;
    }
    // The next acknowledgement means that these were read.
    let ready =
        v1::ShardReport { status: v1::ShardStatus::Ready.into(), ..refused_shard(own.first, own.epoch) };
    worker.report(vec![v1::ShardReport { close_code: None, ..ready }]).await;
    let status = rig.until("a ready shard", |status| {
        status.shards.iter().any(|shard| shard.status == i32::from(v1::ShardStatus::Ready))
    });
    let status = status.await;
    assert!(status.problem_details.iter().all(|problem| problem.code != "identify_halted"), "{status:?}");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(rig.discord.requests(), asked, "no request to Discord");
}

#[tokio::test]
async fn only_the_worker_with_a_stale_token_is_excluded() {
    let mut rig = Rig::start(good()).await;
    rig.until_acting().await;
    let mut worker = rig.join("w").await;
    let own = worker.assigned().await[0];
    worker.report(vec![refused_shard(own.first, own.epoch)]).await;
    let problem = rig.until_problem("worker_token_refused").await;
    assert!(problem.message.contains("worker w"), "{problem:?}");
    let status = rig.until("any status", |_| true).await;
    assert!(status.problem_details.iter().all(|problem| problem.code != "identify_halted"), "{status:?}");
}

#[tokio::test]
async fn token_refused_everywhere_halts_all_identifies() {
    let mut rig = Rig::start(good()).await;
    rig.until_acting().await;
    let mut worker = rig.join("w").await;
    let own = worker.assigned().await[0];
    rig.discord.answer(response("401 x", "", ""));
    worker.report(vec![refused_shard(own.first, own.epoch)]).await;
    rig.until_problem("identify_halted").await;
    rig.until_problem("token_refused").await;
}

#[tokio::test]
async fn token_that_discord_sends_back_is_not_shown() {
    let echo = format!(r#"{{"message":"bad header Authorization: Bot {TOKEN}","code":0}}"#);
    let mut rig = Rig::start(response("400 x", "content-type: application/json\r\n", &echo)).await;
    let problem = rig.until_problem("discord_unreachable").await;
    assert!(problem.message.contains("bad header Authorization: Bot [secret]"), "{problem:?}");
    let mut socket = TcpStream::connect(rig.health).await.unwrap();
    socket.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut health = String::new();
    socket.read_to_string(&mut health).await.unwrap();
    assert!(health.contains("discord_unreachable") && !health.contains("TOKENmarker"), "{health}");
}

//! The real driver over an in-memory store on a paused clock, or over a real Redis.

use fleet_model::{
    ClaimedShards, Epoch, Generation, IdentifyAnswer, IdentifyMessage, Problem, ProblemCode, RoutingUpdates,
    SessionNeeds, ShardKey, ShardSlot, WorkerProfile, WorkerReport,
};
use fleet_store::{FleetMemoryStore, FleetRedisStore, OwnerRecord, TermClaim};
use redis_fixture::RedisServer;
use redis_link::{LinkOptions, RedisLink};

use super::{
    identifies::BudgetRequests,
    publishing::{describe_queue, progress_line},
    *,
};
use crate::{
    handle::{self, FleetHandle, HandleError, OpenedStream},
    snapshot::{self, IdentifyView, PublishedSnapshot, Snapshot},
};
use fleet::{ExitRefused, FleetRules, Recovered, Registration, WantedTotal};

mod late;

const SHARDS: u32 = 2;

fn shell(store: Arc<dyn FleetStore>, lease_ttl: Duration) -> Shell {
    published_shell(store, lease_ttl).0
}

fn published_shell(store: Arc<dyn FleetStore>, lease_ttl: Duration) -> (Shell, PublishedSnapshot) {
    let (publisher, published) = snapshot::channel();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (clock, metrics) = (Clock::start(), CoordinatorMetrics::default());
    let history = History::new(store.clone(), "first".parse().unwrap(), clock.clone(), metrics.clone());
    let shell = Shell {
        credentials: Credentials::none(),
        store,
        discord: Arc::new(Discord::new(&"token".parse().unwrap(), None, None).unwrap()),
        publisher,
        metrics,
        holder: "first".parse().unwrap(),
        lease_ttl,
        reserve: fleet_model::Percent(5),
        identify_interval: Duration::from_secs(5),
        shard_count: ShardCount::Fixed(SHARDS),
        shard_buffer: fleet_model::Percent(0),
        next_stream: AtomicU64::new(1),
        clock,
        history,
        reported: Once::new(),
        health: None,
    };
    (shell, published)
}

async fn hold(shell: &Shell) -> HeldTerm {
    let claimed_at = shell.now().mono;
    match shell.store.claim_term(&shell.holder, Term(1), shell.lease_ttl).await.unwrap() {
        TermClaim::Acting(term) => HeldTerm::hold(shell, term, claimed_at),
        held @ TermClaim::HeldBy { .. } => panic!("another coordinator holds the term: {held:?}"),
    }
}

async fn driver(shell: &Shell, held_term: HeldTerm) -> (Driver<'_>, mpsc::Receiver<DriverOutcome>) {
    let rules = FleetRules {
        lease_ttl: shell.lease_ttl,
        settle: Duration::ZERO,
        moves_at_once: 1,
        identifies_at_once: 1,
        decided_per_ms: 250,
    };
    let fleet =
        Fleet::new(rules, held_term.term(), WantedTotal::explicit(SHARDS), Recovered::default(), shell.now());
    let day = Duration::from_hours(24);
    let budget = IdentifyBudget { total: 1_000, remaining: 1_000, reserve: 50, resets_at: day };
    let identify = IdentifyQueue::new(1, shell.identify_interval, budget, Duration::ZERO);
    let store_identity = shell.store.identity().await.unwrap();
    let (gateway_url, had_predecessor) = (String::new(), false);
    Driver::new(
        shell,
        DriverParts { held_term, fleet, identify, gateway_url, had_predecessor, store_identity },
    )
}

/// Runs a driver for as long as `test` runs.
async fn while_acting(
    driver: (Driver<'_>, mpsc::Receiver<DriverOutcome>),
    test: impl AsyncFnOnce(FleetHandle),
) {
    let (driver, outcomes) = driver;
    let (fleet, mut commands) = handle::channel();
    let stop = CancellationToken::new();
    let tested = async {
        test(fleet).await;
        stop.cancel();
    };
    let (end, ()) = tokio::join!(driver.act(outcomes, &mut commands, &stop), tested);
    assert_eq!(end, TermEnd::Stopping);
}

fn registration() -> Registration {
    Registration {
        worker: "w".parse().unwrap(),
        incarnation: "1".parse().unwrap(),
        profile: WorkerProfile {
            url: "http://w".to_owned(),
            generation: Some(Generation::default()),
            needs: Some(SessionNeeds::default()),
            ..WorkerProfile::default()
        },
        running: ClaimedShards::default(),
        draining: false,
        found_at: None,
        granted: true,
    }
}

/// A worker's side of its stream.
struct Worker {
    fleet: FleetHandle,
    stream: OpenedStream<Directive>,
    sequence: u64,
}

impl Worker {
    async fn join(fleet: FleetHandle) -> Self {
        let Registration { worker, incarnation, .. } = registration();
        fleet.join(registration()).await.unwrap();
        let stream = fleet.open_heartbeat(worker, incarnation, None).await.unwrap();
        Self { fleet, stream, sequence: 0 }
    }

    /// Sends a report and returns whether it was acknowledged.
    async fn is_acknowledged(&mut self) -> bool {
        self.sequence += 1;
        assert!(self.fleet.report(self.stream.stream, self.sequence, WorkerReport::default()).await);
        // Commands are handled in order: after this answer the report was read.
        let stranger = ("unregistered".parse().unwrap(), "1".parse().unwrap());
        assert!(self.fleet.open_identify(stranger.0, stranger.1).await.is_err());
        let mut acknowledged = false;
        while let Ok(message) = self.stream.messages.try_recv() {
            if let Directive::LeaseRenewed { report_sequence, .. } = message {
                acknowledged |= report_sequence == self.sequence;
            }
        }
        acknowledged
    }
}

/// Sends commands as fast as the driver takes them.
async fn flood(fleet: FleetHandle) {
    loop {
        let (shard, epoch) = (ShardSlot(0), Epoch(0));
        let request = IdentifyMessage::Request { ticket: 0, shard, epoch, traceparent: String::new() };
        fleet.permit_message(0, request).await;
    }
}

#[tokio::test(start_paused = true)]
async fn flood_of_commands_does_not_cost_the_term() {
    let ttl = Duration::from_secs(5);
    let store: Arc<dyn FleetStore> = Arc::new(FleetMemoryStore::new());
    let shell = shell(store.clone(), ttl);
    let driver = driver(&shell, hold(&shell).await).await;
    while_acting(driver, async |fleet| {
        let floods: Vec<_> = (0..4).map(|_| tokio::spawn(flood(fleet.clone()))).collect();
        for _ in 0..100 {
            tokio::time::advance(Duration::from_millis(200)).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let claim = store.claim_term(&"second".parse().unwrap(), Term(1), ttl).await.unwrap();
            assert!(matches!(claim, TermClaim::HeldBy { .. }), "the term lapsed under a flood: {claim:?}");
        }
        floods.iter().for_each(tokio::task::JoinHandle::abort);
    })
    .await;
}

#[tokio::test]
async fn only_the_newest_waiting_report_is_kept() {
    let (fleet, mut commands) = handle::channel();
    for sequence in 1..=10_000 {
        let report = WorkerReport { rss_bytes: sequence, ..WorkerReport::default() };
        assert!(fleet.report(7, sequence, report).await, "a report never waits for room");
    }
    fleet.heartbeat_ended(7).await;
    let Some(DriverCommand::Report(waiting)) = commands.recv().await else { panic!("no report") };
    let (sequence, report) = waiting.take().unwrap();
    assert_eq!((sequence, report.rss_bytes), (10_000, 10_000));
    assert!(matches!(commands.recv().await, Some(DriverCommand::HeartbeatEnded { stream: 7, .. })));
    assert!(fleet.report(7, 1, WorkerReport::default()).await);
    assert!(matches!(commands.recv().await, Some(DriverCommand::Report(_))), "the next one waits again");
}

#[tokio::test(start_paused = true)]
async fn record_of_a_higher_term_ends_the_term() {
    let store = Arc::new(FleetMemoryStore::new());
    let strange = OwnerRecord {
        shard: ShardKey::new(0, 1),
        worker: "x".parse().unwrap(),
        incarnation: "1".parse().unwrap(),
        epoch: Epoch(1),
    };
    store.assign(Term(u64::MAX), &[strange]).await.unwrap();
    let shell = shell(store, Duration::from_secs(5));
    let (driver, outcomes) = driver(&shell, hold(&shell).await).await;
    let (fleet, mut commands) = handle::channel();
    let stop = CancellationToken::new();
    let acting = driver.act(outcomes, &mut commands, &stop);
    let with_a_worker = async {
        let _worker = Worker::join(fleet).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        end = acting => assert_eq!(end, TermEnd::Outranked),
        () = with_a_worker => unreachable!(),
    }
}

/// Runs `test` with a driver whose Redis has stopped answering, beside a standby or alone.
async fn cut_off(beside_a_standby: bool, test: impl AsyncFnOnce(&RedisServer, Worker, Duration)) {
    let ttl = Duration::from_secs(1);
    let server = RedisServer::start().await;
    let link = RedisLink::new(server.url().parse().unwrap(), LinkOptions::default());
    let store: Arc<dyn FleetStore> = Arc::new(FleetRedisStore::new(link, "test".parse().unwrap()));
    let shell = shell(store.clone(), ttl);
    let held_term = hold(&shell).await;
    if beside_a_standby {
        store.claim_term(&"second".parse().unwrap(), Term(1), ttl).await.unwrap();
        while !held_term.doubt().1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let driver = driver(&shell, held_term).await;
    while_acting(driver, async |fleet| {
        let mut worker = Worker::join(fleet).await;
        while !worker.is_acknowledged().await {}
        server.pause();
        test(&server, worker, ttl).await;
    })
    .await;
}

#[tokio::test]
async fn unconfirmed_term_beside_a_standby_acknowledges_nothing() {
    cut_off(true, async |server, mut worker, ttl| {
        let paused = Instant::now();
        let mut refused = 0;
        while refused < 20 {
            let asked = paused.elapsed();
            let acknowledged = worker.is_acknowledged().await;
            assert!(!acknowledged || asked < ttl, "acknowledged {asked:?} after the last confirmation");
            refused += u32::from(!acknowledged);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let joined = worker.fleet.join(registration()).await;
        assert!(
            matches!(joined, Err(HandleError::Standby { .. })),
            "a registration renews a lease as well: {joined:?}"
        );
        server.resume();
        while !worker.is_acknowledged().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn unconfirmed_term_without_a_standby_still_acknowledges() {
    cut_off(false, async |server, mut worker, ttl| {
        let (paused, mut last) = (Instant::now(), Instant::now());
        while paused.elapsed() < 3 * ttl {
            let sent = Instant::now();
            if worker.is_acknowledged().await {
                last = sent;
            }
            assert!(last.elapsed() < ttl * 4 / 5, "the worker's window has closed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.resume();
    })
    .await;
}

#[test]
fn short_budget_is_asked_for_before_it_resets() {
    let mut asking = BudgetRequests::default();
    let mut is_due = |short, second| asking.take_due_while_short(short, Duration::from_secs(second));
    let asked: Vec<u64> = (0..1_000).filter(|second| is_due(true, *second)).collect();
    assert_eq!(asked, [60, 360, 660, 960]);
    assert!(!is_due(false, 2_000));
    assert!(!is_due(true, 2_001) && !is_due(true, 2_060) && is_due(true, 2_061), "it became short again");
}

#[test]
fn queue_names_its_end_only_while_permits_are_granted() {
    let identify = |waiting| IdentifyView { waiting, max_concurrency: 4, ..Snapshot::empty().identify };
    for (waiting, held_back, code, says) in [
        (12, None, ProblemCode::ShardQueued, "12 requests long: the last turn is in about 15 s"),
        (12, Some("it is late"), ProblemCode::ShardQueued, "long: no permit is granted while it is late"),
        (0, None, ProblemCode::ShardNotReady, "its request to IDENTIFY has not arrived"),
    ] {
        let mut problems = vec![Problem::of_shard(ProblemCode::ShardQueued, ShardSlot(0), "queued")];
        let identify = identify(waiting);
        describe_queue(&mut problems, &identify, identify.wait_of_last(Duration::from_secs(5)), held_back);
        assert!(problems[0].code == code && problems[0].message.ends_with(says), "{problems:?}");
    }
}

/// Waits until a driver over `server` names this problem in these words.
#[test]
fn progress_of_the_identify_queue_is_a_line_each_ten_seconds_while_permits_are_granted() {
    let mut progress = IdentifyProgress::default();
    let seconds = |seconds| Duration::from_secs(seconds);
    let due: Vec<u64> = (0..60).filter(|&at| progress.take_due(at < 35, seconds(at))).collect();
    assert_eq!(due, [10, 20, 30]);
    assert!(!progress.is_shown(), "the queue is empty");
    assert!(!progress.take_due(true, seconds(60)), "the queue has just begun to fill again");
    assert!(!progress.take_due(true, seconds(69)) && !progress.is_shown());
    assert!(progress.take_due(true, seconds(70)) && progress.is_shown());
    let line = progress_line(12, 64, seconds(230));
    assert_eq!(line, "identifying: 12 of 64 shards ready, about 4 min left");
    assert!(progress_line(60, 64, seconds(20)).ends_with("about 20 s left"));
}

async fn named(server: &RedisServer, breaks: &[&[&str]], code: ProblemCode, words: &str) {
    let link = RedisLink::new(server.url().parse().unwrap(), LinkOptions::default());
    let store: Arc<dyn FleetStore> = Arc::new(FleetRedisStore::new(link, "test".parse().unwrap()));
    let (shell, mut published) = published_shell(store, Duration::from_secs(1));
    let held_term = hold(&shell).await;
    while_acting(driver(&shell, held_term).await, async |_| {
        for command in breaks {
            server.command::<()>(command).await;
        }
        let shows = |snapshot: &Arc<Snapshot>| {
            let mut problems = snapshot.fleet.problems.iter();
            problems.any(|problem| problem.code == code && problem.message.contains(words))
        };
        let named =
            tokio::time::timeout(Duration::from_secs(15), published.snapshot.wait_for(shows)).await.is_ok();
        assert!(named, "{breaks:?}: {:?}", published.snapshot.borrow().fleet.problems);
    })
    .await;
}

#[tokio::test]
async fn store_that_breaks_under_a_running_fleet_is_named() {
    use ProblemCode::{StoreAway, StoreRecordInvalid, TermUnconfirmed};
    const MAX: &str = "18446744073709551615";
    type Row = (&'static [&'static [&'static str]], ProblemCode, &'static str);
    let rows: &[Row] = &[
        (&[&["SET", "{test}:term", "x"]], StoreRecordInvalid, "{test}:term"),
        (&[&["SET", "{test}:term", "x"]], TermUnconfirmed, "{test}:term"),
        (&[&["HSET", "{test}:term", "term", MAX]], StoreRecordInvalid, "{test}:term"),
        (&[&["SET", "{test}:fleet", "x"]], StoreRecordInvalid, "{test}:fleet"),
        (&[&["SET", "{test}:workers", "x"]], StoreRecordInvalid, "{test}:workers"),
        (
            &[&["SET", "{test:worker:w}", "x"], &["SADD", "{test}:workers", "w"]],
            StoreRecordInvalid,
            "{test:worker:w}",
        ),
        (&[&["CONFIG", "SET", "maxmemory", "1"]], TermUnconfirmed, "OOM"),
        (&[&["CONFIG", "SET", "maxmemory", "1"]], StoreAway, ""),
        (&[&["REPLICAOF", "127.0.0.1", "1"]], TermUnconfirmed, ""),
    ];
    let all = rows.iter().map(async |(breaks, code, words)| {
        let server = RedisServer::start().await;
        named(&server, breaks, *code, words).await;
    });
    futures_util::future::join_all(all).await;
}

/// A worker whose port accepts connections and answers nothing: it is stopped for a moment, or its port is full.
#[tokio::test]
async fn exit_report_of_an_unreachable_worker_counts_only_when_it_is_cut_off_or_silent() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ttl = Duration::from_secs(1);
    let shell = shell(Arc::new(FleetMemoryStore::new()), ttl);
    let held_term = hold(&shell).await;
    while_acting(driver(&shell, held_term).await, async |fleet| {
        let found_at = Some(silent.local_addr().unwrap());
        let Registration { worker, incarnation, .. } = registration();
        fleet.join(Registration { found_at, ..registration() }).await.unwrap();
        let stream = fleet.open_heartbeat(worker.clone(), incarnation.clone(), None).await.unwrap();
        let beats = async {
            loop {
                fleet.report(stream.stream, 1, WorkerReport::default()).await;
                tokio::time::sleep(ttl / 5).await;
            }
        };
        let exit = async || loop {
            match fleet.exited(worker.clone(), None, "signal 9".to_owned()).await {
                // The store is trusted a TTL after the start.
                Err(HandleError::Exit(ExitRefused::StoreUntrusted { .. })) => tokio::task::yield_now().await,
                answer => return answer,
            }
        };
        let refused = tokio::select! {
            () = beats => unreachable!(),
            answer = exit() => answer,
        };
        assert!(matches!(refused, Err(HandleError::Exit(ExitRefused::StillHeard { .. }))), "{refused:?}");
        fleet.heartbeat_ended(stream.stream).await;
        assert_eq!(exit().await.unwrap(), incarnation);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn worker_gets_the_routing_table_in_the_form_that_it_takes() {
    /// Sends a report and returns the directives about routes that have come then.
    async fn routes(worker: &mut Worker, routing: RoutingUpdates) -> Vec<Directive> {
        let report = WorkerReport { routing, ..WorkerReport::default() };
        worker.sequence += 1;
        assert!(worker.fleet.report(worker.stream.stream, worker.sequence, report).await);
        // Commands are handled in order: after this answer the report was read.
        let stranger = ("unregistered".parse().unwrap(), "1".parse().unwrap());
        assert!(worker.fleet.open_identify(stranger.0, stranger.1).await.is_err());
        let came = std::iter::from_fn(|| worker.stream.messages.try_recv().ok());
        came.filter(|message| matches!(message, Directive::RoutingTable(_) | Directive::RoutingUpdate(_)))
            .collect()
    }
    let is_whole = |directive: &Directive| matches!(directive, Directive::RoutingUpdate(update) if update.continues.is_none());
    let shell = shell(Arc::new(FleetMemoryStore::new()), Duration::from_secs(5));
    let held_term = hold(&shell).await;
    while_acting(driver(&shell, held_term).await, async |fleet| {
        let mut worker = Worker::join(fleet.clone()).await;
        let first = routes(&mut worker, RoutingUpdates::Changes).await;
        assert!(first.first().is_some_and(is_whole), "a new stream gets all of it: {first:?}");
        let missed = routes(&mut worker, RoutingUpdates::Missed).await;
        assert!(missed.iter().any(is_whole), "{missed:?}");
        let again = routes(&mut worker, RoutingUpdates::Changes).await;
        assert!(!again.iter().any(is_whole), "{again:?}");
        let Registration { worker: name, incarnation, .. } = registration();
        worker.stream = fleet.open_heartbeat(name, incarnation, None).await.unwrap();
        let older = routes(&mut worker, RoutingUpdates::Whole).await;
        assert!(matches!(older.first(), Some(Directive::RoutingTable(_))), "{older:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn newer_identify_stream_of_a_worker_ends_the_older_one() {
    let shell = shell(Arc::new(FleetMemoryStore::new()), Duration::from_secs(5));
    let held_term = hold(&shell).await;
    while_acting(driver(&shell, held_term).await, async |fleet| {
        let mut worker = Worker::join(fleet.clone()).await;
        let epoch = loop {
            let directive = worker.stream.messages.recv().await.unwrap();
            if let Directive::Assignment(set) = directive
                && let Some(&epoch) = set.shards.values().next()
            {
                break epoch;
            }
        };
        let open = async || {
            let Registration { worker, incarnation, .. } = registration();
            fleet.open_identify(worker, incarnation).await.unwrap()
        };
        let ask = async |stream: u64, shard| {
            let (ticket, shard) = (1 + u64::from(shard), ShardSlot(shard));
            let request = IdentifyMessage::Request { ticket, shard, epoch, traceparent: String::new() };
            fleet.permit_message(stream, request).await;
        };
        let mut older = open().await;
        ask(older.stream, 0).await;
        ask(older.stream, 1).await;
        let newer = open().await;
        ask(newer.stream, 1).await;
        fleet.identify_ended(newer.stream).await;
        let ended = async { while older.messages.recv().await.is_some() {} };
        let ended = tokio::time::timeout(Duration::from_mins(1), ended).await;
        assert!(ended.is_ok(), "the stream is open, and its request for shard 1 is gone");
        let mut again = open().await;
        ask(again.stream, 1).await;
        let answer = tokio::time::timeout(Duration::from_mins(1), again.messages.recv()).await.unwrap();
        assert!(matches!(answer.unwrap(), IdentifyAnswer::Granted { .. }));
    })
    .await;
}

//! A coordinator that floods its workers, and one that leaves out an update.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use altergolden_proto::{
    PROTOCOL_MAX,
    v1::{
        self,
        coordinator_server::{Coordinator, CoordinatorServer},
        directive::Directive as Kind,
    },
};
use futures_util::Stream;
use gateway_worker::{NoHandler, async_trait};
use prost::Message as _;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::bench::{Bench, Recorder, sim};

const HEARTBEAT: Duration = Duration::from_millis(100);
/// The last table of the flood has this shard total and revision.
const TABLES: u32 = 10_000;

/// Sends routing tables as fast as the worker takes them, or two updates with one missing between them.
#[derive(Clone, Default)]
struct Flooding {
    leaves_out_an_update: bool,
    /// When each report came.
    reports: Arc<Mutex<Vec<Instant>>>,
    /// How the worker took the routing table, without repeats.
    routing: Arc<Mutex<Vec<v1::RoutingUpdates>>>,
    /// When the last table was sent.
    ended: Arc<Mutex<Option<Instant>>>,
}

fn directive(kind: &str, directive: Kind) -> v1::Directive {
    v1::Directive { term: 1, kind: kind.to_owned(), directive: Some(directive) }
}

fn table(number: u32) -> v1::RoutingTable {
    let route = |worker: u32| v1::Route {
        worker_id: format!("worker-{worker}"),
        url: format!("http://127.0.0.1:{}", 20_000 + worker),
        ..v1::Route::default()
    };
    v1::RoutingTable {
        revision: number.into(),
        shard_total: number,
        routes: (0..50).map(route).collect(),
        term: 1,
    }
}

/// An update to a table with this revision and shard total.
fn update(number: u32, continues: Option<u64>) -> v1::Directive {
    let v1::RoutingTable { revision, shard_total, routes, term } = table(number);
    let update =
        v1::RoutingUpdate { term, continues, revision, shard_total, changed: routes, gone: Vec::new() };
    directive("routing_update", Kind::RoutingUpdate(update.encode_to_vec().into()))
}

#[async_trait]
impl Coordinator for Flooding {
    type HeartbeatStream = ReceiverStream<Result<v1::Directive, Status>>;
    type AcquireIdentifyStream = Pin<Box<dyn Stream<Item = Result<v1::IdentifyDown, Status>> + Send>>;

    async fn register(
        &self,
        _: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        Ok(Response::new(v1::RegisterResponse {
            term: 1,
            protocol: PROTOCOL_MAX,
            lease_ttl_ms: 5_000,
            heartbeat_interval_ms: HEARTBEAT.as_millis() as u64,
            shard_total: 1,
            gateway_url: "ws://127.0.0.1:1".to_owned(),
            ..v1::RegisterResponse::default()
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<Streaming<v1::WorkerReport>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        let mut reports = request.into_inner();
        let (directives, stream) = mpsc::channel(16);
        let (renewing, ended) = (directives.clone(), self.ended.clone());
        let leaves_out = self.leaves_out_an_update;
        tokio::spawn(async move {
            if leaves_out {
                for update in [update(1, None), update(2, Some(1)), update(4, Some(3))] {
                    let _ = directives.send(Ok(update)).await;
                }
                return;
            }
            for number in 1..=TABLES {
                let table = directive("routing_table", Kind::RoutingTable(table(number)));
                if directives.send(Ok(table)).await.is_err() {
                    return;
                }
            }
            *ended.lock().unwrap() = Some(Instant::now());
        });
        let (came, routing) = (self.reports.clone(), self.routing.clone());
        tokio::spawn(async move {
            while let Ok(Some(report)) = reports.message().await {
                came.lock().unwrap().push(Instant::now());
                let takes = report.routing();
                let is_new = {
                    let mut routing = routing.lock().unwrap();
                    let is_new = routing.last() != Some(&takes);
                    if is_new {
                        routing.push(takes);
                    }
                    is_new
                };
                if is_new && takes == v1::RoutingUpdates::Missed {
                    let _ = renewing.send(Ok(update(4, None))).await;
                }
                let renewed = v1::LeaseRenewed { report_sequence: report.sequence, ttl_ms: 5_000 };
                let renewed = directive("lease_renewed", Kind::LeaseRenewed(renewed));
                if renewing.send(Ok(renewed)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn acquire_identify(
        &self,
        _: Request<Streaming<v1::IdentifyUp>>,
    ) -> Result<Response<Self::AcquireIdentifyStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }

    async fn report_exit(
        &self,
        _: Request<v1::ReportExitRequest>,
    ) -> Result<Response<v1::ReportExitResponse>, Status> {
        Err(Status::unimplemented("no test reports an exit"))
    }
}

/// A worker of this coordinator, until it has a routing table with this many shards. Returns when that was.
async fn worker_until(coordinator: &Flooding, shards: u32) -> (Bench, Instant, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(CoordinatorServer::new(coordinator.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = AbortOnDropHandle::new(tokio::spawn(async move { server.await.unwrap() }));

    let mut bench = Bench::without_workers(sim(1), Recorder::default()).await;
    bench.coordinator = format!("http://{address}");
    let flags = ["--drain-timeout=100ms", "--discord-gateway-url=ws://127.0.0.1:1"];
    bench.worker("a", Arc::new(NoHandler), &flags).await;
    let mut bridge = bench.bridge("a").await;
    let taking = async {
        loop {
            let request = v1::GetAggregateStatsRequest { deadline_ms: Some(1_000), ..Default::default() };
            let stats = bridge.get_aggregate_stats(request).await;
            if stats.is_ok_and(|stats| stats.get_ref().shard_count == shards) {
                return Instant::now();
            }
        }
    };
    let taken = tokio::time::timeout(Duration::from_mins(1), taking).await.expect("the table is not taken");
    (bench, taken, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_missed_an_update_asks_for_the_whole_table() {
    use v1::RoutingUpdates::{Changes, Missed};
    let coordinator = Flooding { leaves_out_an_update: true, ..Flooding::default() };
    let (bench, _, _server) = worker_until(&coordinator, 4).await;
    bench.finish().await;
    let routing = coordinator.routing.lock().unwrap().clone();
    assert_eq!(routing, [Changes, Missed, Changes]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_routing_tables_delays_no_report_and_is_taken_at_once() {
    let coordinator = Flooding::default();
    let began = Instant::now();
    let (bench, taken, _server) = worker_until(&coordinator, TABLES).await;
    let ended = coordinator.ended.lock().unwrap().expect("the flood has ended");
    assert!(taken - ended < (ended - began) / 4 + Duration::from_secs(1), "tables wait in the worker");
    let reports = coordinator.reports.lock().unwrap().clone();
    let during = reports.iter().filter(|at| **at < ended).count() as u32;
    let due = (ended - reports[0]).as_millis() as u32 / HEARTBEAT.as_millis() as u32;
    assert!(during > due / 3, "{during} of {due} reports came during the flood");
    bench.finish().await;
}

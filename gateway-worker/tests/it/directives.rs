//! A coordinator that floods its workers.

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
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::bench::{Bench, Recorder, sim};

const HEARTBEAT: Duration = Duration::from_millis(100);
/// The last table of the flood has this shard total and revision.
const TABLES: u32 = 10_000;

/// Sends routing tables as fast as the worker takes them.
#[derive(Clone, Default)]
struct Flooding {
    /// When each report came.
    reports: Arc<Mutex<Vec<Instant>>>,
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
        tokio::spawn(async move {
            for number in 1..=TABLES {
                let table = directive("routing_table", Kind::RoutingTable(table(number)));
                if directives.send(Ok(table)).await.is_err() {
                    return;
                }
            }
            *ended.lock().unwrap() = Some(Instant::now());
        });
        let came = self.reports.clone();
        tokio::spawn(async move {
            while let Ok(Some(report)) = reports.message().await {
                came.lock().unwrap().push(Instant::now());
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

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_routing_tables_delays_no_report_and_is_taken_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let coordinator = Flooding::default();
    let server = Server::builder()
        .add_service(CoordinatorServer::new(coordinator.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let _server = AbortOnDropHandle::new(tokio::spawn(async move { server.await.unwrap() }));

    let mut bench = Bench::without_workers(sim(1), Recorder::default()).await;
    bench.coordinator = format!("http://{address}");
    let began = Instant::now();
    let flags = ["--drain-timeout=100ms", "--discord-gateway-url=ws://127.0.0.1:1"];
    bench.worker("a", Arc::new(NoHandler), &flags).await;
    let mut bridge = bench.bridge("a").await;
    let taking = async {
        loop {
            let request = v1::GetAggregateStatsRequest { deadline_ms: Some(1_000), ..Default::default() };
            let stats = bridge.get_aggregate_stats(request).await;
            if stats.is_ok_and(|stats| stats.get_ref().shard_count == TABLES) {
                return Instant::now();
            }
        }
    };
    let taken = tokio::time::timeout(Duration::from_mins(1), taking).await.expect("tables pile up");
    let ended = coordinator.ended.lock().unwrap().expect("the flood has ended");
    assert!(taken - ended < (ended - began) / 4 + Duration::from_secs(1), "tables wait in the worker");
    let reports = coordinator.reports.lock().unwrap().clone();
    let during = reports.iter().filter(|at| **at < ended).count() as u32;
    let due = (ended - reports[0]).as_millis() as u32 / HEARTBEAT.as_millis() as u32;
    assert!(during > due / 3, "{during} of {due} reports came during the flood");
    bench.finish().await;
}

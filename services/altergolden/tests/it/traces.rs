//! One query is one trace, across processes: what the processes export is collected here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use fleet_fixture::{Coordinator, Deployment, Worker, sim_config, until};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// One span: its service, its name.
type Span = (String, String);

/// Every span, by trace.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<BTreeMap<Vec<u8>, Vec<Span>>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut traces = self.0.lock().unwrap();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let service = attributes.into_iter().find(|attribute| attribute.key == "service.name");
            let service = match service.and_then(|attribute| attribute.value?.value) {
                Some(any_value::Value::StringValue(name)) => name,
                _ => String::new(),
            };
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                traces.entry(span.trace_id).or_default().push((service.clone(), span.name));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_one_trace_with_a_span_for_each_worker() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let serving = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .serve_with_incoming_shutdown(
            tonic::transport::server::TcpIncoming::from(listener),
            stop.clone().cancelled_owned(),
        );
    let serving = tokio::spawn(serving);

    let deployment = Deployment::start(sim_config(10)).await;
    let traced = |command: &mut std::process::Command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "200");
    };
    let mut command = deployment.coordinator_command(2);
    traced(&mut command);
    let coordinator = Coordinator::start(&mut command).await;
    let mut workers = Vec::new();
    for name in ["a", "b"] {
        let mut command = deployment.worker_command(name, &coordinator.address);
        traced(&mut command);
        workers.push(Worker::start(name, &mut command).await);
    }
    coordinator.until_balanced(&[&workers[0], &workers[1]]).await;

    until("a trace of each shard's start in two processes", async || {
        let traces = collector.0.lock().unwrap();
        let starts = traces.values().filter(|spans| {
            let has = |service: &str, name: &str| spans.contains(&(service.to_owned(), name.to_owned()));
            let steps = ["connect", "wait_for_permit", "identify", "receive_guilds"];
            has("gateway-worker", "shard.start")
                && steps.iter().all(|step| has("gateway-worker", step))
                && has("coordinator", "identify_queue.wait")
        });
        (starts.count() == 2).then_some(())
    })
    .await;

    coordinator.client().await.aggregate_stats(Duration::ZERO).await.unwrap();
    let spans = until("one trace of three processes", async || {
        let traces = collector.0.lock().unwrap();
        traces
            .values()
            .find(|spans| {
                let served = |service: &str, method: &str| {
                    spans.iter().filter(|(by, name)| by == service && name.ends_with(method)).count()
                };
                served("coordinator", "ShardBridge/GetAggregateStats") == 1
                    && served("gateway-worker", "GatewayWorker/GetShards") == 2
            })
            .cloned()
    })
    .await;
    let asked =
        spans.iter().filter(|(service, name)| service == "coordinator" && name == "ask_worker").count();
    assert_eq!(asked, 2, "{spans:?}");
    assert_eq!(
        spans.iter().filter(|(service, _)| service == "gateway-worker").count(),
        2,
        "one span a worker: {spans:?}"
    );

    bot_code_is_in_the_caller_s_trace(&collector, &workers[0]).await;
    let data = altergolden_proto::convert::from_json(1.into());
    workers[0].client().await.broadcast("x", data).await.unwrap();
    until("one trace of a broadcast in three processes", async || {
        let traces = collector.0.lock().unwrap();
        let of_all = traces.values().any(|spans| {
            let delivered = |service: &str| {
                spans.iter().filter(|(by, name)| by == service && name == "deliver_broadcast").count()
            };
            spans.iter().any(|(_, name)| name.ends_with("ShardBridge/Broadcast"))
                && delivered("gateway-worker") == 2
                && delivered("coordinator") == 1
        });
        of_all.then_some(())
    })
    .await;
    let heartbeats =
        collector.0.lock().unwrap().values().flatten().any(|(_, name)| name.contains("Heartbeat"));
    assert!(!heartbeats, "heartbeats are not traced");
    stop.cancel();
    drop((workers, coordinator));
    serving.await.unwrap().unwrap();
}

/// Asked of one worker, for a shard here and one elsewhere: each hook is in the trace of the question.
async fn bot_code_is_in_the_caller_s_trace(collector: &Collector, worker: &Worker) {
    let data = || altergolden_proto::convert::from_json(1.into());
    worker.client().await.request_shards(Vec::new(), "what?", data()).await.unwrap();
    for shard in [0, 1] {
        worker.client().await.send_to_shard(shard, "x", data()).await.unwrap();
    }
    for (rpc, hook, hooks, traces_of_them) in
        [("ShardBridge/Request", "handle_request", 2, 1), ("ShardBridge/SendToShard", "handle_message", 1, 2)]
    {
        until(hook, async || {
            let traces = collector.0.lock().unwrap();
            let whole = traces.values().filter(|spans| {
                let count = |name: &str| spans.iter().filter(|(_, span)| span.ends_with(name)).count();
                count(rpc) == 1 && count(hook) == hooks
            });
            (whole.count() == traces_of_them).then_some(())
        })
        .await;
    }
}

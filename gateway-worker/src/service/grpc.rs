//! The gRPC server of a worker.

use std::time::Duration;

use altergolden_proto::{DESCRIPTORS, v1::gateway_worker_server::GatewayWorkerServer};
use servers::{Listener, grpc_server};
use shard_bridge::Bridge;
use telemetry::grpc::TraceLayer;
use tokio_util::sync::CancellationToken;

use crate::rpc::WorkerService;

/// How long open streams may take to end when the process stops.
const STREAMS_END: Duration = Duration::from_secs(2);

/// Serves gRPC until `stop`; streams that do not end by themselves are cut after [`STREAMS_END`].
pub(super) async fn serve(
    listener: Listener,
    service: WorkerService,
    bridge: Bridge,
    deadlines: shard_bridge::Deadlines,
    stop: CancellationToken,
) -> Result<(), String> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<GatewayWorkerServer<WorkerService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made with the code");
    let server = grpc_server()
        .layer(TraceLayer)
        .add_service(GatewayWorkerServer::new(service))
        .add_service(bridge.into_service(deadlines))
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(listener.incoming(), stop.clone().cancelled_owned());
    tokio::select! {
        served = server => served.map_err(|error| error.to_string()),
        () = async { stop.cancelled().await; tokio::time::sleep(STREAMS_END).await } => Ok(()),
    }
}

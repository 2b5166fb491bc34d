//! The gRPC server.

use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Response;
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    service::Routes,
    transport::{Error, Server},
};
use tonic_health::ServingStatus;
use tower::util::MapResponseLayer;

use super::{Listener, large_buffers::FreeLargeBuffers};
use crate::{
    credentials::{AccessLayer, Credentials},
    telemetry::grpc::TraceLayer,
};

/// Concurrent calls and open streams of one connection; clients hold further ones back.
const CALLS_PER_CONNECTION: u32 = 256;
/// Time limit of a call; an open stream is not limited.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// Interval of keepalive pings, and time limit for the answer.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Calls of one connection that its client may cancel before they begin. Beyond this number the connection ends, with all its calls.
/// Clients cancel many calls while this process is frozen.
const GIVEN_UP_AT_ONCE: usize = 1_024;
/// How long open streams may take to end when the process stops.
const STREAMS_END: Duration = Duration::from_secs(2);

/// Returns a gRPC server with these limits.
pub(super) fn grpc_server() -> Server {
    Server::builder()
        .max_concurrent_streams(CALLS_PER_CONNECTION)
        .http2_max_pending_accept_reset_streams(Some(GIVEN_UP_AT_ONCE))
        .timeout(CALL_TIMEOUT)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
}

/// Serves `services` with traces, health checks and reflection until `stop`; streams that do not end by themselves are cut after
/// two seconds. The health service reports `S` as serving; `descriptors` is the encoded descriptor set of `services`. `credentials` decide which
/// calls reach a service.
///
/// # Errors
/// The server failed.
pub fn serve_grpc<S: NamedService>(
    listener: Listener,
    credentials: Credentials,
    services: Routes,
    descriptors: &'static [u8],
    stop: CancellationToken,
) -> BoxFuture<'static, Result<(), Error>> {
    serve_named(S::NAME, listener, credentials, services, descriptors, stop)
}

/// Boxed so that the server is compiled here, not in each program that polls it.
fn serve_named(
    name: &'static str,
    listener: Listener,
    credentials: Credentials,
    services: Routes,
    descriptors: &'static [u8],
    stop: CancellationToken,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(serve(name, listener, credentials, services, descriptors, stop))
}

async fn serve(
    name: &'static str,
    listener: Listener,
    credentials: Credentials,
    services: Routes,
    descriptors: &'static [u8],
    stop: CancellationToken,
) -> Result<(), Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status(name, ServingStatus::Serving).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made with the code");
    let server = grpc_server()
        .layer(TraceLayer)
        .layer(MapResponseLayer::new(|answer: Response<_>| answer.map(FreeLargeBuffers::new)))
        .layer(AccessLayer(credentials.clone()))
        .add_routes(services.add_service(health).add_service(reflection))
        .serve_with_incoming_shutdown(listener.incoming(credentials), stop.clone().cancelled_owned());
    tokio::select! {
        served = server => served,
        () = async { stop.cancelled().await; tokio::time::sleep(STREAMS_END).await } => Ok(()),
    }
}

//! What every gRPC server has.

use std::time::Duration;

use tonic::transport::Server;

/// Calls at once on one connection. Further calls wait.
const CALLS_PER_CONNECTION: usize = 256;
/// How long one call may take before it is ended; streams are not calls in this sense once they are open.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// How often a connection is pinged, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Returns a gRPC server with the limits of a call and of a connection set; the caller adds layers and services and serves
/// them on [`Listener::incoming`](crate::Listener::incoming).
pub fn grpc_server() -> Server {
    Server::builder()
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION)
        .timeout(CALL_TIMEOUT)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
}

//! The base of all gRPC servers.

use std::time::Duration;

use tonic::transport::Server;

/// Concurrent calls and open streams of one connection; clients hold further ones back.
const CALLS_PER_CONNECTION: u32 = 256;
/// Time limit of a call; an open stream is not limited.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// Interval of keepalive pings, and time limit for the answer.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Returns a gRPC server with these limits; the caller adds layers and services, and serves on
/// [`Listener::incoming`](crate::Listener::incoming).
pub fn grpc_server() -> Server {
    Server::builder()
        .max_concurrent_streams(CALLS_PER_CONNECTION)
        .timeout(CALL_TIMEOUT)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
}

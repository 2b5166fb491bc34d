//! Outgoing gRPC connections.

use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Error};
use tower::{ServiceExt as _, util::MapResponse};

use crate::coalesced::Coalesced;

/// How long the answer to a ping may take before a connection counts as broken.
const PONG_WITHIN: Duration = Duration::from_secs(3);

/// Returns an endpoint whose connections send each call at once. They notice a server that is gone within `ping_every` plus three seconds,
/// even while no call is under way.
///
/// # Errors
/// The URL is invalid.
pub fn grpc_endpoint(
    url: impl Into<String>,
    connect_within: Duration,
    ping_every: Duration,
) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(url.into())?
        .connect_timeout(connect_within)
        .http2_keep_alive_interval(ping_every)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true)
        // Late answers to canceled calls count towards this limit, which protects against misbehaving servers. Ours do not misbehave.
        .http2_max_local_error_reset_streams(None)
        // Without it, a call in several writes waits for the server's delayed ACKs, 40 ms each.
        .tcp_nodelay(true);
    Ok(endpoint)
}

/// Connects to the server.
///
/// # Errors
/// The server cannot be reached.
pub async fn connect(endpoint: &Endpoint) -> Result<Channel, Error> {
    connect_boxed(endpoint).await
}

/// Boxed so that the client is compiled here, not in each program that polls it.
fn connect_boxed(endpoint: &Endpoint) -> BoxFuture<'_, Result<Channel, Error>> {
    Box::pin(endpoint.connect_with_connector(connector(endpoint)))
}

/// Returns a channel that connects with its first call.
pub fn connect_lazy(endpoint: &Endpoint) -> Channel {
    endpoint.connect_with_connector_lazy(connector(endpoint))
}

type Wrap = fn(TokioIo<TcpStream>) -> TokioIo<Coalesced<TcpStream>>;

fn connector(endpoint: &Endpoint) -> MapResponse<HttpConnector, Wrap> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(endpoint.get_tcp_nodelay());
    tcp.set_connect_timeout(endpoint.get_connect_timeout());
    tcp.map_response(|stream| TokioIo::new(Coalesced::new(stream.into_inner())))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn calls_are_sent_without_delay() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let endpoint = grpc_endpoint(&url, Duration::from_secs(1), Duration::from_secs(2)).unwrap();
        let stream = connector(&endpoint).oneshot(url.parse().unwrap()).await.unwrap();
        assert!(stream.into_inner().stream().nodelay().unwrap());
    }
}

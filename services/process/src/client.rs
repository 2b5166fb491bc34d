//! Outgoing gRPC connections.

use std::{io, time::Duration};

use futures_util::future::BoxFuture;
use http::uri::Scheme;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Error, Uri};
use tower::{BoxError, ServiceExt as _, service_fn};

use crate::{
    coalesced::Coalesced,
    credentials::{Credentials, Role},
    server::Wire,
};

/// How long the answer to a ping may take before a connection counts as broken.
const PONG_WITHIN: Duration = Duration::from_secs(3);

/// What one answer may have unread, in bytes, if callers read slowly.
const SLOW_READER_WINDOW: u32 = 256 << 10;
/// The largest window of HTTP/2 ([RFC 9113, 6.9.1](https://www.rfc-editor.org/rfc/rfc9113#section-6.9.1)).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// A gRPC server, and how to connect to it.
#[derive(Clone, Debug)]
pub struct GrpcServer {
    endpoint: Endpoint,
    is_tls: bool,
    connect_within: Duration,
}

/// A server's URL is invalid.
#[derive(Debug, thiserror::Error)]
#[error("it takes an http:// or https:// URL with a host and a port")]
pub struct InvalidServer;

impl GrpcServer {
    /// A server at a URL. `https` means TLS with the credentials of this process. Each call is sent at once. A server that is gone is
    /// noticed within `ping_every` plus three seconds, even while no call is under way.
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn new(url: &str, connect_within: Duration, ping_every: Duration) -> Result<Self, InvalidServer> {
        let uri: Uri = url.parse().map_err(|_| InvalidServer)?;
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        if !is_tls && uri.scheme() != Some(&Scheme::HTTP) {
            return Err(InvalidServer);
        }
        // The library's own TLS has fixed certificates. The connector below makes the handshake, and requests say https.
        let mut parts = uri.clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        let plain = Uri::from_parts(parts).map_err(|_| InvalidServer)?;
        let endpoint = Endpoint::from(plain)
            .origin(uri)
            .connect_timeout(connect_within)
            .http2_keep_alive_interval(ping_every)
            .keep_alive_timeout(PONG_WITHIN)
            .keep_alive_while_idle(true)
            // Late answers to canceled calls count towards this limit, which protects against misbehaving servers. Ours do not misbehave.
            .http2_max_local_error_reset_streams(None)
            // Without it, a call in several writes waits for the server's delayed ACKs, 40 ms each.
            .tcp_nodelay(true);
        Ok(Self { endpoint, is_tls, connect_within })
    }

    /// The same server, for answers that callers read slowly: each of them keeps little unread, and none keeps the others waiting.
    #[must_use]
    pub fn with_slow_readers(mut self) -> Self {
        self.endpoint = self
            .endpoint
            .initial_stream_window_size(SLOW_READER_WINDOW)
            .initial_connection_window_size(LARGEST_WINDOW);
        self
    }

    /// The same server; requests name `origin` in place of its address.
    #[must_use]
    pub fn with_origin(mut self, origin: Uri) -> Self {
        self.endpoint = self.endpoint.origin(origin);
        self
    }

    /// Connects to the server. Under TLS it must prove that it has `role`.
    ///
    /// # Errors
    /// The server cannot be reached, or has no such certificate.
    pub async fn connect(&self, credentials: &Credentials, role: Role) -> Result<Channel, Error> {
        self.connect_boxed(credentials, role).await
    }

    /// Boxed so that the client is compiled here, not in each program that polls it.
    fn connect_boxed(&self, credentials: &Credentials, role: Role) -> BoxFuture<'_, Result<Channel, Error>> {
        let connector = self.connector(credentials.clone(), role);
        Box::pin(self.endpoint.connect_with_connector(service_fn(connector)))
    }

    /// Returns a channel that connects with its first call.
    pub fn connect_lazy(&self, credentials: &Credentials, role: Role) -> Channel {
        self.endpoint.connect_with_connector_lazy(service_fn(self.connector(credentials.clone(), role)))
    }

    fn connector(
        &self,
        credentials: Credentials,
        role: Role,
    ) -> impl Fn(Uri) -> BoxFuture<'static, Result<TokioIo<Coalesced<Wire>>, BoxError>>
    + Clone
    + Send
    + 'static
    + use<> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.connect_within));
        // While credentials are optional, the URL says what the server takes. Then every member of the fleet takes TLS.
        let is_tls = self.is_tls || credentials.is_enforced();
        let within = self.connect_within;
        move |uri| {
            let (tcp, credentials) = (tcp.clone(), credentials.clone());
            Box::pin(async move {
                let stream = tcp.oneshot(uri).await?.into_inner();
                let wire = if is_tls {
                    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long");
                    tokio::time::timeout(within, secure(stream, &credentials, role)).await.map_err(late)??
                } else {
                    Wire::Plain(stream)
                };
                Ok(TokioIo::new(Coalesced::new(wire)))
            })
        }
    }
}

/// Makes the TLS handshake, and checks the server's certificate against the access list.
async fn secure(stream: TcpStream, credentials: &Credentials, role: Role) -> io::Result<Wire> {
    let Some((config, name)) = credentials.client(role) else {
        return Err(io::Error::other("an https:// address needs credentials: set CREDENTIALS"));
    };
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    credentials.peer(chain).map_err(io::Error::other)?;
    Ok(Wire::Tls(Box::new(stream.into())))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn calls_are_sent_without_delay() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let server = GrpcServer::new(&url, Duration::from_secs(1), Duration::from_secs(2)).unwrap();
        let connector = server.connector(Credentials::none(), Role::Worker);
        let stream = connector(url.parse().unwrap()).await.unwrap();
        let Wire::Plain(stream) = stream.into_inner().into_stream() else { panic!("no TLS was asked for") };
        assert!(stream.nodelay().unwrap());
    }

    #[test]
    fn urls_that_are_no_server_are_refused() {
        for url in ["", "127.0.0.1:1", "ftp://127.0.0.1:1", "https://", "/path"] {
            assert!(GrpcServer::new(url, PONG_WITHIN, PONG_WITHIN).is_err(), "{url}");
        }
    }
}

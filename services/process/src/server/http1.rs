//! HTTP/1.1 for health and the REST proxy.

use std::{convert::Infallible, pin::pin, time::Duration};

use http_body::Body;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Accepted, Listener};
use crate::credentials::{Peer, PortSecurity, Protocol};

/// The limits of one HTTP/1.1 server.
#[derive(Clone, Copy, Debug)]
pub struct Http1 {
    /// Time limit for a request's head, and for idling between requests.
    pub head_within: Duration,
    /// The largest head, in bytes.
    pub largest_head: usize,
    /// How long requests in progress may take at shutdown.
    pub last_answers: Duration,
}

/// Serves `service` until `stop`, then lets requests in progress finish. Each request has the [`Peer`] among its extensions.
pub async fn serve_http1<S, B>(
    mut listener: Listener,
    security: PortSecurity,
    limits: Http1,
    service: S,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connections = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (security, service, stop) = (security.clone(), service.clone(), stop.clone());
        connections.spawn(serve_connection(accepted, security, limits, service, stop));
    }
    drop(listener);
    connections.close();
    if timeout(limits.last_answers, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "stopping with requests in progress");
    }
}

async fn serve_connection<S, B>(
    accepted: Accepted,
    security: PortSecurity,
    limits: Http1,
    service: S,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let address = accepted.address;
    let securing = accepted.secured(&security, Protocol::Http1);
    let connection = match stop.run_until_cancelled(securing).await {
        Some(Ok(connection)) => connection,
        Some(Err(error)) => {
            tracing::info!(peer = %address, %error, "TLS handshake failed");
            return;
        }
        None => return,
    };
    let service = WithPeer { peer: connection.peer().clone(), service };
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .max_buf_size(limits.largest_head)
        .serve_connection(TokioIo::new(connection), service);
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            timeout(limits.last_answers, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

/// Adds the peer of its connection to each request.
struct WithPeer<S> {
    peer: Peer,
    service: S,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for WithPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.service.call(request)
    }
}

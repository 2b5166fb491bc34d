//! The proxy's HTTP server: limits and shutdown.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::service::service_fn;
use process::{
    credentials::PortSecurity,
    server::{Http1, Listener, serve_http1},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Proxy;

/// Longer than clients keep idle connections: the server must not close one just as its next request comes.
const LIMITS: Http1 = Http1 {
    head_within: Duration::from_secs(30),
    largest_head: 64 * 1024,
    last_answers: Duration::from_secs(3),
};

/// Serves until `stop`, then lets requests in progress finish.
pub(super) async fn serve(
    listener: Listener,
    security: PortSecurity,
    proxy: Arc<Proxy>,
    stop: CancellationToken,
) {
    let served = proxy.clone();
    let service = service_fn(move |request| {
        let proxy = served.clone();
        async move { Ok::<_, Infallible>(proxy.answer(request).await) }
    });
    serve_http1(listener, security, LIMITS, service, stop).await;
    proxy.tasks.close();
    if timeout(LIMITS.last_answers, proxy.tasks.wait()).await.is_err() {
        tracing::warn!(requests = proxy.tasks.len(), "REST proxy stopped with requests in progress");
    }
}

//! The proxy's connections: HTTP/1.1, bounded in number, and in how long one may be idle or slow.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Proxy;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 2_048;
/// For a request's head, and between two requests of one connection.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How large a head can be.
const LARGEST_HEAD: usize = 64 * 1024;
/// How long requests that are under way may take to end when the process stops.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// Pause after an accept that failed: without file descriptors it would fail at once again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `stop`.
pub(super) async fn serve(listener: TcpListener, proxy: Arc<Proxy>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    let accepting = async {
        loop {
            // The semaphore is never closed.
            let Ok(place) = room.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (proxy, stop) = (proxy.clone(), stop.clone());
                    connections.spawn(async move {
                        connection(stream, proxy, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the REST proxy can't accept a connection");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    let _ = stop.run_until_cancelled(accepting).await;
    connections.close();
    proxy.tasks.close();
    let ended = async {
        connections.wait().await;
        proxy.tasks.wait().await;
    };
    if timeout(LAST_ANSWERS, ended).await.is_err() {
        tracing::warn!(requests = connections.len(), "the REST proxy stops with requests under way");
    }
}

async fn connection(stream: TcpStream, proxy: Arc<Proxy>, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let cut = stop.clone();
    let service = service_fn(move |request| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(proxy.answer(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            timeout(LAST_ANSWERS, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended
        && !cut.is_cancelled()
    {
        tracing::debug!(%error, "a connection to the REST proxy broke");
    }
}

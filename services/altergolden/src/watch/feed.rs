//! Follows the coordinator: its stream of statuses, and a new one whenever it ends, after growing waits.

use std::time::Duration;

use altergolden_proto::v1;
use backoff::{Backoff, Policy};
use shard_bridge::ClientError;
use tokio::{sync::mpsc, time::Instant};
use tonic::Streaming;

use super::state::News;
use crate::ask::ServerArgs;

/// Waits of 0.5 s, 1 s, 2 s, ... 15 s, forgotten after 10 s of statuses.
const POLICY: Policy = Policy {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(15),
    steady: Duration::from_secs(10),
    free: 0,
};

/// The longest wait for the stream to begin, beyond the deadline of other calls.
const GRACE: Duration = Duration::from_secs(1);

/// Connects and begins a stream.
///
/// # Errors
/// No coordinator answers there in time.
pub(super) async fn connect(server: &ServerArgs) -> Result<Streaming<v1::FleetStatus>, ClientError> {
    let connecting = async { server.connect().await?.watch().await };
    let within = server.deadline() + GRACE;
    let too_late = |_| ClientError::Unreachable {
        url: server.full_url(),
        reason: format!("no answer within {} s", within.as_secs_f64()),
    };
    tokio::time::timeout(within, connecting).await.map_err(too_late)?
}

/// Sends what `stream` brings, and connects again each time that it ends. Returns when the receiver is gone.
pub(super) async fn follow(
    server: ServerArgs,
    stream: Streaming<v1::FleetStatus>,
    news: mpsc::Sender<News>,
    started: Instant,
) {
    let mut backoff = Backoff::new(POLICY);
    backoff.succeeded(started.into_std());
    let mut stream = Some(stream);
    loop {
        let reason = match stream.take() {
            Some(stream) => match forward(stream, &news).await {
                Some(reason) => reason,
                None => return,
            },
            None => match connect(&server).await {
                Ok(begun) => {
                    backoff.succeeded(Instant::now().into_std());
                    stream = Some(begun);
                    continue;
                }
                Err(error) => error.to_string(),
            },
        };
        backoff.failed(Instant::now().into_std());
        // One screen needs no jitter: it is no crowd.
        let wait = backoff.wait(1.0);
        let next = started.elapsed() + wait;
        if news.send(News::Lost { reason, next }).await.is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
        if news.send(News::Connecting).await.is_err() {
            return;
        }
    }
}

/// Sends statuses until the stream ends, and returns why; `None` when the receiver is gone.
async fn forward(mut stream: Streaming<v1::FleetStatus>, news: &mpsc::Sender<News>) -> Option<String> {
    loop {
        match stream.message().await {
            Ok(Some(status)) => news.send(News::Status(Box::new(status))).await.ok()?,
            Ok(None) => return Some("the coordinator ended the stream".to_owned()),
            Err(status) => return Some(ClientError::from(status).to_string()),
        }
    }
}

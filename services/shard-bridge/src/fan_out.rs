//! Putting one question to many workers at once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fleet_model::WorkerId;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::Instrument as _;

use crate::{
    local::LocalShards,
    metrics::{AskOutcome, BridgeMetrics},
    peers::Peers,
    worker_client::WorkerClient,
};

/// Who is asked, and where.
pub(crate) type Recipients = BTreeMap<WorkerId, String>;

/// What came back by the deadline.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    /// The answers, by worker.
    pub(crate) answers: BTreeMap<WorkerId, T>,
    /// Those that gave none, with the reason.
    pub(crate) failures: BTreeMap<WorkerId, String>,
}

/// The means to ask.
#[derive(Clone)]
pub(crate) struct FanOut {
    pub(crate) peers: Arc<Peers>,
    pub(crate) local: Option<Arc<dyn LocalShards>>,
    pub(crate) metrics: BridgeMetrics,
}

impl FanOut {
    /// Asks every recipient at once; the worker at hand without the network. Ends when all have answered, at the deadline,
    /// or as soon as `enough` says so of the answers so far: then the remaining calls are dropped.
    pub(crate) async fn ask<T, Local, Remote, Asking>(
        &self,
        recipients: &Recipients,
        until: Instant,
        local: Local,
        remote: Remote,
        enough: impl Fn(&BTreeMap<WorkerId, T>) -> bool,
    ) -> Answers<T>
    where
        Local: Fn(&dyn LocalShards) -> T,
        Remote: Fn(WorkerClient, Duration) -> Asking,
        Asking: Future<Output = Result<T, Status>>,
    {
        let mut answers = BTreeMap::new();
        let mut failures = BTreeMap::new();
        let mut asked = FuturesUnordered::new();
        for (worker, url) in recipients {
            if let Some(own) = self.local.as_deref().filter(|own| own.worker() == *worker) {
                let span = tracing::info_span!("ask_worker", worker.id = %worker);
                answers.insert(worker.clone(), span.in_scope(|| local(own)));
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            let answer = self.peers.client(url).map(|client| remote(client, left));
            let span = tracing::info_span!("ask_worker", worker.id = %worker, otel.kind = "client");
            asked.push(
                async move {
                    let answer = match answer {
                        Ok(answer) => tokio::time::timeout_at(until, answer).await,
                        Err(status) => Ok(Err(status)),
                    };
                    (worker, answer)
                }
                .instrument(span),
            );
        }
        while !enough(&answers) {
            let Some((worker, answer)) = asked.next().await else { break };
            match answer {
                Ok(Ok(answer)) => {
                    self.metrics.count_asked(AskOutcome::Answered);
                    answers.insert(worker.clone(), answer);
                }
                Ok(Err(status)) => {
                    self.metrics.count_asked(AskOutcome::Failed);
                    failures.insert(worker.clone(), reason(&status));
                }
                Err(_) => {
                    self.metrics.count_asked(AskOutcome::TooLate);
                    failures.insert(worker.clone(), "did not answer by the deadline".to_owned());
                }
            }
        }
        Answers { answers, failures }
    }
}

/// A failure in words.
pub(crate) fn reason(status: &Status) -> String {
    match status.code() {
        Code::Unavailable => "cannot be reached".to_owned(),
        Code::DeadlineExceeded | Code::Cancelled => "did not answer by the deadline".to_owned(),
        code => format!("answered {code:?}: {}", status.message()),
    }
}

//! Putting one question to many workers at once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fleet_model::WorkerId;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use process::telemetry::exports_spans;
use tokio::{sync::Semaphore, time::Instant};
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};

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
    /// Bounds the questions whose remaining calls end by themselves.
    pub(crate) leftover: Arc<Semaphore>,
}

/// The most questions whose remaining calls end by themselves at a time; the calls of any other are reset.
const MOST_LEFTOVER: usize = 64;

impl FanOut {
    pub(crate) fn new(local: Option<Arc<dyn LocalShards>>, metrics: BridgeMetrics, peers: Peers) -> Self {
        Self { peers: Arc::new(peers), local, metrics, leftover: Arc::new(Semaphore::new(MOST_LEFTOVER)) }
    }

    /// Asks every recipient at once; the worker at hand without the network. Ends when all have answered, at the deadline,
    /// or as soon as `enough` returns true for the answers so far. The remaining calls then end by themselves.
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
        Asking: Future<Output = Result<T, Status>> + Send + 'static,
        T: Send + 'static,
    {
        let mut answers = BTreeMap::new();
        let mut failures = BTreeMap::new();
        let mut asked = FuturesUnordered::new();
        for (worker, url) in recipients {
            if let Some(own) = self.local.as_deref().filter(|own| own.worker() == *worker) {
                answers.insert(worker.clone(), asking(worker).in_scope(|| local(own)));
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            let answer = self.peers.client(url).map(|client| remote(client, left));
            let span = asking(worker);
            let worker = worker.clone();
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
                    answers.insert(worker, answer);
                }
                Ok(Err(status)) => {
                    self.metrics.count_asked(AskOutcome::Failed);
                    failures.insert(worker, reason(&status));
                }
                Err(_) => {
                    self.metrics.count_asked(AskOutcome::TooLate);
                    failures.insert(worker, "did not answer by the deadline".to_owned());
                }
            }
        }
        if !asked.is_empty()
            && let Ok(permit) = self.leftover.clone().try_acquire_owned()
        {
            // The remaining calls are not dropped: that would reset them, and HTTP/2 ends a connection with many resets, with all its
            // other calls. They end by `until`.
            let rest = async move {
                while asked.next().await.is_some() {}
                drop(permit);
            };
            // Those that were not sent yet name the caller's trace too.
            tokio::spawn(rest.in_current_span());
        }
        Answers { answers, failures }
    }
}

/// Returns the span of one question to a worker, or no span if spans are not exported. In a fleet of 1,000 workers, these spans took a tenth of the
/// processor time of a stats question. Log lines have the trace id of the caller's span.
pub(crate) fn asking(worker: &WorkerId) -> Span {
    if exports_spans() {
        tracing::info_span!("ask_worker", worker.id = %worker, otel.kind = "client")
    } else {
        Span::none()
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

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn abandoned_calls_are_not_reset() {
        let fan_out = FanOut::new(None, BridgeMetrics::default(), Peers::default());
        let (first, second) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let names = [("a", first), ("b", second)].map(|(name, url)| (name.parse().unwrap(), url.to_owned()));
        let (finish, finished) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let calls = std::sync::Mutex::new(vec![Some((finished, end)), None]);
        let remote = |_, _| {
            let slow = calls.lock().unwrap().pop().unwrap();
            async move {
                if let Some((finished, end)) = slow {
                    let _ = finished.await;
                    let _ = end.send(());
                }
                ready(Ok(7)).await
            }
        };
        let until = Instant::now() + Duration::from_mins(1);
        let is_enough = |answers: &BTreeMap<WorkerId, i32>| !answers.is_empty();
        let answered = fan_out.ask(&Recipients::from(names), until, |_| 0, remote, is_enough).await;
        assert_eq!((answered.answers.len(), answered.failures.len()), (1, 0));
        finish.send(()).expect("the call still waits");
        ended.await.expect("the call goes on to its end");
    }
}

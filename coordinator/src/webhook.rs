//! The problems webhook: tells a URL of the operator's when problems begin and end.
//!
//! One task looks at the published snapshots and sends what [`Notices`] finds due, one request at a time. Only the acting
//! coordinator sends. The store keeps what was told, so that the next coordinator does not tell it again.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fleet::Now;
use fleet_model::Term;
use fleet_store::{FleetStore, TermWrite};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use outside_text::printable;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    https,
    metrics::CoordinatorMetrics,
    snapshot::{PublishedSnapshot, Role, Snapshot},
    webhook_target::WebhookConfig,
};

mod body;
mod notices;
#[cfg(test)]
mod tests;

use body::FleetLine;
use notices::{Notice, NoticeAnswer, Notices, Pace};

/// Time limit of one attempt, including its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Most bytes of an answer that are read: only a few words of them are shown.
const MOST_BYTES: usize = 4 * 1024;

/// How long the text of a refusal is waited for.
const TEXT_WITHIN: Duration = Duration::from_secs(1);

/// Wait before the store is asked again.
const STORE_WAIT: Duration = Duration::from_secs(5);

/// How long a new coordinator waits for the record of what was told before it starts without.
const RECORD_WITHIN: Duration = Duration::from_secs(10);

/// What the webhook needs.
pub(crate) struct WebhookParts {
    pub(crate) config: WebhookConfig,
    pub(crate) published: PublishedSnapshot,
    pub(crate) store: Arc<dyn FleetStore>,
    pub(crate) clock: Clock,
    pub(crate) metrics: CoordinatorMetrics,
}

/// See the module's documentation.
pub(crate) struct Webhook {
    parts: WebhookParts,
    pace: Pace,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What is known in one term.
struct TermNotices {
    term: Term,
    notices: Notices,
    /// The store does not have what was told last.
    is_unsaved: bool,
    save_at: Instant,
}

impl Webhook {
    /// # Errors
    /// TLS cannot be set up.
    pub(crate) fn new(parts: WebhookParts) -> Result<Self, rustls::Error> {
        let connector = https::connector(ANSWER_WITHIN)?;
        // Requests are a minute apart, so no connection is kept.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let pace = Pace { interval: parts.config.interval };
        Ok(Self { parts, pace, client })
    }

    /// Sends what is due until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tracing::info!(host = self.parts.config.target.host(), "problems webhook configured");
        let sending = async {
            let mut current: Option<TermNotices> = None;
            loop {
                sleep(self.pace.look_every()).await;
                let snapshot = self.parts.published.snapshot.borrow().clone();
                if snapshot.role != Role::Acting {
                    current = None;
                    continue;
                }
                let term = snapshot.fleet.term;
                if current.as_ref().is_none_or(|known| known.term != term) {
                    let notices = self.begin(term).await;
                    let save_at = Instant::now();
                    current = Some(TermNotices { term, notices, is_unsaved: false, save_at });
                    // A snapshot from before the wait says little.
                    continue;
                }
                if let Some(current) = &mut current {
                    self.look(current, &snapshot).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sending => {}
        }
    }

    /// Starts a term from what the coordinator of the term before told the receiver.
    async fn begin(&self, term: Term) -> Notices {
        let start = std::time::Instant::now();
        let start = start.checked_sub(self.now().mono).unwrap_or(start);
        let mut notices = Notices::new(self.pace, start);
        let until = Instant::now() + RECORD_WITHIN;
        let record = loop {
            match self.parts.store.load_notices().await {
                Ok(record) => break record,
                Err(error) if Instant::now() >= until => {
                    tracing::warn!(%error, %term, "cannot read the record of problems sent to the webhook; some may be sent again");
                    return notices;
                }
                Err(_) => sleep(self.pace.look_every()).await,
            }
        };
        if let Some(record) = record
            && let Err(error) = notices.restore(&record, self.now())
        {
            tracing::warn!(%error, %term, "invalid record of problems sent to the webhook; some may be sent again");
        }
        notices
    }

    async fn look(&self, current: &mut TermNotices, snapshot: &Snapshot) {
        current.notices.observe(&snapshot.fleet.problems, self.now());
        if let Some(notice) = current.notices.due(self.now()) {
            let (answer, why) = self.send(&notice, snapshot).await;
            current.notices.answered(&notice, &answer, self.now(), rand::random());
            current.is_unsaved |= !matches!(answer, NoticeAnswer::Failed(_));
            self.report(&notice, &answer, &why, current.notices.next_in(self.now()));
        }
        if current.is_unsaved && Instant::now() >= current.save_at {
            match self.parts.store.save_notices(current.term, &current.notices.to_record()).await {
                Ok(TermWrite::Written | TermWrite::StaleTerm) => current.is_unsaved = false,
                Err(_) => current.save_at = Instant::now() + STORE_WAIT,
            }
        }
    }

    fn report(&self, notice: &Notice, answer: &NoticeAnswer, why: &str, next_in: Duration) {
        let (host, next_in_ms) = (self.parts.config.target.host(), next_in.as_millis() as u64);
        let (raised, cleared) = (notice.raised.len(), notice.cleared.len());
        match answer {
            NoticeAnswer::Accepted => {
                self.parts.metrics.count_webhook("accepted");
                tracing::info!(raised, cleared, "problems sent to webhook");
            }
            NoticeAnswer::Refused => {
                self.parts.metrics.count_webhook("refused");
                tracing::error!(
                    host,
                    why,
                    raised,
                    cleared,
                    "webhook rejected the request; not retried: check PROBLEMS_WEBHOOK_URL"
                );
            }
            NoticeAnswer::Failed(_) => {
                self.parts.metrics.count_webhook("failed");
                tracing::warn!(host, why, next_in_ms, "problems not delivered to webhook; will retry");
            }
        }
    }

    /// Sends one request. Returns the answer, and why it is not accepted.
    async fn send(&self, notice: &Notice, snapshot: &Snapshot) -> (NoticeAnswer, String) {
        let fleet = FleetLine {
            ready: snapshot.ready_shards(),
            total: snapshot.fleet.shard_total,
            workers: snapshot.fleet.workers.len(),
            term: snapshot.fleet.term.0,
        };
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let body = body::body(notice, &fleet, &time);
        match timeout(ANSWER_WITHIN, self.post(body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => (NoticeAnswer::Failed(None), why),
            Err(_) => (NoticeAnswer::Failed(None), format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
        }
    }

    async fn post(&self, body: String) -> Result<(NoticeAnswer, String), String> {
        let request = Request::post(self.parts.config.target.uri().clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("altergolden/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| https::innermost(&error))?;
        let (head, body) = response.into_parts();
        let status = head.status;
        if status.is_success() {
            return Ok((NoticeAnswer::Accepted, String::new()));
        }
        // The status decides; the text is only shown.
        let text = timeout(TEXT_WITHIN, Limited::new(body, MOST_BYTES).collect()).await;
        let text =
            text.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let text = self.parts.config.target.hide_in(&String::from_utf8_lossy(&text));
        let hint = if status.is_redirection() { " (redirects are not followed)" } else { "" };
        let why = format!("status {}{hint}: {}", status.as_u16(), printable(text.trim()));
        Ok((judge(status, &head.headers), why))
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.parts.clock.now(), unix_ms: unix.as_millis() as u64 }
    }
}

/// Returns how an answer is taken: errors that may pass are worth another attempt.
fn judge(status: StatusCode, headers: &http::HeaderMap) -> NoticeAnswer {
    let passes = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if status.is_success() {
        NoticeAnswer::Accepted
    } else if passes || status.is_server_error() {
        NoticeAnswer::Failed(backoff::asked_wait(status, headers, SystemTime::now()))
    } else {
        NoticeAnswer::Refused
    }
}

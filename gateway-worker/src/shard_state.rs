//! The state of one shard: who it is, how it is, how far its session was read.
//!
//! Written by the shard's task, read by reports, metrics, checkpoints and handlers. It holds nothing that runs the shard:
//! the task is [`shard`](crate::shard)'s, and what reaches it and its bot code is held by [`shards`](crate::shards).

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use checkpoint::Session;
use fleet_model::{Epoch, Position, ProblemCode, ShardKey, ShardReport, ShardStatus, StartOutcome};
use tokio::sync::{Notify, SetOnce};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::{CacheReport, ShardCache},
    clock::BootTime,
};

/// What a shard says before its first connection.
const NOT_CONNECTED: &str = "not connected yet";

/// How long the first start of a shard is part of the trace that brought it here.
const FIRST_START: Duration = Duration::from_mins(1);

/// The state of a shard that this worker runs.
#[derive(Debug)]
pub struct ShardState {
    key: ShardKey,
    epoch: Epoch,
    cache: ShardCache,
    state: Mutex<State>,
    /// When its task last went round, in milliseconds since boot.
    ticked: AtomicU64,
    /// Notified whenever the status changes.
    changed: Arc<Notify>,
    /// Another worker has it under a higher epoch: nothing may be done for it any more.
    outranked: CancellationToken,
    /// What must stop at once then.
    on_outranked: OnOutranked,
    /// It has been ready.
    ready_once: SetOnce<()>,
}

#[derive(Default)]
struct OnOutranked(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl fmt::Debug for OnOutranked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnOutranked").field(&self.0.get().is_some()).finish()
    }
}

/// Where a session stands: what a RESUME needs, here or on another worker.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) session: Arc<Session>,
    /// The sequence of its READY; 0 when that came to another worker.
    pub(crate) began_at: u64,
    /// The last event that was applied to the cache and queued: the one watermark.
    pub(crate) read: u64,
    /// When that came, in milliseconds since the Unix epoch.
    pub(crate) read_at_unix_ms: u64,
}

impl Progress {
    /// Where the watermark stands.
    pub(crate) fn position(&self) -> Position {
        Position::new(self.session.ordinal, self.read)
    }
}

#[derive(Clone, Debug)]
struct State {
    status: ShardStatus,
    detail: String,
    close_code: Option<u16>,
    /// What keeps it from being ready, when its status does not say so, and in words.
    cause: Option<(ProblemCode, &'static str)>,
    progress: Option<Progress>,
    /// The previous session, if it was given up.
    given_up: Option<Progress>,
    outcome: Option<StartOutcome>,
    /// Up to when the checkpoint holds what was received, in milliseconds since the Unix epoch.
    checkpointed_unix_ms: Option<u64>,
    /// Why it was not written last time.
    checkpoint_failed: Option<String>,
    latency: Option<Duration>,
    connected_since: Option<BootTime>,
    /// Of the trace of its present or last start.
    traceparent: Option<String>,
    /// Of the handoff or failover that brought it here, and since when; dropped when it is ready, or after [`FIRST_START`].
    brought_by: Option<(String, BootTime)>,
    /// The last presence that went out: a new session is given it, here or on another worker.
    presence: Option<String>,
}

impl ShardState {
    pub(crate) fn new(key: ShardKey, epoch: Epoch, cache: ShardCache, changed: Arc<Notify>) -> Self {
        let state = State {
            status: ShardStatus::Reconnecting,
            detail: NOT_CONNECTED.to_owned(),
            close_code: None,
            cause: None,
            progress: None,
            given_up: None,
            outcome: None,
            checkpointed_unix_ms: None,
            checkpoint_failed: None,
            latency: None,
            connected_since: None,
            traceparent: None,
            brought_by: None,
            presence: None,
        };
        let ticked = AtomicU64::new(BootTime::now().as_millis());
        Self {
            key,
            epoch,
            cache,
            state: Mutex::new(state),
            ticked,
            changed,
            outranked: CancellationToken::new(),
            on_outranked: OnOutranked::default(),
            ready_once: SetOnce::new(),
        }
    }

    /// The shard.
    pub fn key(&self) -> ShardKey {
        self.key
    }

    /// The epoch that it runs under.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What it knows.
    pub fn cache(&self) -> &ShardCache {
        &self.cache
    }

    /// Its status.
    pub fn status(&self) -> ShardStatus {
        self.lock().status
    }

    /// Everything about it, now.
    pub fn report(&self) -> ShardReport {
        let state = self.lock().clone();
        let CacheReport { figures: (guilds, users, channels, voice_connections), pending, uncertain } =
            self.cache.report();
        let uptime = state.connected_since.map_or(Duration::ZERO, |since| BootTime::now().since(since));
        ShardReport {
            shard: self.key.slot(),
            epoch: self.epoch,
            status: state.status,
            sequence: state.progress.map_or(0, |progress| progress.read),
            latency_ms: state.latency.map(|latency| latency.as_secs_f64() * 1000.0),
            guilds,
            users,
            channels,
            voice_connections,
            uptime_seconds: uptime.as_secs(),
            detail: match state.cause {
                Some((_, why)) if state.detail.is_empty() => why.to_owned(),
                _ => state.detail,
            },
            close_code: state.close_code,
            cause: state.cause.map(|(code, _)| code),
            outcome: state.outcome,
            pending_guilds: pending,
            uncertain_guilds: uncertain,
        }
    }

    /// How long its task has not gone round.
    pub(crate) fn stuck_for(&self, now: BootTime) -> Duration {
        now.since(BootTime::from_millis(self.ticked.load(Ordering::Relaxed)))
    }

    pub(crate) fn tick(&self) {
        self.tick_at(BootTime::now());
    }

    /// Notes that the shard's task is alive at this time.
    pub(crate) fn tick_at(&self, now: BootTime) {
        self.ticked.store(now.as_millis(), Ordering::Relaxed);
    }

    /// A new status, with the reason for people.
    pub(crate) fn set_status(&self, status: ShardStatus, detail: impl Into<String>) {
        let detail = detail.into();
        let news = {
            let mut state = self.lock();
            let news = state.status != status || state.detail != detail;
            state.status = status;
            state.detail = detail;
            if status != ShardStatus::Failed {
                state.close_code = None;
            }
            if matches!(status, ShardStatus::Ready | ShardStatus::Stopped | ShardStatus::Failed) {
                state.cause = None;
            }
            match status {
                ShardStatus::Ready => {
                    state.connected_since.get_or_insert_with(BootTime::now);
                }
                ShardStatus::Stopped | ShardStatus::Failed => {
                    state.connected_since = None;
                    state.latency = None;
                }
                ShardStatus::Reconnecting | ShardStatus::Queued => state.latency = None,
                _ => {}
            }
            news
        };
        if status == ShardStatus::Ready {
            // Set before: it stays so.
            let _ = self.ready_once.set(());
        }
        if news {
            self.changed.notify_one();
        }
    }

    /// Waits until it is ready for the first time.
    pub(crate) async fn ready_once(&self) {
        self.ready_once.wait().await;
    }

    /// Notes what keeps it from being ready, until it is.
    pub(crate) fn set_cause(&self, code: ProblemCode, why: &'static str) {
        self.lock().cause = Some((code, why));
    }

    /// Discord refused its token or settings.
    pub(crate) fn set_failed(&self, code: u16, detail: String) {
        self.lock().close_code = Some(code);
        self.set_status(ShardStatus::Failed, detail);
    }

    /// W3C traceparent of its start, when that is traced.
    pub(crate) fn traceparent(&self) -> Option<String> {
        self.lock().traceparent.clone()
    }

    /// Sets the trace that brought the shard here: its start is part of it.
    pub(crate) fn begin_in(&self, trace: Option<String>) {
        self.lock().brought_by = trace.map(|trace| (trace, BootTime::now()));
    }

    /// The trace that brought the shard here, while its first start lasts.
    pub(crate) fn brought_by(&self) -> Option<String> {
        let mut state = self.lock();
        let state = &mut *state;
        let is_over = |since: &BootTime| BootTime::now().since(*since) >= FIRST_START;
        if state.outcome.is_some() || state.brought_by.as_ref().is_some_and(|(_, since)| is_over(since)) {
            state.brought_by = None;
        }
        state.brought_by.as_ref().map(|(trace, _)| trace.clone())
    }

    pub(crate) fn set_traceparent(&self, traceparent: Option<String>) {
        self.lock().traceparent = traceparent;
    }

    /// How it is, for people.
    pub(crate) fn in_words(&self) -> String {
        let State { status, detail, .. } = self.lock().clone();
        let colon = if detail.is_empty() { "" } else { ": " };
        format!("shard {} is {status}{colon}{detail}", self.key)
    }

    /// Where its session stands; `None` when it has none.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.lock().progress.clone()
    }

    /// The sequence up to which the shard has read its session; `None` without a session.
    pub(crate) fn read(&self) -> Option<u64> {
        self.lock().progress.as_ref().map(|progress| progress.read)
    }

    pub(crate) fn set_progress(&self, progress: Option<Progress>) {
        let mut state = self.lock();
        state.progress = progress;
        state.given_up = None;
    }

    /// The session that a checkpoint must hold: the present one, or the last one that was given up, without its id so
    /// that the next owner does not try it again.
    pub(crate) fn progress_to_write(&self) -> Option<Progress> {
        let state = self.lock();
        state.progress.clone().or_else(|| state.given_up.clone())
    }

    /// Gives the session up. Returns its last progress.
    pub(crate) fn give_up_session(&self) -> Option<Progress> {
        let mut state = self.lock();
        let progress = state.progress.take()?;
        let session = Session { id: String::new(), ..(*progress.session).clone() };
        state.given_up = Some(Progress { session: Arc::new(session), ..progress.clone() });
        Some(progress)
    }

    /// Forgets the resume URL: RESUME goes to the gateway's own address from here on.
    pub(crate) fn forget_resume_url(&self) {
        if let Some(progress) = &mut self.lock().progress {
            let session = Session { resume_url: String::new(), ..(*progress.session).clone() };
            progress.session = Arc::new(session);
        }
    }

    /// An event was taken.
    pub(crate) fn set_read(&self, sequence: u64, at_unix_ms: u64) {
        if let Some(progress) = &mut self.lock().progress {
            progress.read = sequence;
            progress.read_at_unix_ms = at_unix_ms;
        }
    }

    pub(crate) fn set_outcome(&self, outcome: StartOutcome) {
        self.lock().outcome = Some(outcome);
        self.changed.notify_one();
    }

    /// The checkpoint holds everything that was received until then.
    pub(crate) fn set_checkpointed(&self, until_unix_ms: u64) {
        let mut state = self.lock();
        state.checkpointed_unix_ms = Some(until_unix_ms);
        state.checkpoint_failed = None;
    }

    /// The last checkpoint could not be written.
    pub(crate) fn set_checkpoint_failed(&self, why: String) {
        self.lock().checkpoint_failed = Some(why);
    }

    /// Why another worker would find an old checkpoint; `None` when all is well.
    pub(crate) fn checkpoint_trouble(&self) -> Option<String> {
        self.lock().checkpoint_failed.clone()
    }

    /// How far the checkpoint is behind what was received; `None` before the first.
    pub(crate) fn checkpoint_lag(&self) -> Option<Duration> {
        let state = self.lock();
        let read_at = state.progress.as_ref()?.read_at_unix_ms;
        Some(Duration::from_millis(read_at.saturating_sub(state.checkpointed_unix_ms?)))
    }

    /// Another worker owns the shard: no further handler starts.
    pub(crate) fn outranked(&self, by: Epoch) {
        tracing::warn!(shard.id = %self.key, epoch = %self.epoch, %by, "another worker has the shard: closing it");
        self.outranked.cancel();
        if let Some(stop) = self.on_outranked.0.get() {
            stop();
        }
    }

    /// Sets what must stop at once when another worker owns the shard. Set once, before its task starts.
    pub(crate) fn set_on_outranked(&self, stop: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_outranked.0.set(Box::new(stop));
    }

    /// Waits until another worker owns the shard.
    pub(crate) async fn wait_outranked(&self) {
        self.outranked.cancelled().await;
    }

    pub(crate) fn is_outranked(&self) -> bool {
        self.outranked.is_cancelled()
    }

    /// A latency counts only while the shard is connected in earnest.
    pub(crate) fn set_latency(&self, latency: Option<Duration>) {
        let mut state = self.lock();
        state.latency =
            latency.filter(|_| matches!(state.status, ShardStatus::Ready | ShardStatus::Identifying));
    }

    /// Notes that a session began: the time connected counts from here.
    pub(crate) fn session_began(&self) {
        self.lock().connected_since = Some(BootTime::now());
    }

    /// The presence that a new session is given.
    pub(crate) fn presence(&self) -> Option<String> {
        self.lock().presence.clone()
    }

    pub(crate) fn set_presence(&self, presence: String) {
        self.lock().presence = Some(presence);
    }

    /// Takes over the presence of the owner before, unless one has gone out here.
    pub(crate) fn inherit_presence(&self, presence: String) {
        self.lock().presence.get_or_insert(presence);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

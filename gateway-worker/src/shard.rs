//! One shard: its gateway connection, its cache, what it says of itself.
//!
//! [`Shard`] is the shard as others see it; the runner is the one task that changes it. An event's way: the socket, the
//! lease check, the cache; then the sequence number moves on. An event that comes when the lease is not known to hold is
//! not handled, so a later RESUME brings it again.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fleet_model::{Epoch, ShardNumber, ShardReport, ShardStatus};
use tokio::sync::Notify;

use crate::{cache::ShardCache, clock::BootTime};

mod attempts;
mod connection;
mod life;
mod receive;
pub(crate) mod runner;
mod starting;

pub(crate) use connection::GatewaySettings;

/// A shard that this worker runs.
#[derive(Debug)]
pub struct Shard {
    number: ShardNumber,
    epoch: Epoch,
    total: u32,
    cache: ShardCache,
    state: Mutex<State>,
    /// When its task last went round, in milliseconds since boot.
    ticked: AtomicU64,
    /// Told whenever the status changes.
    changed: Arc<Notify>,
}

#[derive(Clone, Debug)]
struct State {
    status: ShardStatus,
    detail: String,
    close_code: Option<u16>,
    sequence: u64,
    latency: Option<Duration>,
    connected_since: Option<BootTime>,
    /// Of the trace of its present or last start.
    traceparent: Option<String>,
}

impl Shard {
    pub(crate) fn new(
        number: ShardNumber,
        epoch: Epoch,
        total: u32,
        cache: ShardCache,
        changed: Arc<Notify>,
    ) -> Self {
        let state = State {
            status: ShardStatus::Queued,
            detail: String::new(),
            close_code: None,
            sequence: 0,
            latency: None,
            connected_since: None,
            traceparent: None,
        };
        let ticked = AtomicU64::new(BootTime::now().as_millis());
        Self { number, epoch, total, cache, state: Mutex::new(state), ticked, changed }
    }

    /// Its number.
    pub fn number(&self) -> ShardNumber {
        self.number
    }

    /// The epoch that it runs under.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many shards the bot has.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// What it knows.
    pub fn cache(&self) -> &ShardCache {
        &self.cache
    }

    /// Where it is in its life.
    pub fn status(&self) -> ShardStatus {
        self.lock().status
    }

    /// Everything about it, now.
    pub fn report(&self) -> ShardReport {
        let state = self.lock().clone();
        let (guilds, users, channels, voice_connections) = self.cache.figures();
        let uptime = state.connected_since.map_or(Duration::ZERO, |since| BootTime::now().since(since));
        ShardReport {
            shard: self.number,
            epoch: self.epoch,
            status: state.status,
            sequence: state.sequence,
            latency_ms: state.latency.map(|latency| latency.as_secs_f64() * 1000.0),
            guilds,
            users,
            channels,
            voice_connections,
            uptime_seconds: uptime.as_secs(),
            detail: state.detail,
            close_code: state.close_code,
        }
    }

    /// How long its task has not gone round.
    pub(crate) fn stuck_for(&self, now: BootTime) -> Duration {
        now.since(BootTime::from_millis(self.ticked.load(Ordering::Relaxed)))
    }

    fn tick(&self) {
        self.ticked.store(BootTime::now().as_millis(), Ordering::Relaxed);
    }

    /// A new status, with the reason for people.
    pub(crate) fn set_status(&self, status: ShardStatus, detail: impl Into<String>) {
        let detail = detail.into();
        let news = {
            let mut state = self.lock();
            let news = state.status != status || state.detail != detail;
            state.status = status;
            state.detail = detail;
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
        if news {
            self.changed.notify_one();
        }
    }

    /// Discord refused it for good.
    fn set_failed(&self, code: u16, detail: String) {
        self.lock().close_code = Some(code);
        self.set_status(ShardStatus::Failed, detail);
    }

    /// W3C traceparent of its start, when that is traced.
    pub(crate) fn traceparent(&self) -> Option<String> {
        self.lock().traceparent.clone()
    }

    fn set_traceparent(&self, traceparent: Option<String>) {
        self.lock().traceparent = traceparent;
    }

    fn set_sequence(&self, sequence: u64) {
        self.lock().sequence = sequence;
    }

    /// A latency counts only while the shard is connected in earnest.
    fn set_latency(&self, latency: Option<Duration>) {
        let mut state = self.lock();
        state.latency =
            latency.filter(|_| matches!(state.status, ShardStatus::Ready | ShardStatus::Identifying));
    }

    /// A session began anew: how long it has been connected counts from here.
    fn session_began(&self) {
        self.lock().connected_since = Some(BootTime::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

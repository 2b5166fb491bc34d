//! The bus of many processes.
//!
//! One script appends a broadcast to a capped stream and publishes it: the channel is quick, the stream repairs. Each
//! process reads both in one task and hands on to its local subscribers.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use fleet_model::WorkerId;
use redis::cmd;
use redis_link::{KeyPrefix, RedisLink, Script};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use crate::{
    BusError, BusStatus, EventBus, Message, MessageId, NewMessage, Published, Subscription,
    acknowledgements::AcknowledgementWaits,
};

mod history;
mod outlets;
mod position;
mod reader;
mod repair;
mod wire;

use outlets::Outlets;
use position::Stamp;
use reader::Reader;
pub use repair::repair_broadcasts;
use wire::Names;

/// Broadcasts that the stream keeps, roughly.
const HISTORY: &str = "10000";

/// The stream's largest size in bytes: this Redis also holds the leases.
const HISTORY_BYTES: &str = "67108864";

/// The status's reason before Redis was reached or refused for the first time.
const NOT_YET: &str = "not connected yet";

static PUBLISH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/publish.lua")));

/// The bus over Redis: single, Sentinel or Cluster, from 6.2 on. Clones are one end; with the last of them it ends.
#[derive(Clone, Debug)]
pub struct RedisBus {
    shared: Arc<Shared>,
    status: watch::Receiver<BusStatus>,
    _reader: Arc<ReaderTask>,
}

#[derive(Debug)]
struct Shared {
    link: RedisLink,
    names: Names,
    waits: AcknowledgementWaits,
    outlets: Outlets,
    /// The reader has its place in the stream.
    started: watch::Sender<bool>,
}

/// Ends the reader when the bus ends.
#[derive(Debug)]
struct ReaderTask(AbortHandle);

impl Drop for ReaderTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RedisBus {
    /// Starts this process's end of the bus; needs a tokio runtime. Returns at once: the status tells when Redis is reached.
    /// Keys and channels carry the prefix, so that several bots can share a Redis.
    pub fn start(link: RedisLink, prefix: KeyPrefix) -> Self {
        let names = Names::new(&prefix, &random_id());
        let (status, watched) = watch::channel(BusStatus::Away(NOT_YET.to_owned()));
        let started = watch::Sender::new(false);
        let shared = Arc::new(Shared {
            link,
            names,
            waits: AcknowledgementWaits::default(),
            outlets: Outlets::default(),
            started,
        });
        let reader = tokio::spawn(Reader::new(Arc::clone(&shared), status).run());
        Self { shared, status: watched, _reader: Arc::new(ReaderTask(reader.abort_handle())) }
    }
}

fn random_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[async_trait]
impl EventBus for RedisBus {
    async fn publish(&self, message: NewMessage) -> Result<Published, BusError> {
        message.check_size()?;
        let Shared { link, names, waits, .. } = &*self.shared;
        let (wait, acknowledgements) = waits.open();
        let message = wire::encode(message, names.wait(wait))
            .map_err(|error| BusError::Away(format!("not sent: {error}")))?;
        let keys = [names.stream.as_str(), &names.state, &names.sent(wait)];
        let args = [names.broadcasts.as_str(), &message, &random_id(), HISTORY, HISTORY_BYTES];
        let id =
            link.script(&PUBLISH, &keys, &args).await.map_err(|error| BusError::Away(error.to_string()))?;
        Ok(Published { id: MessageId(id), acknowledgements })
    }

    async fn subscribe(&self) -> Result<Subscription, BusError> {
        let deadline = Instant::now() + self.shared.link.deadline();
        let mut started = self.shared.started.subscribe();
        if !matches!(timeout_at(deadline, started.wait_for(|started| *started)).await, Ok(Ok(_))) {
            let reason = match &*self.status.borrow() {
                BusStatus::Connected => NOT_YET.to_owned(),
                BusStatus::Away(reason) => reason.clone(),
            };
            return Err(BusError::Away(reason));
        }
        // What is on its way already is not for this subscriber. While Redis is away that is not known: then it may get a
        // little from before.
        let newest = timeout_at(deadline, history::newest(&self.shared.link, &self.shared.names)).await;
        let after = newest.ok().and_then(Result::ok).unwrap_or_else(Stamp::default);
        Ok(self.shared.outlets.subscribe(after))
    }

    async fn acknowledge(&self, message: &Message, worker: &WorkerId) {
        let Shared { link, names, .. } = &*self.shared;
        if !names.takes_acknowledgements(&message.acknowledge_to) {
            return;
        }
        let sent =
            link.command::<i64>(cmd("PUBLISH").arg(&message.acknowledge_to).arg(worker.as_str())).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }

    fn status(&self) -> watch::Receiver<BusStatus> {
        self.status.clone()
    }
}

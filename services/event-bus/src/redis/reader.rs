//! The task that reads for one process: live from the channel, repaired from the stream.
//!
//! Never waits for a subscriber, and for Redis at most until the link's deadline: the redis crate's queue of what came over
//! the channel has no bound of its own, so this is what keeps it short.
//!
//! Subscribes first and looks at the stream then, so nothing falls between the two. A failure ends the
//! connection, is reported once in the status, and is followed by another try.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use redis::{
    Msg,
    aio::{PubSub, PubSubSink},
};
use redis_link::{LinkError, backoff};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

use super::{
    Shared, history,
    position::{Entry, LiveBroadcast, MissedBroadcasts, ReadPosition, Stamp, StreamId, StreamState},
    wire,
};
use crate::{BusStatus, Delivery};

/// How often the reader looks whether it has everything, and whether its connection lives.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// A connection that lasted this long resets the back-off.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);

/// The reader of one process.
pub(super) struct Reader {
    shared: Arc<Shared>,
    status: watch::Sender<BusStatus>,
    /// `None` until Redis was reached for the first time.
    position: Option<ReadPosition>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, status: watch::Sender<BusStatus>) -> Self {
        Self { shared, status, position: None }
    }

    /// Reads until it is aborted.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let started = Instant::now();
            let Err(error) = self.read().await;
            self.away(&error);
            failures = if started.elapsed() > GOOD_CONNECTION { 1 } else { failures + 1 };
            sleep(backoff::wait_after(failures)).await;
        }
    }

    async fn read(&mut self) -> Result<std::convert::Infallible, LinkError> {
        let (mut sink, mut messages) = self.subscribe().await?.split();
        self.catch_up().await?;
        self.connected();
        let mut check = interval_at(Instant::now() + CHECK_EVERY, CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => self.take(message).await?,
                _ = check.tick() => {
                    self.catch_up().await?;
                    self.ping(&mut sink, &mut messages).await?;
                }
            }
        }
    }

    async fn subscribe(&self) -> Result<PubSub, LinkError> {
        let Shared { link, names, .. } = &*self.shared;
        let mut pub_sub = link.pub_sub().await?;
        let subscribed = async {
            pub_sub.subscribe(&names.broadcasts).await?;
            pub_sub.psubscribe(names.waits()).await
        };
        timeout(link.deadline(), subscribed).await.map_err(|_| late())??;
        Ok(pub_sub)
    }

    /// Finds out whether the connection still carries anything. Messages are taken while the answer is awaited.
    async fn ping(
        &mut self,
        sink: &mut PubSubSink,
        messages: &mut (impl Stream<Item = Msg> + Unpin),
    ) -> Result<(), LinkError> {
        let deadline = self.shared.link.deadline();
        let pong = timeout(deadline, sink.ping::<redis::Value>());
        tokio::pin!(pong);
        loop {
            tokio::select! {
                pong = &mut pong => return pong.map_err(|_| late())?.map(drop).map_err(LinkError::from),
                message = messages.next() => self.take(message).await?,
            }
        }
    }

    async fn take(&mut self, message: Option<Msg>) -> Result<(), LinkError> {
        let Some(message) = message else {
            return Err(LinkError::Away("the subscription's connection was closed".to_owned()));
        };
        let Ok(payload) = message.get_payload::<String>() else { return Ok(()) };
        if let Some(wait) = self.shared.names.waiting(message.get_channel_name()) {
            if let Ok(worker) = payload.parse() {
                self.shared.waits.acknowledge(wait, worker);
            }
            return Ok(());
        }
        let Some((stamp, message)) = wire::split_live(&payload) else {
            tracing::debug!("malformed message on the broadcast channel");
            return Ok(());
        };
        let Some(position) = &mut self.position else { return Ok(()) };
        match position.live(&stamp) {
            LiveBroadcast::Next => self.deliver(&stamp, message),
            LiveBroadcast::Repeat => {}
            // It is in the stream by now, with what came before it.
            LiveBroadcast::Gap => self.catch_up().await?,
        }
        Ok(())
    }

    /// Reads on in the stream as far as there is something.
    async fn catch_up(&mut self) -> Result<(), LinkError> {
        let shared = Arc::clone(&self.shared);
        let newest = history::newest(&shared.link, &shared.names).await?;
        let Some(position) = &mut self.position else {
            self.position = Some(ReadPosition::at(newest));
            return Ok(());
        };
        let hole = match position.compare(&newest) {
            StreamState::No => return Ok(()),
            StreamState::ReadOn(hole) => hole,
        };
        let (last, oldest) = (position.id(), position.oldest_id());
        let is_there = last == StreamId::default() || history::has(&shared.link, &shared.names, last).await?;
        // Writes were lost or cut off, so newer entries can be behind any that is remembered.
        let mut after = if is_there { last } else { oldest };
        let mut has_read = false;
        if let Some(hole) = hole {
            self.missed(hole);
        }
        loop {
            let page = history::page(&shared.link, &shared.names, after).await?;
            let Some(last) = page.last() else { break };
            after = last.id.parse().map_err(|()| LinkError::Unexpected("a stream id".to_owned()))?;
            for entry in page {
                let Some((stamp, message)) = entry.content else { continue };
                let Some(position) = &mut self.position else { return Ok(()) };
                match position.read(&stamp) {
                    Ok(Entry::Known) => continue,
                    Ok(Entry::New(None)) => {}
                    Ok(Entry::New(Some(hole))) => self.missed(hole),
                    // The stream has just begun a new generation, which the next check finds.
                    Err(()) => return Ok(()),
                }
                has_read = true;
                self.deliver(&stamp, &message);
            }
        }
        let hole = self.position.as_mut().and_then(|position| position.read_all(&newest, has_read));
        if let Some(hole) = hole {
            self.missed(hole);
        }
        Ok(())
    }

    fn deliver(&self, stamp: &Stamp, message: &str) {
        let delivery = match wire::decode(&stamp.id.to_string(), message) {
            Some(message) => Delivery::Message(message),
            None => Delivery::Missed { count: Some(1), reason: "the broadcast cannot be read".to_owned() },
        };
        self.shared.outlets.deliver(stamp, &delivery);
    }

    fn missed(&self, hole: MissedBroadcasts) {
        tracing::warn!(count = hole.count, reason = hole.reason, "broadcasts were missed");
        let delivery = Delivery::Missed { count: hole.count, reason: hole.reason.to_owned() };
        self.shared.outlets.deliver_to_all(&delivery);
    }

    fn connected(&self) {
        self.shared.started.send_replace(true);
        let changed =
            |status: &mut BusStatus| std::mem::replace(status, BusStatus::Connected) != BusStatus::Connected;
        if self.status.send_if_modified(changed) {
            tracing::info!(redis = %self.shared.link.url(), "the event bus is connected");
        }
    }

    /// Says so when it was connected before, or was never; the reason of the first failure stays.
    fn away(&self, error: &LinkError) {
        let changed = |status: &mut BusStatus| {
            let was_silent = match status {
                BusStatus::Connected => true,
                BusStatus::Away(reason) => reason == super::NOT_YET,
            };
            if was_silent {
                *status = BusStatus::Away(error.to_string());
            }
            was_silent
        };
        if self.status.send_if_modified(changed) {
            tracing::warn!(redis = %self.shared.link.url(), %error, "the event bus is away");
        }
    }
}

fn late() -> LinkError {
    LinkError::Away("the subscription's connection does not answer".to_owned())
}

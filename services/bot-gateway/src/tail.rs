//! Reads the relay for all clients of this worker, while there are any; and the position of each client in it.

use std::{sync::Arc, time::Duration};

use backoff::{Backoff, Policy};
use relay::{EntryId, EventNames, RelayStore};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    commands::WaitingRequests,
    identity::Identity,
    live::LiveEvent,
    recent::{Behind, Recent},
};

/// How long one read waits.
const WAIT: Duration = Duration::from_secs(1);
/// How long workers may take to send again what the relay has lost, before clients get their guilds again; and how often it is looked at.
const SENT_AGAIN_WITHIN: Duration = Duration::from_secs(2);
const SENT_AGAIN_CHECK: Duration = Duration::from_millis(50);
/// Entries that a client takes at once.
const BATCH: usize = 128;

const RETRIES: Policy = Policy {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(2),
    steady: Duration::ZERO,
    free: 0,
};

/// Fills the newest entries while there are clients, until `stop`.
pub(crate) async fn run(
    relay: Arc<dyn RelayStore>,
    recent: Arc<Recent>,
    mut clients: watch::Receiver<usize>,
    waiting: Arc<WaitingRequests>,
    identity: Arc<Identity>,
    stop: CancellationToken,
) {
    let filling = async {
        let mut backoff = Backoff::new(RETRIES);
        while clients.wait_for(|clients| *clients > 0).await.is_ok() {
            let reader = relay.reader();
            let failed = fill(&*reader, &recent, &mut backoff, &clients, &waiting, &identity).await;
            // Changes of the bot's user are not seen from here on.
            identity.note_change();
            if let Err(error) = failed {
                tracing::warn!(%error, "cannot read the relay for clients of the gateway; retrying");
                backoff.failed(Instant::now().into_std());
                sleep(backoff.wait(rand::random())).await;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = filling => {}
    }
}

/// Fills the newest entries until the worker has no clients.
async fn fill(
    reader: &dyn RelayStore,
    recent: &Recent,
    backoff: &mut Backoff,
    clients: &watch::Receiver<usize>,
    waiting: &WaitingRequests,
    identity: &Identity,
) -> Result<(), relay::RelayError> {
    let mut after = reader.newest().await?;
    recent.begin(after, false);
    let mut lost_at = None;
    while *clients.borrow() > 0 {
        let page = match reader.read(&EventNames::All, after, WAIT).await {
            Ok(page) => page,
            Err(error) => {
                // What is there stays: the next page goes on behind it.
                tracing::warn!(%error, "cannot read the relay for clients of the gateway; retrying");
                backoff.failed(Instant::now().into_std());
                sleep(backoff.wait(rand::random())).await;
                continue;
            }
        };
        *backoff = Backoff::new(RETRIES);
        // The relay has lost entries that were read. What comes again has later ids, and clients know it by its positions.
        if page.cut
            && page.next < after
            && lost_at.get_or_insert_with(Instant::now).elapsed() < SENT_AGAIN_WITHIN
        {
            sleep(SENT_AGAIN_CHECK).await;
            continue;
        }
        lost_at = None;
        after = page.next;
        if page.cut {
            tracing::warn!(
                "relay entries were lost before they were read; sending guilds to clients of the gateway again"
            );
            recent.begin(after, true);
            identity.note_change();
        } else {
            let generation = page.generation;
            let events: Vec<_> =
                page.entries.into_iter().map(|entry| LiveEvent::new(entry, generation)).collect();
            for event in &events {
                match &*event.name {
                    "USER_UPDATE" => identity.note_change(),
                    "GUILD_MEMBERS_CHUNK" => {
                        if let Some(chunk) = event.value() {
                            waiting.note_chunk(chunk);
                        }
                    }
                    "RATE_LIMITED" => {
                        if let Some(answer) = event.value() {
                            waiting.note_limited(answer);
                        }
                    }
                    _ => {}
                }
            }
            recent.add(events, after);
        }
    }
    recent.end();
    Ok(())
}

/// A client's position in the relay.
pub(crate) struct Feed {
    relay: Arc<dyn RelayStore>,
    recent: Arc<Recent>,
    changes: watch::Receiver<EntryId>,
    after: EntryId,
    /// The relay's generation at the beginning.
    generation: u64,
    breaks: u64,
    /// The client's own reader, while it is behind the recent.
    reader: Option<Arc<dyn RelayStore>>,
}

/// Why a client cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The relay lost entries.
    ByRelay,
    /// The client is behind what the relay keeps.
    Behind,
}

impl Feed {
    /// Goes on behind an entry of this generation.
    pub(crate) fn new(
        relay: Arc<dyn RelayStore>,
        recent: Arc<Recent>,
        after: EntryId,
        generation: u64,
    ) -> Self {
        let (changes, breaks) = (recent.changes(), recent.breaks());
        Self { relay, recent, changes, after, generation, breaks, reader: None }
    }

    /// Every entry up to here was taken.
    pub(crate) fn after(&self) -> EntryId {
        self.after
    }

    /// Waits for the next entries; there may be none among them for the client. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Vec<Arc<LiveEvent>>, Lost> {
        loop {
            self.changes.mark_unchanged();
            match self.recent.behind(self.after, BATCH, self.breaks) {
                Behind::Broken => return Err(Lost::ByRelay),
                Behind::Events(events, to) => {
                    self.after = to;
                    self.reader = None;
                    return Ok(events);
                }
                Behind::Nothing => {
                    self.reader = None;
                    // It lives as long as the gateway.
                    let _ = self.changes.changed().await;
                }
                Behind::Elsewhere => {
                    let reader = self.reader.get_or_insert_with(|| self.relay.reader()).clone();
                    match reader.read(&EventNames::All, self.after, Duration::ZERO).await {
                        Ok(page) if page.cut && page.generation == self.generation => {
                            return Err(Lost::Behind);
                        }
                        Ok(page) if page.cut => return Err(Lost::ByRelay),
                        Ok(page) if page.entries.is_empty() && page.next <= self.after => {
                            // It has not begun yet, or was ahead of this read.
                            let _ = tokio::time::timeout(WAIT / 10, self.changes.changed()).await;
                        }
                        Ok(page) => {
                            self.after = page.next;
                            let generation = page.generation;
                            let event = |entry| Arc::new(LiveEvent::new(entry, generation));
                            return Ok(page.entries.into_iter().map(event).collect());
                        }
                        Err(error) => {
                            tracing::debug!(%error, "cannot read the relay for a client that is behind; retrying");
                            sleep(WAIT).await;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use fleet_model::{Epoch, Mark, Position, ShardKey};
    use futures_util::FutureExt as _;
    use relay::{Caps, MemoryRelay, NewEntry};

    use super::*;
    use crate::BotIdentity;

    #[tokio::test(start_paused = true)]
    async fn bots_user_is_asked_for_again_after_its_change_and_after_a_time_without_clients() {
        let asked = Arc::new(AtomicU64::new(0));
        let identity = Arc::new(Identity::new(Arc::new(move || {
            let user = asked.fetch_add(1, Ordering::Relaxed).to_string();
            std::future::ready(Ok(BotIdentity { user_id: 7, user, application: String::new() })).boxed()
        })));
        let user = async || identity.get().await.unwrap().user;
        let relay = Arc::new(MemoryRelay::new(Caps::default()));
        let recent = Arc::<Recent>::default();
        let mut changes = recent.changes();
        let (clients, watched) = watch::channel(1);
        let (waiting, _limited) = WaitingRequests::new();
        let stop = CancellationToken::new();
        let tail = tokio::spawn(run(
            relay.clone(),
            recent,
            watched,
            Arc::new(waiting),
            identity.clone(),
            stop.clone(),
        ));
        changes.changed().await.unwrap();
        assert_eq!((user().await, user().await), ("0".to_owned(), "0".to_owned()));
        let entry = NewEntry {
            position: Position::new(5, 2),
            name: "USER_UPDATE".into(),
            guild: None,
            received_at_unix_ms: 0,
            mark: Mark::Fresh,
            traceparent: None,
            data: b""[..].into(),
        };
        relay.append(ShardKey::new(0, 1), Epoch(1), None, &[entry]).await.unwrap();
        changes.changed().await.unwrap();
        assert_eq!(user().await, "1");
        // Without clients nothing is read.
        clients.send_replace(0);
        while user().await == "1" {
            sleep(WAIT).await;
        }
        stop.cancel();
        tail.await.unwrap();
    }
}

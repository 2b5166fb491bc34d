//! Discord's events for bots in any language: the relay's streams as one stream, filtered.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use altergolden_proto::{
    convert,
    v1::{self, events_response::Item},
};
use fleet_model::ErrorClass;
use relay::{Entry, EntryId, EventNames, GAP, Mark, Page, RelayError, RelayStore};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::BridgeService;
use crate::answer::BridgeError;

/// The most streams of events that one process serves; each has a connection of its own.
pub(super) const STREAMS: usize = 64;

/// The most names, shards or guilds of one filter.
const MOST_FILTERED: usize = 10_000;

/// How long a read waits for an event.
const WAIT: Duration = Duration::from_secs(1);

/// How long a relay that is away is waited for; then the caller hears of it, and goes on from its cursor when it comes again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(300);

pub(super) type EventStream = Pin<Box<dyn Stream<Item = Result<v1::EventsResponse, Status>> + Send>>;

pub(super) async fn events(
    service: &BridgeService,
    request: Request<v1::EventsRequest>,
) -> Result<Response<EventStream>, Status> {
    let relay = service.bridge.relay().ok_or_else(|| {
        let message = "events are not relayed here: start coordinator and workers with RELAY=redis";
        BridgeError::new(ErrorClass::NotPermitted, message)
    })?;
    let request = request.into_inner();
    let filter = Filter::new(&request)?;
    let slot = service.event_streams.clone().try_acquire_owned().map_err(|_| {
        let message = format!("this process serves {STREAMS} streams of events already");
        BridgeError::new(ErrorClass::TooBusy, message)
    })?;
    let relay = relay.reader();
    let after = if request.cursor.is_empty() {
        relay.newest().await.map_err(|error| convert::status(&error))?
    } else {
        request.cursor.parse().map_err(|error: relay::InvalidEntryId| convert::status(&error))?
    };
    let reading = Reading { relay, filter, after, ready: VecDeque::new(), behind: false, _slot: slot };
    let stream = futures_util::stream::unfold(Some(reading), |reading| async {
        let mut reading = reading?;
        match reading.next().await {
            Ok(response) => Some((Ok(response), Some(reading))),
            Err(status) => Some((Err(status), None)),
        }
    });
    Ok(Response::new(Box::pin(stream)))
}

/// What is wanted.
struct Filter {
    /// Gaps are among them.
    names: EventNames,
    shards: BTreeSet<u32>,
    guilds: BTreeSet<u64>,
}

impl Filter {
    fn new(request: &v1::EventsRequest) -> Result<Self, BridgeError> {
        let most = request.names.len().max(request.shard_ids.len()).max(request.guild_ids.len());
        if most > MOST_FILTERED {
            let message = format!("{most} entries are over a filter's limit of {MOST_FILTERED}");
            return Err(BridgeError::invalid(message));
        }
        let names = if request.names.is_empty() {
            EventNames::All
        } else {
            let given = request.names.join(",");
            match given.parse() {
                Ok(EventNames::Only(names)) => {
                    EventNames::Only(names.into_iter().chain([GAP.to_owned()]).collect())
                }
                _ => {
                    return Err(BridgeError::invalid("names take Discord's event names, as MESSAGE_CREATE"));
                }
            }
        };
        Ok(Self {
            names,
            shards: request.shard_ids.iter().copied().collect(),
            guilds: request.guild_ids.iter().copied().collect(),
        })
    }

    fn wants(&self, entry: &Entry) -> bool {
        let of_shard = self.shards.is_empty() || self.shards.contains(&entry.shard.0);
        let of_guild = self.guilds.is_empty()
            || &*entry.content.name == GAP
            || entry.content.guild.is_some_and(|guild| self.guilds.contains(&guild));
        of_shard && of_guild
    }
}

/// One caller's reading.
struct Reading {
    relay: Arc<dyn RelayStore>,
    filter: Filter,
    after: EntryId,
    ready: VecDeque<v1::EventsResponse>,
    /// It was told that it missed events, and is not yet past what was cut.
    behind: bool,
    _slot: OwnedSemaphorePermit,
}

impl Reading {
    async fn next(&mut self) -> Result<v1::EventsResponse, Status> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Ok(response);
            }
            let page = self.page().await?;
            self.take(page);
        }
    }

    async fn page(&self) -> Result<Page, Status> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.relay.read(&self.filter.names, self.after, WAIT).await {
                Ok(page) => return Ok(page),
                Err(RelayError::Away(_)) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
                Err(error) => return Err(convert::status(&error)),
            }
        }
    }

    fn take(&mut self, page: Page) {
        if page.cut && !self.behind {
            let missed = v1::MissedEvents {
                count: None,
                reason: "events after the cursor are gone: the relay trimmed or lost them".to_owned(),
            };
            self.ready.push_back(response(self.after, Item::Missed(missed)));
        }
        self.behind = page.cut;
        self.after = page.next;
        for entry in page.entries {
            if !self.filter.wants(&entry) {
                continue;
            }
            match item(&entry) {
                Some(item) => self.ready.push_back(response(entry.id, item)),
                None => {
                    tracing::warn!(id = %entry.id, name = %entry.content.name, "a relayed event cannot be read");
                }
            }
        }
    }
}

fn response(at: EntryId, item: Item) -> v1::EventsResponse {
    v1::EventsResponse { cursor: at.to_string(), item: Some(item) }
}

fn item(entry: &Entry) -> Option<Item> {
    let content = &entry.content;
    if &*content.name == GAP {
        let gap = content.gap().map(Into::into);
        return Some(Item::Gap(v1::ShardGap { shard_id: entry.shard.0, gap }));
    }
    let mark = match content.mark {
        Mark::Fresh => v1::EventMark::Fresh,
        Mark::Replayed => v1::EventMark::Replayed,
        Mark::Expired => v1::EventMark::Expired,
    };
    Some(Item::Event(v1::DispatchEvent {
        name: content.name.to_string(),
        shard_id: entry.shard.0,
        guild_id: content.guild.unwrap_or_default(),
        session: content.position.session,
        sequence: content.position.sequence,
        received_at_unix_ms: content.received_at_unix_ms,
        payload: content.payload().ok()?,
        mark: mark.into(),
        traceparent: content.traceparent.as_deref().unwrap_or_default().to_owned(),
    }))
}

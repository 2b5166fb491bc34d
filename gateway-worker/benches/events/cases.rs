//! The bot code of the cases, and a store that counts entries.

use std::{
    borrow::Cow,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fleet_model::{Epoch, ShardSlot};
use gateway_worker::{Context, Event, EventHandler, Position, ShardKey, Wanted, async_trait};
use relay::{Appended, EntryId, NewEntry, Page, RedisRelay, RelayError, RelayStore};
use serde::Deserialize;
use twilight_model::gateway::event::Event as TwilightEvent;

/// Does nothing.
pub(crate) struct Ignoring(pub(crate) Arc<AtomicU64>);

#[async_trait]
impl EventHandler for Ignoring {
    fn wants(&self) -> Wanted {
        Wanted::only(["MESSAGE_CREATE"])
    }

    async fn handle(&self, _: &Context, event: &Event) {
        black_box(event);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes the event as twilight's type.
pub(crate) struct Typed(pub(crate) Arc<AtomicU64>);

#[async_trait]
impl EventHandler for Typed {
    fn wants(&self) -> Wanted {
        Wanted::only(["MESSAGE_CREATE"])
    }

    async fn handle(&self, _: &Context, event: &Event) {
        let Ok(Some(TwilightEvent::MessageCreate(message))) = event.parse() else {
            panic!("a MESSAGE_CREATE is not a message");
        };
        black_box((message.author.id, message.content.len()));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    d: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    author: Author<'a>,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Author<'a> {
    id: &'a str,
}

/// Borrows the author's id and the content.
pub(crate) struct Borrowing(pub(crate) Arc<AtomicU64>);

#[async_trait]
impl EventHandler for Borrowing {
    fn wants(&self) -> Wanted {
        Wanted::only(["MESSAGE_CREATE"])
    }

    async fn handle(&self, _: &Context, event: &Event) {
        let Payload { d } = serde_json::from_str(event.raw()).unwrap();
        black_box((d.author.id, &d.content));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts the entries that its store has taken.
pub(crate) struct CountingStore {
    pub(crate) store: RedisRelay,
    pub(crate) appended: Arc<AtomicU64>,
}

#[async_trait]
impl RelayStore for CountingStore {
    async fn append(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        believed: Option<Position>,
        entries: &[NewEntry],
    ) -> Result<Appended, RelayError> {
        let appended = self.store.append(shard, epoch, believed, entries).await;
        if let Ok(Appended::Done { .. }) = appended {
            let messages = entries.iter().filter(|entry| &*entry.name == "MESSAGE_CREATE").count();
            self.appended.fetch_add(messages as u64, Ordering::Relaxed);
        }
        appended
    }

    async fn rewind(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        seen: Position,
        to: Position,
    ) -> Result<Appended, RelayError> {
        self.store.rewind(shard, epoch, seen, to).await
    }

    fn reader(&self) -> Arc<dyn RelayStore> {
        self.store.reader()
    }

    async fn newest(&self) -> Result<EntryId, RelayError> {
        self.store.newest().await
    }

    async fn generation(&self) -> Result<u64, RelayError> {
        self.store.generation().await
    }

    async fn reached(&self, shards: &[ShardSlot]) -> Result<Vec<Option<Position>>, RelayError> {
        self.store.reached(shards).await
    }

    async fn locate(&self, number: u64) -> Result<EntryId, RelayError> {
        self.store.locate(number).await
    }

    async fn read(
        &self,
        names: &relay::EventNames,
        after: EntryId,
        wait: Duration,
    ) -> Result<Page, RelayError> {
        self.store.read(names, after, wait).await
    }
}

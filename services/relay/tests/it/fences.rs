//! Events of a shard reach the streams wherever its fence stands: no session is skipped.

use std::{sync::Arc, time::Duration};

use fleet_model::{Epoch, ShardEvent};
use redis_fixture::RedisServer;
use relay::{
    Bounds, Caps, EntryId, GAP, Mark, MemoryRelay, Outbox, OutboxParts, Position, RelayMetrics, RelayStatus,
    RelayStore,
};

use super::{PATIENCE, SHARD, at, entries, read_from, redis_relay};

type Store = Arc<dyn RelayStore>;

/// When the fence is ahead: before the worker first hears from the store, or after it has relayed events.
#[derive(Clone, Copy, Debug)]
enum Ahead {
    Before(Position),
    After(Position),
}

struct Case {
    name: &'static str,
    fence: Ahead,
    /// Events pending on the previous owner.
    pending: &'static [(u64, u64)],
    /// New events.
    fresh: &'static [(u64, u64)],
    /// Events in the streams that are marked as replayed.
    marked: &'static [(u64, u64)],
}

const HIGHEST: u64 = (1 << 53) - 1;

const CASES: &[Case] = &[
    Case {
        name: "the clock of this worker is behind the one before",
        fence: Ahead::Before(Position { session: 900, sequence: 70 }),
        pending: &[],
        fresh: &[(100, 1), (100, 2), (100, 3)],
        marked: &[],
    },
    Case {
        name: "the fence has a higher sequence too",
        fence: Ahead::Before(Position { session: 101, sequence: 4_294_967_295 }),
        pending: &[],
        fresh: &[(100, 1), (100, 2)],
        marked: &[],
    },
    Case {
        name: "the fence is of a clock of another age",
        fence: Ahead::Before(Position { session: HIGHEST, sequence: HIGHEST }),
        pending: &[],
        fresh: &[(1_764_000_000_000, 1)],
        marked: &[],
    },
    Case {
        name: "a gap at the beginning of a session",
        fence: Ahead::Before(Position { session: 900, sequence: 1 }),
        pending: &[],
        fresh: &[(100, 0), (100, 1)],
        marked: &[],
    },
    Case {
        name: "pending events are below the fence, and the next session above it",
        fence: Ahead::Before(Position { session: 50, sequence: 9 }),
        pending: &[(40, 7), (40, 8)],
        fresh: &[(60, 1)],
        marked: &[(40, 7), (40, 8)],
    },
    Case {
        name: "two sessions that were pending are below the fence",
        fence: Ahead::Before(Position { session: 50, sequence: 9 }),
        pending: &[(30, 5), (40, 1)],
        fresh: &[(40, 2), (60, 1)],
        marked: &[(30, 5), (40, 1)],
    },
    Case {
        name: "the session that is resumed is below the fence",
        fence: Ahead::Before(Position { session: 50, sequence: 1 }),
        pending: &[(40, 7)],
        fresh: &[(40, 8), (40, 9)],
        marked: &[(40, 7)],
    },
    Case {
        name: "another Redis takes the place of the one before, with a fence ahead",
        fence: Ahead::After(Position { session: 900, sequence: 1 }),
        pending: &[],
        fresh: &[(100, 1), (100, 2), (100, 3)],
        marked: &[],
    },
    Case {
        name: "the fence is below",
        fence: Ahead::Before(Position { session: 90, sequence: 1_000 }),
        pending: &[(90, 1_001)],
        fresh: &[(100, 1), (100, 2)],
        marked: &[],
    },
];

fn event(position: Position) -> ShardEvent {
    let name = if position.sequence == 0 { GAP } else { "A" };
    ShardEvent {
        position,
        name: name.into(),
        guild: None,
        received_at_unix_ms: 1,
        traceparent: None,
        mark: Mark::Fresh,
        text: format!(r#"{{"t":"A","s":{},"op":0,"d":{{}}}}"#, position.sequence).into(),
    }
}

fn outbox(store: Store, epoch: u64) -> Outbox {
    Outbox::start(OutboxParts {
        store,
        bounds: Bounds { events: 1_000, bytes: 1024 * 1024 },
        metrics: RelayMetrics::default(),
        status: RelayStatus::default(),
        shard: SHARD,
        epoch: Epoch(epoch),
        runtime: tokio::runtime::Handle::current(),
    })
}

async fn until_sent(outbox: &Outbox) {
    let sent = async {
        while outbox.pending(|all| all.count()) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.expect("the events are taken");
}

/// Puts the fence ahead of this worker's events, at an epoch that is not above its own.
async fn put_ahead(store: &Store, fence: Position) {
    let mut ahead = entries("B", fence.session, fence.sequence..=fence.sequence);
    ahead[0].position = fence;
    store.append(SHARD, Epoch(1), None, &ahead).await.unwrap();
}

async fn streamed(store: &Store) -> Vec<(Position, Mark)> {
    let page = read_from(&**store, "all", EntryId::default()).await;
    let own = page.entries.iter().filter(|entry| &*entry.content.name != "B");
    own.map(|entry| (entry.content.position, entry.content.mark)).collect()
}

async fn no_event_is_omitted(case: &Case, store: Store) {
    let positions =
        |of: &[(u64, u64)]| of.iter().map(|(session, sequence)| at(*session, *sequence)).collect();
    let (pending, fresh): (Vec<Position>, Vec<Position>) = (positions(case.pending), positions(case.fresh));
    let outbox = match case.fence {
        Ahead::Before(fence) => {
            put_ahead(&store, fence).await;
            let outbox = outbox(store.clone(), 2);
            for position in &pending {
                outbox.push(event(*position));
            }
            outbox.begin();
            until_sent(&outbox).await;
            for position in &fresh {
                outbox.push(event(*position));
            }
            outbox
        }
        Ahead::After(fence) => {
            let outbox = outbox(store.clone(), 1);
            outbox.begin();
            let (last, before) = fresh.split_last().unwrap();
            for position in before {
                outbox.push(event(*position));
            }
            until_sent(&outbox).await;
            put_ahead(&store, fence).await;
            outbox.push(event(*last));
            outbox
        }
    };
    let sent: Vec<Position> = pending.into_iter().chain(fresh).collect();
    until_sent(&outbox).await;
    let streamed = streamed(&store).await;
    for position in &sent {
        assert!(streamed.iter().any(|(there, _)| there == position), "{}: {position} is lost", case.name);
    }
    let marked: Vec<Position> =
        streamed.iter().filter(|(_, mark)| *mark == Mark::Replayed).map(|(position, _)| *position).collect();
    let expected: Vec<Position> = positions(case.marked);
    assert_eq!(marked, expected, "{}", case.name);
    // The next owner goes on from there.
    let last = *sent.last().unwrap();
    let next = at(last.session, last.sequence + 1);
    let after = self::outbox(store.clone(), 3);
    after.push(event(next));
    after.begin();
    until_sent(&after).await;
    assert_eq!(self::streamed(&store).await.last(), Some(&(next, Mark::Fresh)), "{}", case.name);
}

#[tokio::test]
async fn no_session_is_skipped_in_memory() {
    for case in CASES {
        no_event_is_omitted(case, Arc::new(MemoryRelay::new(Caps::default()))).await;
    }
}

#[tokio::test]
async fn no_session_is_skipped_in_redis() {
    let redis = RedisServer::start().await;
    for (number, case) in CASES.iter().enumerate() {
        let prefix = format!("f{number}:");
        no_event_is_omitted(case, Arc::new(redis_relay(&redis.url(), &prefix, Caps::default()))).await;
    }
}

#[tokio::test]
async fn worker_learns_the_fence_before_its_first_session() {
    let store: Store = Arc::new(MemoryRelay::new(Caps::default()));
    put_ahead(&store, at(900, 7)).await;
    let outbox = outbox(store, 2);
    assert_eq!(outbox.reached(), None);
    outbox.begin();
    let heard = async {
        while outbox.reached().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("the store answers");
    assert_eq!(outbox.reached(), Some(at(900, 7)));
}

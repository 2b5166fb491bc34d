//! A shard is copied over a real connection while it runs, and handed off.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use checkpoint::{FORMAT_MAX, PendingEvent, Session};
use fleet_model::{Arriving, CopyTicket, Departing, Epoch, Position, ShardKey};
use serde_json::json;
use tokio::{net::TcpListener, sync::Notify, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;

use super::*;
use crate::{
    checkpoints::{WrittenFormat, writer::LastCheckpoint},
    rpc::{WorkerServer, WorkerService},
    shard_state::{Progress, ShardState},
    shards::{RunningShard, RunningShards},
    testing::{
        self, EPOCH, SHARD,
        guilds::{guild, member, ready, tell},
    },
};

const SESSION: u64 = 7;

/// A shard with a session of two guilds, read up to 3.
fn source() -> Arc<RunningShard> {
    let shard = testing::shard_at(EPOCH, "all");
    shard.cache().begin_session(SESSION, &ready(&[5, 6]));
    tell(shard.cache(), "GUILD_CREATE", &guild(5), 2);
    tell(shard.cache(), "GUILD_CREATE", &guild(6), 3);
    let session = Session {
        id: "s".to_owned(),
        resume_url: "ws://x".to_owned(),
        ordinal: SESSION,
        shard: None,
        total: testing::TOTAL,
        intents: 1,
        transport: "json".to_owned(),
        resources: Vec::new(),
        opened_at_unix_ms: 1,
    };
    let session = Arc::new(session);
    shard.set_progress(Some(Progress { session, began_at: 1, read: 3, read_at_unix_ms: 9 }));
    testing::running(&shard)
}

/// Serves it; the URL.
async fn serve(shard: &Arc<RunningShard>) -> String {
    serve_in(WrittenFormat::up_to(2), shard).await
}

/// Serves the shard in this format; returns the URL.
async fn serve_in(format: WrittenFormat, shard: &Arc<RunningShard>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shards = RunningShards::new("source".parse().unwrap());
    shards.publish(BTreeMap::from([(SHARD, shard.clone())]), BTreeMap::new());
    let service = WorkerService {
        worker: "source".parse().unwrap(),
        incarnation: Arc::new(ArcSwap::from_pointee("1".parse().unwrap())),
        shards,
        set_aside: Arc::new(checkpoint::CheckpointMemoryStore::new()),
        runtime: tokio::runtime::Handle::current(),
        format,
        taps: crate::tap::Taps::default(),
        credentials: process::credentials::Credentials::none(),
    };
    let server = tonic::transport::Server::builder().add_service(WorkerServer::new(service));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    url
}

struct Target {
    arrivals: Arrivals,
    changed: Arc<Notify>,
}

impl Target {
    /// Begins to copy the shard of an epoch, as told by a coordinator without tickets.
    fn copying(url: &str, epoch: Epoch) -> Self {
        Self::copying_with(None, url, epoch)
    }

    fn copying_with(ticket: Option<CopyTicket>, url: &str, epoch: Epoch) -> Self {
        let changed = Arc::new(Notify::new());
        let runtime = tokio::runtime::Handle::current();
        let worker = "target".parse().unwrap();
        let mut arrivals = Arrivals::new(
            worker,
            testing::cache("all"),
            process::credentials::Credentials::none(),
            runtime,
            changed.clone(),
        );
        let what = Arriving { epoch, from: "source".parse().unwrap(), url: url.to_owned(), ticket };
        arrivals.apply(&BTreeMap::from([(SHARD, what)]), &BTreeMap::new());
        Self { arrivals, changed }
    }

    /// Waits until it has all there is so far.
    async fn is_copied(&self) -> BTreeMap<ShardKey, Epoch> {
        timeout(Duration::from_secs(10), self.changed.notified()).await.unwrap();
        self.arrivals.copied()
    }
}

fn pending(sequence: u64) -> PendingEvent {
    let text = json!({ "op": 0, "t": "X", "s": sequence, "d": {} }).to_string();
    PendingEvent {
        position: Position::new(SESSION, sequence),
        started: false,
        handled: false,
        received_at_unix_ms: 1,
        text: text.into(),
    }
}

fn last(pending: Vec<PendingEvent>) -> LastCheckpoint {
    LastCheckpoint { pending, exact: true }
}

#[tokio::test]
async fn copy_includes_changes_made_meanwhile() {
    let shard = source();
    let mut target = Target::copying(&serve(&shard).await, EPOCH);
    assert_eq!(target.is_copied().await, BTreeMap::from([(SHARD, EPOCH)]));

    // It runs on: a guild is renamed, another one left.
    let mut renamed = guild(5);
    renamed["name"] = json!("renamed");
    tell(shard.cache(), "GUILD_UPDATE", &renamed, 4);
    tell(shard.cache(), "GUILD_DELETE", &json!({ "id": "6" }), 5);
    shard.set_read(5, 11);
    shard.copy_slot().hand_over(&shard, &last(vec![pending(5), pending(4)]));

    let HandoffState { head, guilds, pending } =
        target.arrivals.take(SHARD, Some(EPOCH)).unwrap().handoff_state().await.unwrap();
    assert_eq!((head.read, head.read_at_unix_ms, head.epoch, head.exact), (5, 11, EPOCH, true));
    assert_eq!(head.session, *shard.progress().unwrap().session);
    assert_eq!(pending.iter().map(|event| event.position.sequence).collect::<Vec<_>>(), [4, 5]);
    let there = testing::shard_at(Epoch(EPOCH.0 + 1), "all");
    there.cache().adopt(guilds);
    assert_eq!(there.cache().figures(), shard.cache().figures());
    assert_eq!(there.cache().guild(5).unwrap().name.as_deref(), Some("renamed"));
    assert_eq!(there.cache().guild(6), None);
    assert_eq!(there.cache().username(2 << 22), shard.cache().username(2 << 22));
}

#[tokio::test]
async fn shard_that_ends_before_its_handoff_leaves_nothing() {
    let shard = source();
    let mut target = Target::copying(&serve(&shard).await, EPOCH);
    target.is_copied().await;
    shard.copy_slot().close();
    let arrival = target.arrivals.take(SHARD, Some(EPOCH)).unwrap();
    assert!(arrival.handoff_state().await.is_none());
}

#[tokio::test]
async fn copy_of_another_session_is_dropped() {
    let shard = source();
    let mut target = Target::copying(&serve(&shard).await, EPOCH);
    target.is_copied().await;
    shard.cache().begin_session(SESSION + 1, &ready(&[5]));
    shard.copy_slot().hand_over(&shard, &last(Vec::new()));
    let arrival = target.arrivals.take(SHARD, Some(EPOCH)).unwrap();
    assert!(arrival.handoff_state().await.is_none());
}

#[tokio::test]
async fn failed_copy_is_not_waited_for() {
    let shard = source();
    let url = serve(&shard).await;
    // Another epoch than runs there; and no server at all.
    for (url, epoch) in [(url.as_str(), Epoch(EPOCH.0 + 1)), ("http://127.0.0.1:1", EPOCH)] {
        let mut target = Target::copying(url, epoch);
        assert_eq!(target.is_copied().await, BTreeMap::from([(SHARD, epoch)]), "it may move");
        let arrival = target.arrivals.take(SHARD, Some(epoch)).unwrap();
        assert!(arrival.handoff_state().await.is_none());
    }
}

#[tokio::test]
async fn copy_of_another_epoch_is_void() {
    let shard = source();
    let mut target = Target::copying(&serve(&shard).await, EPOCH);
    target.is_copied().await;
    shard.copy_slot().hand_over(&shard, &last(Vec::new()));
    assert!(target.arrivals.take(SHARD, Some(Epoch(EPOCH.0 + 5))).is_none());
    assert!(target.arrivals.copied().is_empty());
}

/// Members join or leave guild 5, one with each sequence.
fn come_and_go(shard: &RunningShard, name: &str, users: impl Iterator<Item = u64>, sequence: &mut u64) {
    for id in users {
        *sequence += 1;
        let mut one = member(id);
        one["guild_id"] = json!("5");
        tell(shard.cache(), name, &one, *sequence);
    }
}

#[tokio::test]
async fn copy_stays_in_the_format_that_it_began_in() {
    for (first, then) in [(3, 2), (2, 3), (1, 3)] {
        let (shard, mut sequence) = (source(), 3);
        come_and_go(&shard, "GUILD_MEMBER_ADD", 10..90, &mut sequence);
        come_and_go(&shard, "GUILD_MEMBER_REMOVE", (10..90).step_by(5), &mut sequence);
        let format = WrittenFormat::up_to(FORMAT_MAX);
        format.assign(first);
        let mut target = Target::copying(&serve_in(format.clone(), &shard).await, EPOCH);
        assert_eq!(target.is_copied().await, BTreeMap::from([(SHARD, EPOCH)]));

        // A worker of another version registers, or the last worker of an older version leaves.
        format.assign(then);
        come_and_go(&shard, "GUILD_MEMBER_REMOVE", 21..70, &mut sequence);
        come_and_go(&shard, "GUILD_MEMBER_UPDATE", 80..82, &mut sequence);
        shard.set_read(sequence, 11);
        shard.copy_slot().hand_over(&shard, &last(vec![pending(sequence)]));

        let HandoffState { guilds, pending, .. } =
            target.arrivals.take(SHARD, Some(EPOCH)).unwrap().handoff_state().await.unwrap();
        assert_eq!(pending.len(), 1);
        let there = testing::shard_at(Epoch(EPOCH.0 + 1), "all");
        there.cache().adopt(guilds);
        for guild in [5, 6] {
            assert_eq!(there.cache().guild(guild), shard.cache().guild(guild), "{first} {then}");
            let all = |shard: &ShardState| shard.cache().all_records(SESSION, guild, 1).unwrap().together;
            assert_eq!(all(&there), all(&shard), "{first} {then}");
        }
        for user in 1..90 {
            let name = |shard: &ShardState| shard.cache().username(user << 22);
            assert_eq!(name(&there), name(&shard), "{first} {then}: user {user}");
        }
    }
}

#[tokio::test]
async fn nothing_is_noted_for_a_copy_whose_target_is_gone() {
    let shard = source();
    let mut target = Target::copying(&serve(&shard).await, EPOCH);
    target.is_copied().await;
    assert!(shard.copy_slot().is_under_way());
    target.arrivals.clear();
    let ended = async {
        while shard.copy_slot().is_under_way() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), ended).await.unwrap();
    assert!(shard.cache().end_copy(SESSION, 1).unwrap().is_none());
}

/// What the source of a move is told.
fn departing(ticket: Option<CopyTicket>) -> Departing {
    Departing { epoch: EPOCH, to: "target".parse().unwrap(), ticket }
}

#[tokio::test]
async fn only_the_ticket_of_the_ordered_move_is_admitted() {
    let (own, other) = (CopyTicket([1; 32]), CopyTicket([2; 32]));
    let shard = source();
    let slot = shard.copy_slot();
    let admits = |ticket: &[u8]| [false, true].map(|must_present| slot.admit(ticket, must_present).is_ok());
    // No move is ordered, or by a coordinator without tickets; a wrong ticket is refused in any case.
    for order in [None, Some(departing(None))] {
        slot.order(order.as_ref());
        assert_eq!(admits(&[]), [true, false]);
        assert_eq!(admits(&own.0), [false, false]);
    }
    slot.order(Some(&departing(Some(own))));
    assert_eq!(admits(&own.0), [true, true]);
    assert_eq!(admits(&own.0), [true, true], "a copy may begin again after its stream broke");
    assert_eq!(admits(&other.0), [false, false]);
    assert_eq!(admits(&own.0[..31]), [false, false]);
    assert_eq!(admits(&[]), [true, false]);
    slot.order(Some(&departing(Some(other))));
    assert_eq!(admits(&own.0), [false, false], "the move was cancelled");

    slot.order(Some(&departing(Some(own))));
    let mut target = Target::copying_with(Some(own), &serve(&shard).await, EPOCH);
    target.is_copied().await;
    shard.copy_slot().hand_over(&shard, &last(Vec::new()));
    assert!(target.arrivals.take(SHARD, Some(EPOCH)).unwrap().handoff_state().await.is_some());
    assert_eq!(admits(&own.0), [false, false], "it is used up");
}

#[tokio::test]
async fn target_that_was_told_first_waits_for_the_source() {
    let shard = source();
    let ticket = CopyTicket([1; 32]);
    let target = Target::copying_with(Some(ticket), &serve(&shard).await, EPOCH);
    // Longer than all tries of a copy that fails in another way.
    assert!(timeout(Duration::from_secs(1), target.changed.notified()).await.is_err());
    shard.copy_slot().order(Some(&departing(Some(ticket))));
    assert_eq!(target.is_copied().await, BTreeMap::from([(SHARD, EPOCH)]));
    assert!(shard.copy_slot().is_under_way());
}

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use fleet_model::ShardStatus;
use tokio::sync::{Notify, watch};

use super::*;
use crate::{
    event::Event,
    lease::Lease,
    testing::{self, EPOCH},
};

/// What a run does.
#[derive(Clone, Copy)]
enum Does {
    /// Ends this long after it is cancelled.
    Obeys(Duration),
    /// Never ends by itself.
    Ignores,
    /// Blocks its thread until [`Work::may_return`].
    Blocks,
    Panics,
    Returns,
}

/// Counts its runs: those that began, and those that are under way.
struct Work {
    does: Mutex<Does>,
    began: watch::Sender<usize>,
    under_way: AtomicUsize,
    told: Notify,
    may_return: AtomicBool,
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventHandler for Work {
    async fn handle(&self, _: &Context, _: &Event) {}

    async fn singleton(&self, context: &Context, cancelled: CancellationToken) {
        assert_eq!(context.epoch(), EPOCH);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay(&self.under_way);
        self.began.send_modify(|began| *began += 1);
        let does = *self.does.lock().unwrap();
        match does {
            Does::Obeys(later) => {
                cancelled.cancelled().await;
                self.told.notify_one();
                tokio::time::sleep(later).await;
            }
            Does::Ignores => std::future::pending().await,
            Does::Blocks => {
                while !self.may_return.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Does::Panics => panic!("as the test has it"),
            Does::Returns => {}
        }
    }
}

fn singletons(work: Arc<Work>) -> Singletons {
    Singletons {
        code: testing::event_queues(work).code,
        timeout: Duration::from_secs(5),
        metrics: ShardMetrics::default(),
        runtime: Handle::current(),
    }
}

struct Bench {
    work: Arc<Work>,
    metrics: ShardMetrics,
    shard: Arc<ShardState>,
    lease: Lease,
    asked: CancellationToken,
    stop: CancellationToken,
    singleton: Singleton,
}

impl Bench {
    /// A shard that is not ready yet, under a lease that holds.
    fn new(does: Does) -> Self {
        let work = Arc::new(Work {
            does: Mutex::new(does),
            began: watch::Sender::new(0),
            under_way: AtomicUsize::new(0),
            told: Notify::new(),
            may_return: AtomicBool::new(false),
        });
        let shard = testing::shard_at(EPOCH, "none");
        let lease = Lease::default();
        lease.renewed(BootTime::now(), Duration::from_hours(1));
        let asked = CancellationToken::new();
        let singletons = singletons(work.clone());
        let (singleton, stop) = singletons.start(&shard, lease.window(), &asked);
        Self { work, metrics: singletons.metrics, shard, lease, asked, stop, singleton }
    }

    fn ready(&self) {
        self.shard.set_status(ShardStatus::Ready, "");
    }

    async fn until_began(&self, times: usize) {
        self.work.began.subscribe().wait_for(|began| *began >= times).await.unwrap();
    }

    fn runs(&self) -> (usize, usize) {
        (*self.work.began.borrow(), self.work.under_way.load(Ordering::SeqCst))
    }
}

#[tokio::test(start_paused = true)]
async fn singleton_runs_from_ready_and_ends_before_its_shard() {
    let bench = Bench::new(Does::Obeys(Duration::from_secs(3)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.runs(), (0, 0), "the shard is not ready");
    bench.ready();
    bench.until_began(1).await;
    bench.shard.set_status(ShardStatus::Reconnecting, "");
    bench.ready();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.runs(), (1, 1), "ready again is the same tenure");
    bench.asked.cancel();
    bench.work.told.notified().await;
    assert!(!bench.stop.is_cancelled(), "it has not ended yet");
    bench.stop.cancelled().await;
    assert_eq!(bench.runs(), (1, 0));
    bench.singleton.ended().await;
}

#[tokio::test(start_paused = true)]
async fn singleton_that_ignores_cancellation_is_aborted() {
    let bench = Bench::new(Does::Ignores);
    bench.ready();
    bench.until_began(1).await;
    let asked = Instant::now();
    bench.asked.cancel();
    bench.stop.cancelled().await;
    assert_eq!(bench.runs(), (1, 0));
    assert!(asked.elapsed() >= bench.singleton.grace && asked.elapsed() < bench.singleton.patience());
}

/// The alert about two singletons depends on it.
#[tokio::test(flavor = "multi_thread")]
async fn singleton_that_blocks_its_thread_counts_as_running_until_it_returns() {
    let bench = Bench::new(Does::Blocks);
    bench.ready();
    bench.until_began(1).await;
    bench.shard.outranked(fleet_model::Epoch(EPOCH.0 + 1));
    bench.singleton.ended().await;
    assert_eq!(bench.metrics.running_singletons(), 1, "given up, and still running");
    bench.work.may_return.store(true, Ordering::SeqCst);
    while bench.metrics.running_singletons() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn panics_are_retried_with_growing_waits_and_a_return_ends_it() {
    let bench = Bench::new(Does::Panics);
    let began = Instant::now();
    bench.ready();
    bench.until_began(4).await;
    assert!(began.elapsed() >= FIRST * (1 + 2 + 4), "{:?}", began.elapsed());
    *bench.work.does.lock().unwrap() = Does::Returns;
    bench.until_began(5).await;
    tokio::time::sleep(LONGEST * 3).await;
    assert_eq!(bench.runs(), (5, 0), "done for this tenure");
    assert!(!bench.stop.is_cancelled());
    bench.asked.cancel();
    bench.stop.cancelled().await;
}

#[tokio::test]
async fn singleton_ends_with_the_lease_and_restarts_with_it() {
    let bench = Bench::new(Does::Ignores);
    let short = Lease::default();
    let (singleton, _stop) = singletons(bench.work.clone()).start(&bench.shard, short.window(), &bench.asked);
    drop(bench.singleton);
    bench.shard.set_status(ShardStatus::Ready, "");
    tokio::time::sleep(LOOK * 3).await;
    assert_eq!(*bench.work.began.borrow(), 0, "no lease yet");
    let mut began = bench.work.began.subscribe();
    short.renewed(BootTime::now(), Duration::from_millis(500));
    began.wait_for(|began| *began == 1).await.unwrap();
    // 400 ms, and what it may take to end.
    tokio::time::timeout(Duration::from_secs(10), async {
        while bench.work.under_way.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    assert!(!short.is_open(BootTime::now()), "it ended as the lease was over");
    short.renewed(BootTime::now(), Duration::from_hours(1));
    began.wait_for(|began| *began == 2).await.unwrap();
    bench.shard.outranked(fleet_model::Epoch(EPOCH.0 + 1));
    singleton.ended().await;
    assert_eq!(bench.work.under_way.load(Ordering::SeqCst), 0, "another has the shard");
}

#[tokio::test(start_paused = true)]
async fn singleton_of_a_hanging_shard_ends_before_the_shard_is_given_up() {
    let mut bench = Bench::new(Does::Ignores);
    bench.ready();
    bench.until_began(1).await;
    let now = BootTime::now();
    assert!(!bench.singleton.cancel_and_check(now), "it is told now");
    bench.stop.cancelled().await;
    assert_eq!(bench.runs(), (1, 0));
    (&mut bench.singleton.keeper).await.unwrap();
    assert!(bench.singleton.cancel_and_check(now));
    assert!(bench.lease.is_open(BootTime::now()));
}

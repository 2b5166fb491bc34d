//! The bot's singleton moves with shard 0, and never runs twice at once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use altergolden_proto::v1::{Shard, ShardStatus};
use gateway_worker::{Context, Event, EventHandler, Wanted, async_trait};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, Recorder, sim};

/// How long a run takes to end when it is told to.
const WINDS_UP: Duration = Duration::from_secs(1);

/// One run, as the bot itself saw it.
#[derive(Clone, Debug)]
struct Run {
    worker: &'static str,
    epoch: u64,
    began: Instant,
    ended: Option<Instant>,
}

/// What all workers of the test write their runs into.
type Ledger = Arc<watch::Sender<Vec<Run>>>;

struct Bot {
    worker: &'static str,
    ledger: Ledger,
    /// Its first run panics.
    panics: Mutex<bool>,
}

/// Writes the end, by a panic or an abort too.
struct Ending<'a>(&'a Ledger, usize);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|runs| runs[self.1].ended = Some(Instant::now()));
    }
}

#[async_trait]
impl EventHandler for Bot {
    fn wants(&self) -> Wanted {
        Wanted::Nothing
    }

    async fn handle(&self, _: &Context, _: &Event) {}

    async fn singleton(&self, context: &Context, cancelled: CancellationToken) {
        let mut number = 0;
        self.ledger.send_modify(|runs| {
            number = runs.len();
            let epoch = context.epoch().0;
            runs.push(Run { worker: self.worker, epoch, began: Instant::now(), ended: None });
        });
        let _ending = Ending(&self.ledger, number);
        let panics = std::mem::take(&mut *self.panics.lock().unwrap());
        assert!(!panics, "as the test has it");
        cancelled.cancelled().await;
        tokio::time::sleep(WINDS_UP).await;
    }
}

fn bot(worker: &'static str, ledger: &Ledger) -> Arc<Bot> {
    Arc::new(Bot { worker, ledger: ledger.clone(), panics: Mutex::new(worker == "a") })
}

async fn until(ledger: &Ledger, what: &str, is: impl FnMut(&Vec<Run>) -> bool) -> Vec<Run> {
    let mut runs = ledger.subscribe();
    let waited = tokio::time::timeout(Duration::from_mins(1), runs.wait_for(is)).await;
    waited.unwrap_or_else(|_| panic!("gave up waiting: {what}; {:?}", ledger.borrow())).unwrap().clone()
}

fn ready_on(worker: &'static str) -> impl Fn(&Shard) -> bool {
    move |shard| shard.worker_id == worker && shard.status == i32::from(ShardStatus::Ready)
}

#[tokio::test(flavor = "multi_thread")]
async fn singleton_moves_with_shard_0_and_never_runs_twice() {
    let mut bench = Bench::without_workers(sim(5), Recorder::default()).await;
    let ledger = Ledger::default();
    let a = bench.worker("a", bot("a", &ledger), &[]).await;
    bench.until("a to have the shard", ready_on("a")).await;
    until(&ledger, "a run after the panic", |runs| runs.len() == 2 && runs[0].ended.is_some()).await;
    let b = bench.worker("b", bot("b", &ledger), &[]).await;
    a.cancel();
    bench.until("b to have the shard", ready_on("b")).await;
    until(&ledger, "b's run", |runs| runs.len() == 3).await;
    let c = bench.worker("c", bot("c", &ledger), &["--singleton-timeout=200ms"]).await;
    b.cancel();
    bench.until("c to have the shard", ready_on("c")).await;
    until(&ledger, "c's run", |runs| runs.len() == 4).await;
    c.cancel();
    let runs = until(&ledger, "the end", |runs| runs.iter().all(|run| run.ended.is_some())).await;

    let workers: Vec<&str> = runs.iter().map(|run| run.worker).collect();
    assert_eq!(workers, ["a", "a", "b", "c"]);
    for pair in runs.windows(2) {
        assert!(pair[1].began >= pair[0].ended.unwrap(), "two at once: {pair:#?}");
        let moved = pair[0].worker != pair[1].worker;
        assert_eq!(pair[1].epoch > pair[0].epoch, moved, "{pair:#?}");
    }
    let took = |run: &Run| run.ended.unwrap() - run.began;
    assert!(took(&runs[1]) >= WINDS_UP && took(&runs[2]) >= WINDS_UP, "they could end in order: {runs:#?}");
    bench.finish().await;
}

//! Handlers that keep their threads busy.

use std::{collections::HashMap, sync::mpsc as blocking};

use tokio::runtime::Runtime;

use super::*;

/// A dispatcher whose handlers have this many threads of their own.
fn on_threads<H: Handler<()>>(
    threads: usize,
    handler: Arc<H>,
    limits: Limits,
) -> (Runtime, Dispatcher<(), H>) {
    let handlers = runtime::Builder::new_multi_thread().worker_threads(threads).build().unwrap();
    let setup = Setup {
        handler,
        limits,
        runtime: handlers.handle().clone(),
        stragglers: TaskTracker::new(),
        clock: Arc::new(|| Duration::ZERO),
        metrics: DispatchMetrics::default(),
    };
    (handlers, Dispatcher::start(setup, 0, 1))
}

/// Reports each event to the test. Blocks its thread at event 1 until the test releases it; `twice`: again after it has waited.
struct Blocks {
    release: Mutex<blocking::Receiver<()>>,
    seen: mpsc::UnboundedSender<u64>,
    twice: bool,
}

impl Blocks {
    fn block(&self) {
        let _ = self.release.lock().unwrap().recv();
    }
}

#[async_trait]
impl Handler<()> for Blocks {
    async fn handle(&self, event: &Delivery<()>) {
        let _ = self.seen.send(event.sequence());
        if event.sequence() == 1 {
            self.block();
            if self.twice {
                tokio::task::yield_now().await;
                self.block();
            }
        }
    }
}

#[tokio::test]
async fn blocked_thread_holds_up_no_event_that_another_can_take() {
    let (release, blocked) = blocking::channel();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let (handlers, dispatcher) = on_threads(
        2,
        Arc::new(Blocks { release: Mutex::new(blocked), seen: sender, twice: false }),
        Limits::default(),
    );
    // Events before the block, together with it, and after it.
    for sequence in [0, 1, 2, 3] {
        dispatcher.add(item(sequence, Some(sequence), ())).unwrap();
    }
    dispatcher.start_all();
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(tokio::time::timeout(DEADLINE, seen.recv()).await.unwrap().unwrap());
    }
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2, 3]);
    dispatcher.push(item(4, Some(4), ())).unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, seen.recv()).await.unwrap(), Some(4));
    drop(release);
    dispatcher.close(DEADLINE).await;
    handlers.shutdown_background();
}

#[tokio::test]
async fn handler_that_waits_and_then_blocks_its_thread_holds_up_no_other() {
    let (release, blocked) = blocking::channel();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let handler = Arc::new(Blocks { release: Mutex::new(blocked), seen: sender, twice: true });
    let (handlers, dispatcher) = on_threads(2, handler, Limits::default());
    dispatcher.push(item(1, Some(1), ())).unwrap();
    assert_eq!(seen.recv().await, Some(1));
    // The handler of event 1 starts this one when it waits, and then blocks its thread again.
    dispatcher.add(item(2, Some(2), ())).unwrap();
    release.send(()).unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, seen.recv()).await.unwrap(), Some(2));
    drop(release);
    dispatcher.close(DEADLINE).await;
    handlers.shutdown_background();
}

/// Works for longer than a slice at each event, and notes how often the other task had its turn by then.
struct Works(Arc<AtomicUsize>, mpsc::UnboundedSender<usize>);

#[async_trait]
impl Handler<()> for Works {
    async fn handle(&self, _: &Delivery<()>) {
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(4) {
            std::hint::spin_loop();
        }
        let _ = self.1.send(self.0.load(Ordering::SeqCst));
    }
}

#[tokio::test]
async fn handlers_that_work_long_leave_the_thread_to_other_tasks_between_events() {
    const EVENTS: u64 = 20;
    let (turns, (sender, mut seen)) = (Arc::new(AtomicUsize::new(0)), mpsc::unbounded_channel());
    let (handlers, dispatcher) = on_threads(1, Arc::new(Works(turns.clone(), sender)), Limits::default());
    for sequence in 1..=EVENTS {
        dispatcher.add(item(sequence, Some(sequence), ())).unwrap();
    }
    handlers.spawn(async move {
        loop {
            turns.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    dispatcher.start_all();
    let mut before = Vec::new();
    for _ in 1..=EVENTS {
        before.push(tokio::time::timeout(DEADLINE, seen.recv()).await.unwrap().unwrap());
    }
    assert!(before.windows(2).all(|pair| pair[0] < pair[1]), "{before:?}");
    handlers.shutdown_background();
}

#[tokio::test]
async fn a_handler_that_blocks_its_thread_blocks_handlers_at_most() {
    let (release, blocked) = blocking::channel();
    let (sender, mut seen) = mpsc::unbounded_channel();
    let (handlers, dispatcher) = on_threads(
        1,
        Arc::new(Blocks { release: Mutex::new(blocked), seen: sender, twice: false }),
        Limits { items: 4, ..Limits::default() },
    );
    dispatcher.push(item(1, Some(1), ())).unwrap();
    seen.recv().await.unwrap();
    // The only thread of the handlers' runtime is blocked now; this one is not.
    for sequence in 2..=4 {
        dispatcher.push(item(sequence, Some(sequence), ())).unwrap();
    }
    assert!(dispatcher.push(item(5, None, ())).is_err());
    assert_eq!(dispatcher.figures().len, 4);
    let closed = dispatcher.close(Duration::from_millis(1)).await;
    let unstarted: Vec<u64> = closed.unstarted.iter().map(|item| item.sequence).collect();
    assert_eq!(
        (closed.still_running, unstarted),
        (1, vec![2, 3, 4]),
        "a handler that was not called is not running"
    );
    drop(release);
    dispatcher.close(DEADLINE).await;
    assert_eq!(dispatcher.figures(), QueueFigures::default());
    handlers.shutdown_background();
}

/// Adds up, and sees what overlaps.
#[derive(Default)]
struct Ledger {
    running: AtomicUsize,
    most: AtomicUsize,
    by_lane: Mutex<HashMap<u64, Vec<u64>>>,
}

#[async_trait]
impl Handler<()> for Ledger {
    async fn handle(&self, event: &Delivery<()>) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.by_lane.lock().unwrap().entry(event.lane().unwrap()).or_default().push(event.sequence());
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn events_on_many_threads_run_once_and_in_order() {
    const EVENTS: u64 = 20_000;
    let ledger = Arc::new(Ledger::default());
    let (handlers, dispatcher) =
        on_threads(4, ledger.clone(), Limits { at_once: 8, items: 100, ..Limits::default() });
    for sequence in 0..EVENTS {
        let mut event = item(sequence, Some(sequence % 37 % 20), ());
        while let Err(refused) = dispatcher.push(event) {
            event = refused.into_item();
            tokio::time::timeout(DEADLINE, dispatcher.drained_to_half()).await.unwrap();
        }
    }
    while dispatcher.figures().len > 0 {
        tokio::task::yield_now().await;
    }
    let by_lane = ledger.by_lane.lock().unwrap();
    assert_eq!(by_lane.values().map(Vec::len).sum::<usize>() as u64, EVENTS);
    assert!(by_lane.values().all(|lane| lane.is_sorted_by(|one, next| one < next)));
    assert!(ledger.most.load(Ordering::SeqCst) <= 8);
    drop(by_lane);
    handlers.shutdown_background();
}

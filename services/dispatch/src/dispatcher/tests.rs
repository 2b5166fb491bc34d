use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};

use super::*;
use HandlerEvent::{Began, Ended};

mod careful;
mod threads;

/// For what comes at once: a wake-up that is lost fails the test instead of hanging it.
const DEADLINE: Duration = Duration::from_secs(30);

/// What the handler of a test does with an event.
#[derive(Clone, Debug)]
enum Step {
    /// Ends at once.
    Nothing,
    /// Waits until the gate lets one through.
    Wait,
    /// Panics, after it was polled once.
    Panic,
}

/// Tells of each start and end, and does what the event says.
struct Scripted {
    seen: mpsc::UnboundedSender<HandlerEvent>,
    gate: Semaphore,
}

#[derive(Debug, PartialEq, Eq)]
enum HandlerEvent {
    Began(u64),
    Ended(u64),
}

#[async_trait]
impl Handler<Step> for Scripted {
    async fn handle(&self, event: &Delivery<Step>) {
        let _ = self.seen.send(Began(event.sequence()));
        match event.payload() {
            Step::Nothing => {}
            Step::Wait => self.gate.acquire().await.unwrap().forget(),
            Step::Panic => {
                tokio::task::yield_now().await;
                panic!("sequence {}", event.sequence());
            }
        }
        let _ = self.seen.send(Ended(event.sequence()));
    }
}

struct World {
    dispatcher: Dispatcher<Step, Scripted>,
    handler: Arc<Scripted>,
    seen: mpsc::UnboundedReceiver<HandlerEvent>,
    metrics: DispatchMetrics,
    stragglers: TaskTracker,
    now: Arc<AtomicU64>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let handler = Arc::new(Scripted { seen: sender, gate: Semaphore::new(0) });
        let now = Arc::new(AtomicU64::new(0));
        let clock = now.clone();
        let setup = Setup {
            handler: handler.clone(),
            limits,
            runtime: runtime::Handle::current(),
            stragglers: TaskTracker::new(),
            clock: Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))),
            metrics: DispatchMetrics::default(),
        };
        let (metrics, stragglers) = (setup.metrics.clone(), setup.stragglers.clone());
        Self { dispatcher: Dispatcher::start(setup, 3, 70), handler, seen, metrics, stragglers, now }
    }

    fn push(&self, sequence: u64, lane: u64, payload: Step) {
        self.dispatcher.push(item(sequence, Some(lane), payload)).unwrap();
    }

    async fn expect(&mut self, seen: impl IntoIterator<Item = HandlerEvent>) {
        for seen in seen {
            assert_eq!(self.seen.recv().await, Some(seen));
        }
    }

    fn pending(&self) -> Vec<(u64, bool)> {
        self.dispatcher
            .pending(|pending| pending.map(|pending| (pending.item.sequence, pending.started)).collect())
    }
}

fn item<T>(sequence: u64, lane: Option<u64>, payload: T) -> Item<T> {
    Item {
        sequence,
        lane,
        suspect: false,
        kind: "MESSAGE_CREATE".into(),
        bytes: 10,
        received_at: Duration::ZERO,
        payload,
    }
}

#[tokio::test]
async fn in_order_in_a_lane_and_lanes_side_by_side() {
    let mut world = World::new(Limits::default());
    world.push(1, 1, Step::Wait);
    world.push(2, 1, Step::Nothing);
    world.push(3, 2, Step::Nothing);
    // Sequence 3 passes 1, which waits; 2 does not.
    world.expect([Began(1), Began(3), Ended(3)]).await;
    assert_eq!(world.pending(), [(1, true), (2, false)]);
    world.handler.gate.add_permits(1);
    world.expect([Ended(1), Began(2), Ended(2)]).await;
}

#[tokio::test]
async fn added_events_start_together() {
    let mut world = World::new(Limits::default());
    for (sequence, lane) in [(1, 1), (2, 2), (3, 1)] {
        world.dispatcher.add(item(sequence, Some(lane), Step::Nothing)).unwrap();
    }
    tokio::task::yield_now().await;
    assert_eq!(world.pending(), [(1, false), (2, false), (3, false)]);
    world.dispatcher.start_all();
    world.expect([Began(1), Ended(1), Began(2), Ended(2), Began(3), Ended(3)]).await;
}

#[tokio::test]
async fn full_queue_returns_without_waiting() {
    let mut world = World::new(Limits { items: 2, ..Limits::default() });
    world.push(1, 1, Step::Wait);
    world.push(2, 2, Step::Wait);
    assert!(!world.dispatcher.has_room(0));
    assert!(world.dispatcher.fill_with(0) > 1.0);
    let refused = world.dispatcher.push(item(3, None, Step::Nothing)).unwrap_err();
    assert!(matches!(refused, Refused::Full(_)));
    assert_eq!(refused.into_item().sequence, 3);
    world.expect([Began(1), Began(2)]).await;
}

#[tokio::test]
async fn bounds_count_items_and_bytes_and_end_with_the_shut() {
    let world = World::new(Limits { items: 8, bytes: 40, ..Limits::default() });
    assert!(world.dispatcher.has_room(40) && world.dispatcher.at_most_half());
    world.push(1, 1, Step::Wait);
    world.push(2, 2, Step::Wait);
    assert!(world.dispatcher.at_most_half(), "20 of 40 bytes");
    world.push(3, 3, Step::Wait);
    assert!(!world.dispatcher.at_most_half() && !world.dispatcher.has_room(11), "30 of 40 bytes");
    world.dispatcher.push_over_bound(Item { bytes: 100, ..item(4, Some(4), Step::Wait) }).unwrap();
    assert_eq!(world.pending().len(), 4);

    assert!(!world.dispatcher.is_shut());
    world.dispatcher.shut();
    assert!(world.dispatcher.is_shut());
    let refused = world.dispatcher.push_over_bound(item(5, Some(5), Step::Nothing)).unwrap_err();
    assert!(matches!(refused, Refused::Closed(item) if item.sequence == 5));
}

#[tokio::test]
async fn drained_to_half_wakes_at_half() {
    let mut world = World::new(Limits { items: 4, ..Limits::default() });
    for sequence in 1..=4 {
        world.push(sequence, sequence, Step::Wait);
    }
    let dispatcher = world.dispatcher.clone();
    let drained = tokio::spawn(async move { dispatcher.drained_to_half().await });
    world.expect([Began(1), Began(2), Began(3), Began(4)]).await;
    world.handler.gate.add_permits(1);
    world.expect([Ended(1)]).await;
    assert!(!drained.is_finished() && !world.dispatcher.at_most_half());
    world.handler.gate.add_permits(1);
    world.expect([Ended(2)]).await;
    tokio::time::timeout(DEADLINE, drained).await.unwrap().unwrap();
    assert_eq!(world.dispatcher.figures().len, 2);
    // What holds already is not waited for.
    world.dispatcher.drained_to_half().await;
}

#[tokio::test]
async fn panic_is_counted_and_its_lane_continues() {
    let mut world = World::new(Limits::default());
    world.push(1, 1, Step::Panic);
    world.push(2, 1, Step::Nothing);
    world.expect([Began(1), Began(2), Ended(2)]).await;
    let closed = world.dispatcher.close(Duration::from_secs(1)).await;
    assert!(closed.unstarted.is_empty() && closed.still_running == 0);
    let mut registry = prometheus_client::registry::Registry::default();
    world.metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("dispatch_panics_total{kind=\"MESSAGE_CREATE\"} 1\n"), "{text}");
    assert!(text.contains("dispatch_handled_total{kind=\"MESSAGE_CREATE\"} 2\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn closing_waits_no_longer_than_its_patience() {
    let mut world = World::new(Limits { at_once: 2, ..Limits::default() });
    for sequence in 1..=4 {
        world.push(sequence, sequence, Step::Wait);
    }
    world.expect([Began(1), Began(2)]).await;
    let from = tokio::time::Instant::now();
    let closed = world.dispatcher.close(Duration::from_millis(250)).await;
    assert_eq!(from.elapsed(), Duration::from_millis(250));
    assert_eq!(closed.unstarted.iter().map(|item| item.sequence).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(closed.still_running, 2);
    assert_eq!(world.pending(), [(1, true), (2, true)]);
    let refused = world.dispatcher.push(item(5, None, Step::Nothing)).unwrap_err();
    assert!(matches!(refused, Refused::Closed(_)) && !world.dispatcher.has_room(0));
    // The slow ones go on to their end, and the owner of the process can wait for them.
    world.stragglers.close();
    assert!(!world.stragglers.is_empty());
    world.handler.gate.add_permits(2);
    world.stragglers.wait().await;
    world.expect([Ended(1), Ended(2)]).await;
    assert_eq!(world.pending(), []);
    assert_eq!(world.seen.try_recv(), Err(mpsc::error::TryRecvError::Empty));
}

/// Waits before each event until the test releases it.
struct Hesitant {
    seen: mpsc::UnboundedSender<HandlerEvent>,
    gate: Semaphore,
}

#[async_trait]
impl Handler<()> for Hesitant {
    async fn admit(&self, event: &Delivery<()>) -> Admission {
        let _ = self.seen.send(Began(event.sequence()));
        self.gate.acquire().await.unwrap().forget();
        Admission::Handle
    }

    async fn handle(&self, event: &Delivery<()>) {
        let _ = self.seen.send(Ended(event.sequence()));
    }
}

#[tokio::test]
async fn shut_dispatcher_calls_no_handler_even_for_started_events() {
    let (seen, mut words) = mpsc::unbounded_channel();
    let handler = Arc::new(Hesitant { seen, gate: Semaphore::new(0) });
    let setup = Setup {
        handler: handler.clone(),
        limits: Limits::default(),
        runtime: runtime::Handle::current(),
        stragglers: TaskTracker::new(),
        clock: Arc::new(|| Duration::ZERO),
        metrics: DispatchMetrics::default(),
    };
    let stragglers = setup.stragglers.clone();
    let dispatcher = Dispatcher::start(setup, 0, 1);
    for (sequence, lane) in [(1, 1), (2, 1), (3, 2)] {
        dispatcher.push(item(sequence, Some(lane), ())).unwrap();
    }
    assert_eq!((words.recv().await, words.recv().await), (Some(Began(1)), Some(Began(3))));
    dispatcher.shut();
    handler.gate.add_permits(9);
    stragglers.close();
    stragglers.wait().await;
    assert!(words.try_recv().is_err(), "no handler was called, and no event admitted");
    let closed = dispatcher.close(DEADLINE).await;
    let unstarted: Vec<u64> = closed.unstarted.iter().map(|item| item.sequence).collect();
    assert_eq!((unstarted, closed.still_running), (vec![1, 2, 3], 0));
}

#[tokio::test(start_paused = true)]
async fn closing_returns_as_soon_as_nothing_runs() {
    let mut world = World::new(Limits { at_once: 1, ..Limits::default() });
    world.push(1, 1, Step::Wait);
    world.push(2, 2, Step::Wait);
    world.expect([Began(1)]).await;
    let closing = tokio::spawn({
        let dispatcher = world.dispatcher.clone();
        async move { dispatcher.close(DEADLINE).await }
    });
    while world.dispatcher.has_room(0) {
        tokio::task::yield_now().await;
    }
    // All of it still shows, for a checkpoint that is written meanwhile.
    assert_eq!(world.pending(), [(1, true), (2, false)]);
    world.handler.gate.add_permits(1);
    let from = tokio::time::Instant::now();
    let closed = closing.await.unwrap();
    assert_eq!(from.elapsed(), Duration::ZERO);
    assert_eq!((closed.unstarted.len(), closed.still_running), (1, 0));
    world.expect([Ended(1)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_dropped_loses_nothing() {
    let mut world = World::new(Limits { at_once: 1, ..Limits::default() });
    world.push(1, 1, Step::Wait);
    world.push(2, 1, Step::Wait);
    world.expect([Began(1)]).await;
    let dropped = tokio::time::timeout(Duration::from_secs(1), world.dispatcher.close(Duration::MAX)).await;
    assert!(dropped.is_err());
    world.handler.gate.add_permits(1);
    let closed = world.dispatcher.close(DEADLINE).await;
    assert_eq!((closed.unstarted.len(), closed.still_running), (1, 0));
}

#[tokio::test]
async fn figures_and_the_wait_are_by_the_owners_clock() {
    struct Waited(mpsc::UnboundedSender<Duration>);
    #[async_trait]
    impl Handler<()> for Waited {
        async fn handle(&self, event: &Delivery<()>) {
            let _ = self.0.send(event.queued_for);
        }
    }
    let world = World::new(Limits::default());
    world.push(1, 1, Step::Wait);
    world.now.store(7, Ordering::Relaxed);
    let figures = world.dispatcher.figures();
    assert_eq!((figures.len, figures.bytes, figures.oldest), (1, 10, Some(Duration::from_secs(7))));

    let (sender, mut seen) = mpsc::unbounded_channel();
    let setup = Setup {
        handler: Arc::new(Waited(sender)) as Arc<dyn Handler<()>>,
        limits: Limits::default(),
        runtime: runtime::Handle::current(),
        stragglers: TaskTracker::new(),
        clock: world.dispatcher.0.setup.clock.clone(),
        metrics: DispatchMetrics::default(),
    };
    // A handler that is chosen at run time will do.
    Dispatcher::start(setup, 0, 1).push(item(1, None, ())).unwrap();
    assert_eq!(seen.recv().await, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn panic_while_listing_pending_events_stops_nothing() {
    let mut world = World::new(Limits::default());
    world.push(1, 1, Step::Nothing);
    let dispatcher = world.dispatcher.clone();
    let looked = tokio::spawn(async move { dispatcher.pending(|_| panic!("while it looks")) });
    assert!(looked.await.is_err());
    world.push(2, 1, Step::Nothing);
    world.expect([Began(1), Ended(1), Began(2), Ended(2)]).await;
}

#[tokio::test]
async fn event_of_a_dropped_runtime_stays_pending() {
    let handlers = runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let mut world = World::new(Limits::default());
    let setup = Setup { runtime: handlers.handle().clone(), ..world.dispatcher.0.setup.clone() };
    world.dispatcher = Dispatcher::start(setup, 3, 71);
    world.push(1, 1, Step::Wait);
    world.push(2, 1, Step::Wait);
    world.expect([Began(1)]).await;
    world.stragglers.close();
    handlers.shutdown_background();
    world.stragglers.wait().await;
    assert_eq!(world.pending(), [(1, true), (2, false)]);
}

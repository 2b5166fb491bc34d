//! Suspects: the dispatcher asks for permission before each suspect, and reports its end.

use tokio::sync::Notify;

use super::*;
use Word::{Asked, Began as Begins, Ended as Ends, LetGo};

/// Admits events as the test says, and records all calls.
struct Watchful {
    seen: mpsc::UnboundedSender<Word>,
    gate: Semaphore,
    closing: Notify,
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Asked(u64),
    Began(u64, bool),
    LetGo(u64),
    Ended(u64),
}

#[derive(Clone, Copy, Debug)]
enum CarefulStep {
    Nothing,
    Wait,
    Panic,
    LeaveOut,
    PutBackAtTheEnd,
}

#[async_trait]
impl Handler<CarefulStep> for Watchful {
    async fn handle(&self, event: &Delivery<CarefulStep>) {
        let _ = self.seen.send(Begins(event.sequence(), event.alone));
        match event.payload() {
            CarefulStep::Wait => self.gate.acquire().await.unwrap().forget(),
            CarefulStep::Panic => panic!("sequence {}", event.sequence()),
            CarefulStep::Nothing | CarefulStep::LeaveOut | CarefulStep::PutBackAtTheEnd => {}
        }
    }

    async fn admit(&self, event: &Delivery<CarefulStep>) -> Admission {
        if !event.alone {
            return Admission::Handle;
        }
        let _ = self.seen.send(Asked(event.sequence()));
        match event.payload() {
            CarefulStep::LeaveOut => Admission::LeaveOut,
            CarefulStep::PutBackAtTheEnd => {
                self.closing.notified().await;
                Admission::PutBack
            }
            CarefulStep::Nothing | CarefulStep::Wait | CarefulStep::Panic => Admission::Handle,
        }
    }

    async fn ended(&self, event: &Delivery<CarefulStep>) {
        let _ = self.seen.send(Ends(event.sequence()));
    }

    async fn let_go(&self, event: &Delivery<CarefulStep>) {
        let _ = self.seen.send(LetGo(event.sequence()));
    }
}

struct Watched {
    dispatcher: Dispatcher<CarefulStep, Watchful>,
    handler: Arc<Watchful>,
    words: mpsc::UnboundedReceiver<Word>,
}

impl Watched {
    fn new() -> Self {
        Self::careful(false)
    }

    fn careful(brief: bool) -> Self {
        let (seen, words) = mpsc::unbounded_channel();
        let handler = Arc::new(Watchful { seen, gate: Semaphore::new(0), closing: Notify::new() });
        let setup = Setup {
            handler: handler.clone(),
            limits: Limits::default(),
            runtime: runtime::Handle::current(),
            stragglers: TaskTracker::new(),
            clock: Arc::new(|| Duration::ZERO),
            metrics: DispatchMetrics::default(),
        };
        let dispatcher = Dispatcher::start(setup, 3, 70);
        dispatcher.begin_carefully(brief);
        Self { dispatcher, handler, words }
    }

    fn push(&self, sequence: u64, suspect: bool, what: CarefulStep) {
        let item = Item { suspect, ..item(sequence, Some(sequence), what) };
        self.dispatcher.push(item).unwrap();
    }

    async fn expect(&mut self, words: impl IntoIterator<Item = Word>) {
        for word in words {
            assert_eq!(self.words.recv().await, Some(word));
        }
    }
}

#[tokio::test]
async fn suspects_are_requested_handled_alone_and_reported_before_others_start() {
    let mut watched = Watched::new();
    watched.push(4, false, CarefulStep::Wait);
    watched.push(5, false, CarefulStep::Wait);
    for (sequence, what) in [(1, CarefulStep::Nothing), (2, CarefulStep::Panic), (3, CarefulStep::LeaveOut)] {
        watched.push(sequence, true, what);
    }
    watched.expect([Asked(1), Begins(1, true), Ends(1)]).await;
    watched.expect([Asked(2), Begins(2, true), Ends(2)]).await;
    watched.expect([Asked(3)]).await;
    assert!(watched.dispatcher.is_careful());
    watched.dispatcher.suspects_came();
    watched.expect([Begins(4, false), Begins(5, false)]).await;
    assert!(!watched.dispatcher.is_careful());
}

#[tokio::test]
async fn a_suspect_that_is_not_begun_when_the_dispatcher_closes_was_not_started() {
    let mut watched = Watched::new();
    watched.push(1, true, CarefulStep::PutBackAtTheEnd);
    watched.push(2, true, CarefulStep::Nothing);
    watched.push(3, false, CarefulStep::Nothing);
    watched.expect([Asked(1)]).await;
    watched.handler.closing.notify_one();
    let closed = watched.dispatcher.close(DEADLINE).await;
    let unstarted: Vec<u64> = closed.unstarted.iter().map(|item| item.sequence).collect();
    assert_eq!((unstarted, closed.still_running), (vec![1, 2, 3], 0));
    assert!(watched.words.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn endless_suspect_delays_the_others_by_a_minute() {
    let mut watched = Watched::new();
    watched.push(1, true, CarefulStep::Wait);
    watched.push(2, true, CarefulStep::Nothing);
    watched.push(3, false, CarefulStep::Nothing);
    watched.dispatcher.suspects_came();
    watched.expect([Asked(1), Begins(1, true)]).await;
    tokio::time::sleep(LONGEST_ALONE.saturating_sub(Duration::from_secs(1))).await;
    assert!(watched.words.try_recv().is_err());
    watched.expect([LetGo(1), Asked(2), Begins(2, true), Ends(2), Begins(3, false)]).await;
    watched.handler.gate.add_permits(1);
    watched.expect([Ends(1)]).await;
}

#[tokio::test(start_paused = true)]
async fn slow_suspect_ends_brief_care_and_lanes_stay_in_order() {
    let mut watched = Watched::careful(true);
    let push = |sequence, lane, suspect, what| {
        let item = Item { suspect, ..item(sequence, Some(lane), what) };
        watched.dispatcher.push(item).unwrap();
    };
    for (sequence, lane, suspect, what) in [
        (1, 1, true, CarefulStep::Nothing),
        (2, 1, true, CarefulStep::Wait),
        (3, 1, true, CarefulStep::Nothing),
        (4, 1, false, CarefulStep::Nothing),
        (5, 2, true, CarefulStep::Nothing),
        (6, 2, false, CarefulStep::Nothing),
    ] {
        push(sequence, lane, suspect, what);
    }
    watched.expect([Asked(1), Begins(1, true), Ends(1), Asked(2), Begins(2, true)]).await;
    tokio::time::sleep(BRIEFLY_ALONE.saturating_sub(Duration::from_millis(1))).await;
    assert!(watched.words.try_recv().is_err());
    watched.expect([LetGo(2), Begins(5, false), Ends(5), Begins(6, false)]).await;
    assert!(!watched.dispatcher.is_careful());
    watched.handler.gate.add_permits(1);
    watched.expect([Ends(2), Begins(3, false), Ends(3), Begins(4, false)]).await;
}

#[tokio::test]
async fn ending_care_starts_waiting_events() {
    let mut watched = Watched::careful(true);
    watched.push(1, false, CarefulStep::Nothing);
    tokio::task::yield_now().await;
    assert!(watched.words.try_recv().is_err(), "more suspects may come");
    watched.dispatcher.end_care();
    watched.expect([Begins(1, false)]).await;
}

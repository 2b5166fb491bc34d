use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn item(sequence: u64, lane: Option<u64>, bytes: usize) -> Item<()> {
    let received_at = Duration::from_secs(sequence);
    Item { sequence, lane, suspect: false, kind: "MESSAGE_CREATE".into(), bytes, received_at, payload: () }
}

fn limits(at_once: usize, items: usize, bytes: usize) -> Limits {
    Limits { at_once, items, bytes }
}

fn filled(limits: Limits, lanes: impl IntoIterator<Item = Option<u64>>) -> Queue<()> {
    let mut queue = Queue::new(limits);
    for (sequence, lane) in (1..).zip(lanes) {
        queue.push(item(sequence, lane, 1)).unwrap();
    }
    queue
}

/// Starts all that may start.
fn start(queue: &mut Queue<()>) -> Vec<Started<()>> {
    std::iter::from_fn(|| queue.start_next()).collect()
}

fn sequences(started: &[Started<()>]) -> Vec<u64> {
    started.iter().map(|started| started.item.sequence).collect()
}

#[test]
fn one_lane_runs_one_by_one_and_lanes_side_by_side() {
    let mut queue = filled(Limits::default(), [Some(7), Some(7), None, None, Some(8)]);
    let first = start(&mut queue);
    assert_eq!(sequences(&first), [1, 3, 5]);
    assert!(queue.done(first[1].ticket).is_some());
    assert_eq!(sequences(&start(&mut queue)), [4]);
    assert!(queue.done(first[0].ticket).is_some());
    assert_eq!(sequences(&start(&mut queue)), [2]);
}

#[test]
fn no_more_run_than_may() {
    let mut queue = filled(limits(2, 10, 10), [Some(1), Some(2), Some(3)]);
    let first = start(&mut queue);
    assert_eq!(sequences(&first), [1, 2]);
    assert_eq!(queue.running(), 2);
    queue.done(first[1].ticket);
    assert_eq!(sequences(&start(&mut queue)), [3]);
}

#[test]
fn full_queue_returns_the_item() {
    let mut queue = filled(limits(1, 2, 100), [Some(1), Some(2)]);
    let Err(Full(back)) = queue.push(item(3, None, 0)) else { panic!("the queue holds 2") };
    assert_eq!(back.sequence, 3);
    // A running one counts too.
    let started = queue.start_next().unwrap();
    assert!(!queue.has_room(0));
    queue.done(started.ticket);
    assert!(queue.has_room(99) && !queue.has_room(100));
    assert!(queue.push(item(3, None, 100)).is_err());
    assert!(queue.push(item(3, None, 99)).is_ok());
}

#[test]
fn oversized_item_is_accepted_alone() {
    let mut queue = Queue::new(limits(4, 4, 100));
    assert!(queue.fill_with(1000) <= 1.0);
    queue.push(item(1, None, 1000)).unwrap();
    assert!(!queue.has_room(1) && !queue.at_most_half());
    let started = queue.start_next().unwrap();
    assert!(queue.push(item(2, None, 1)).is_err());
    queue.done(started.ticket);
    assert_eq!(queue.figures(Duration::ZERO), QueueFigures::default());
    assert!(queue.push(item(2, None, 1)).is_ok());
}

#[test]
fn items_of_another_queue_are_accepted_above_the_bounds() {
    let mut queue = filled(limits(1, 2, 2), [Some(1), Some(1)]);
    queue.push_over_bound(item(3, Some(2), 5));
    let figures = queue.figures(Duration::from_secs(1));
    assert_eq!((figures.len, figures.bytes, figures.fill), (3, 7, 3.5));
    // Others wait until it is within bounds again.
    assert!(!queue.has_room(0) && queue.fill_with(0) > 1.0);
    let mut handled = Vec::new();
    while let Some(started) = queue.start_next() {
        handled.push(started.item.sequence);
        queue.done(started.ticket);
    }
    assert_eq!(handled, [1, 3, 2]);
    assert!(queue.has_room(2));
}

#[test]
fn zero_limits_count_as_one() {
    let mut queue = Queue::new(limits(0, 0, 0));
    queue.push(item(1, None, 5)).unwrap();
    assert!(!queue.has_room(0));
    assert!(queue.start_next().is_some());
}

#[test]
fn sequence_may_repeat() {
    let mut queue = Queue::new(Limits::default());
    // Pending from a checkpoint, then a new session.
    for sequence in [8, 9, 1, 2, 8] {
        queue.push(item(sequence, Some(1), 1)).unwrap();
    }
    let mut handled = Vec::new();
    while let Some(started) = queue.start_next() {
        handled.push(started.item.sequence);
        assert!(queue.done(started.ticket).is_some());
        assert!(queue.done(started.ticket).is_none(), "it is done already");
    }
    assert_eq!(handled, [8, 9, 1, 2, 8]);
}

#[test]
fn pending_item_says_whether_it_started() {
    let mut queue = filled(limits(2, 10, 10), [Some(1), Some(1), Some(2), Some(3)]);
    let started = start(&mut queue);
    let pending: Vec<_> = queue.pending().map(|pending| (pending.item.sequence, pending.started)).collect();
    assert_eq!(pending, [(1, true), (2, false), (3, true), (4, false)]);
    let queued = queue.pending().find(|pending| !pending.started).map(|pending| pending.ticket).unwrap();
    assert!(queue.done(queued).is_none(), "it did not start");
    queue.done(started[0].ticket);
    assert_eq!(queue.pending().map(|pending| pending.item.sequence).collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn abandoning_keeps_running_items() {
    let mut queue = filled(limits(2, 10, 10), [Some(1), Some(1), Some(2), Some(3)]);
    let started = start(&mut queue);
    for started in &started {
        assert!(queue.begin(started.ticket));
    }
    let abandoned = queue.abandon_queued();
    assert_eq!(abandoned.iter().map(|item| item.sequence).collect::<Vec<_>>(), [2, 4]);
    assert!(queue.start_next().is_none());
    let figures = queue.figures(Duration::from_secs(5));
    assert_eq!((figures.len, figures.running, figures.bytes), (2, 2, 2));
    for started in started {
        assert!(queue.done(started.ticket).is_some());
    }
    assert!(queue.start_next().is_none() && queue.lanes.is_empty());
    queue.push(item(5, Some(1), 1)).unwrap();
    assert_eq!(sequences(&start(&mut queue)), [5]);
}

#[test]
fn figures_and_half() {
    let mut queue = filled(limits(1, 4, 100), [Some(1), Some(2)]);
    assert!(queue.at_most_half());
    queue.push(item(3, None, 1)).unwrap();
    assert!(!queue.at_most_half());
    let started = queue.start_next().unwrap();
    let now = Duration::from_secs(10);
    let oldest = Some(Duration::from_secs(9));
    assert_eq!(queue.figures(now), QueueFigures { len: 3, running: 1, bytes: 3, fill: 0.75, oldest });
    queue.done(started.ticket);
    assert_eq!(queue.figures(now).oldest, Some(Duration::from_secs(8)));
    // By bytes.
    queue.push(item(4, None, 60)).unwrap();
    assert!(!queue.at_most_half());
    assert!(queue.figures(now).fill > 0.6);
}

#[derive(Clone, Debug)]
enum Step {
    Push {
        lane: Option<u64>,
        bytes: usize,
    },
    Next,
    /// Ends one of those that run.
    Done(prop::sample::Index),
    Abandon,
}

fn step() -> impl Strategy<Value = Step> {
    let lane = prop::option::weighted(0.9, 0u64..6);
    prop_oneof![
        8 => (lane, prop_oneof![20 => 0usize..40, 1 => 90usize..150]).prop_map(|(lane, bytes)| Step::Push { lane, bytes }),
        6 => Just(Step::Next),
        5 => any::<prop::sample::Index>().prop_map(Step::Done),
        1 => Just(Step::Abandon),
    ]
}

proptest! {
    #[test]
    fn in_order_bounded_fair_and_nothing_lost(
        at_once in 1usize..4,
        items in 1usize..12,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let limits = limits(at_once, items, 100);
        let mut queue = Queue::new(limits);
        let mut sequence = 0;
        // What should be in it: taken and not started, by sequence; running.
        let mut queued: Vec<(u64, Option<u64>)> = Vec::new();
        let mut running: Vec<(Ticket, u64, Option<u64>)> = Vec::new();
        // For each lane that is ready: how many starts it has seen since, and how many were ready before it.
        let mut waits: HashMap<Option<u64>, (usize, usize)> = HashMap::new();
        let mut ended = BTreeSet::new();
        for step in steps {
            match step {
                Step::Push { lane, bytes } => {
                    sequence += 1;
                    let (room, fill) = (queue.has_room(bytes), queue.fill_with(bytes));
                    prop_assert_eq!(room, fill <= 1.0);
                    let taken = queue.push(item(sequence, lane, bytes)).is_ok();
                    prop_assert_eq!(taken, room);
                    if taken {
                        queued.push((sequence, lane));
                    }
                }
                Step::Next => {
                    if let Some(started) = queue.start_next() {
                        let (number, lane) = (started.item.sequence, started.item.lane);
                        prop_assert!(running.iter().all(|(_, _, other)| *other != lane), "two of a lane");
                        let first = queued.iter().position(|(_, other)| *other == lane);
                        let first = queued.remove(first.expect("what starts was queued"));
                        prop_assert_eq!(first.0, number, "out of order");
                        prop_assert!(running.len() < at_once);
                        prop_assert!(queue.begin(started.ticket));
                        running.push((started.ticket, number, lane));
                        waits.remove(&lane);
                        for (seen, before) in waits.values_mut() {
                            *seen += 1;
                            prop_assert!(*seen <= *before, "a lane was overtaken");
                        }
                    } else {
                        let blocked = |lane| running.iter().any(|(_, _, other)| *other == lane);
                        prop_assert!(
                            running.len() == at_once || queued.iter().all(|(_, lane)| blocked(*lane)),
                            "something could have started"
                        );
                    }
                }
                Step::Done(index) => {
                    if !running.is_empty() {
                        let (ticket, number, _) = running.swap_remove(index.index(running.len()));
                        let item = queue.done(ticket).expect("it runs");
                        prop_assert_eq!(item.sequence, number);
                        prop_assert!(ended.insert(number), "handled twice");
                    }
                }
                Step::Abandon => {
                    let abandoned: Vec<_> =
                        queue.abandon_queued().into_iter().map(|item| (item.sequence, item.lane)).collect();
                    prop_assert_eq!(&abandoned, &queued);
                    queued.clear();
                }
            }
            // Lanes that are ready now and were not before wait behind those that were.
            let ready: BTreeSet<_> = queued
                .iter()
                .map(|(_, lane)| *lane)
                .filter(|lane| running.iter().all(|(_, _, other)| other != lane))
                .collect();
            waits.retain(|lane, _| ready.contains(lane));
            for lane in &ready {
                let before = ready.len() - 1;
                waits.entry(*lane).or_insert((0, before));
            }
            // Nothing lost, nothing made up, in order of receipt.
            let mut expected: Vec<_> = queued.iter().map(|(number, _)| (*number, false)).collect();
            expected.extend(running.iter().map(|(_, number, _)| (*number, true)));
            expected.sort_unstable();
            let pending: Vec<_> =
                queue.pending().map(|pending| (pending.item.sequence, pending.started)).collect();
            prop_assert_eq!(&pending, &expected);
            let bytes: usize = queue.pending().map(|pending| pending.item.bytes).sum();
            let figures = queue.figures(Duration::ZERO);
            prop_assert_eq!((figures.len, figures.running, figures.bytes), (expected.len(), running.len(), bytes));
            prop_assert!(figures.len <= items && (bytes <= limits.bytes || figures.len == 1));
            // Nothing is kept for lanes that have nothing.
            prop_assert!(queue.lanes.len() <= figures.len && queue.ready.len() == ready.len());
        }
    }
}

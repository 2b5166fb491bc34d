use std::time::Duration;

use proptest::prelude::*;

use super::super::{Limits, Queue, Ticket};
use crate::item::Item;

fn item(sequence: u64, lane: Option<u64>, suspect: bool) -> Item<()> {
    let received_at = Duration::from_secs(sequence);
    Item { sequence, lane, suspect, kind: "MESSAGE_CREATE".into(), bytes: 1, received_at, payload: () }
}

fn careful() -> Queue<()> {
    let mut queue = Queue::new(Limits::default());
    queue.begin_carefully(false);
    queue
}

/// The sequences of all that may start.
fn start(queue: &mut Queue<()>) -> Vec<(u64, Ticket)> {
    std::iter::from_fn(|| queue.start_next()).map(|started| (started.item.sequence, started.ticket)).collect()
}

fn sequences(queue: &mut Queue<()>) -> Vec<u64> {
    start(queue).into_iter().map(|(sequence, _)| sequence).collect()
}

#[test]
fn suspects_run_one_at_a_time_and_other_items_after_the_last() {
    let mut queue = careful();
    for (sequence, lane, suspect) in
        [(1, Some(1), true), (2, Some(2), true), (3, Some(1), false), (4, None, false), (5, Some(3), true)]
    {
        queue.push(item(sequence, lane, suspect)).unwrap();
    }
    for expected in [1, 2, 5] {
        let started = queue.start_next().unwrap();
        assert_eq!((started.item.sequence, started.alone), (expected, true));
        assert_eq!(sequences(&mut queue), [] as [u64; 0], "it runs alone");
        queue.done(started.ticket);
    }
    assert_eq!(sequences(&mut queue), [] as [u64; 0], "more suspects may come");
    queue.suspects_came();
    assert!(!queue.is_careful());
    assert_eq!(sequences(&mut queue), [3, 4]);
    queue.push(item(6, Some(9), true)).unwrap();
    let started = queue.start_next().unwrap();
    assert!(!started.alone, "a suspect of a queue that is careful no longer is like any other");
}

#[test]
fn a_careful_queue_without_suspects_is_one_like_any_other() {
    let mut queue = careful();
    queue.push(item(1, None, false)).unwrap();
    assert_eq!(sequences(&mut queue), [] as [u64; 0]);
    queue.suspects_came();
    assert_eq!(sequences(&mut queue), [1]);
}

#[test]
fn unstarted_suspects_are_removed_with_the_rest() {
    let mut queue = careful();
    for sequence in 1..=3 {
        queue.push(item(sequence, None, sequence < 3)).unwrap();
    }
    let started = queue.start_next().unwrap();
    assert!(queue.pending().next().unwrap().started);
    queue.put_back(started.ticket);
    assert_eq!(queue.running(), 0);
    assert!(queue.done(started.ticket).is_none(), "it does not run");
    let abandoned: Vec<u64> = queue.abandon_queued().iter().map(|item| item.sequence).collect();
    assert_eq!(abandoned, [1, 2, 3]);
    queue.suspects_came();
    assert!(!queue.is_careful());
}

#[derive(Clone, Debug)]
enum Step {
    Push { lane: Option<u64>, suspect: bool },
    Next,
    Done(prop::sample::Index),
    LetGo,
    PutBack,
    Came,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (prop::option::of(0u64..4), any::<bool>()).prop_map(|(lane, suspect)| Step::Push { lane, suspect }),
        6 => Just(Step::Next),
        5 => any::<prop::sample::Index>().prop_map(Step::Done),
        1 => Just(Step::LetGo),
        1 => Just(Step::PutBack),
        1 => Just(Step::Came),
    ]
}

proptest! {
    #[test]
    fn suspects_run_alone_in_order_until_the_last(steps in prop::collection::vec(step(), 0..120)) {
        let mut queue = careful();
        let mut sequence = 0;
        let mut came = false;
        // Suspects that wait, as they would start; the one that runs alone; all that run.
        let mut suspects: Vec<u64> = Vec::new();
        let mut alone: Option<(Ticket, u64)> = None;
        let mut running: Vec<(Ticket, u64)> = Vec::new();
        let mut expected: Vec<u64> = Vec::new();
        for step in steps {
            let over = came && suspects.is_empty() && alone.is_none();
            prop_assert_eq!(queue.is_careful(), !over);
            match step {
                Step::Push { lane, suspect } => {
                    sequence += 1;
                    queue.push(item(sequence, lane, suspect)).unwrap();
                    expected.push(sequence);
                    if suspect && !over {
                        suspects.push(sequence);
                    }
                }
                Step::Next => match queue.start_next() {
                    Some(started) if over => {
                        prop_assert!(!started.alone);
                        running.push((started.ticket, started.item.sequence));
                    }
                    Some(started) => {
                        prop_assert!(started.alone && alone.is_none());
                        prop_assert_eq!(started.item.sequence, suspects.remove(0));
                        alone = Some((started.ticket, started.item.sequence));
                        running.extend(alone);
                    }
                    None if over => {}
                    None => prop_assert!(alone.is_some() || suspects.is_empty(), "a suspect could have started"),
                },
                Step::Done(index) => {
                    if !running.is_empty() {
                        let (ticket, number) = running.swap_remove(index.index(running.len()));
                        prop_assert_eq!(queue.done(ticket).expect("it runs").sequence, number);
                        expected.retain(|other| *other != number);
                        alone.take_if(|(alone, _)| *alone == ticket);
                    }
                }
                Step::LetGo => {
                    if let Some((ticket, _)) = alone.take() {
                        queue.let_go(ticket);
                    }
                }
                Step::PutBack => {
                    if let Some((ticket, number)) = alone.take() {
                        queue.put_back(ticket);
                        running.retain(|(other, _)| *other != ticket);
                        suspects.insert(0, number);
                    }
                }
                Step::Came => {
                    queue.suspects_came();
                    came = true;
                }
            }
            prop_assert_eq!(queue.running(), running.len());
            let pending: Vec<u64> = queue.pending().map(|pending| pending.item.sequence).collect();
            prop_assert_eq!(&pending, &expected, "nothing lost, nothing made up, in order of receipt");
        }
        // After any sequence of steps, all items can be worked off.
        queue.suspects_came();
        loop {
            running.extend(start(&mut queue).into_iter().map(|(number, ticket)| (ticket, number)));
            let Some((ticket, _)) = running.pop() else { break };
            queue.done(ticket);
        }
        prop_assert_eq!(queue.pending().count(), 0);
        prop_assert!(!queue.is_careful());
    }
}

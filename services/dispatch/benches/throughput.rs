//! How fast: events a second through push, a handler that does nothing, and its end, of one shard.
//!
//! `cargo bench -p dispatch`. The pushing thread and the handlers' runtime are two, as in a worker. "In the queue alone" is the
//! pure part on one thread, without tasks.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is how it fails"
)]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dispatch::{Delivery, DispatchMetrics, Dispatcher, Handler, Item, Limits, Queue, Setup};
use tokio::runtime;
use tokio_util::task::TaskTracker;

const EVENTS: u64 = 500_000;

struct Trivial;

#[async_trait]
impl Handler<u64> for Trivial {
    async fn handle(&self, event: &Delivery<u64>) {
        black_box(event.payload());
    }
}

fn item(kind: &Arc<str>, sequence: u64, lanes: u64) -> Item<u64> {
    let lane = Some(sequence % lanes);
    Item {
        sequence,
        lane,
        suspect: false,
        kind: kind.clone(),
        bytes: 1000,
        received_at: Duration::ZERO,
        payload: sequence,
    }
}

/// Through the dispatcher: the pusher waits at the bound for half, as a shard does.
async fn through_the_dispatcher(lanes: u64, threads: usize) {
    let handlers = runtime::Builder::new_multi_thread().worker_threads(threads).build().unwrap();
    let from = Instant::now();
    let setup = Setup {
        handler: Arc::new(Trivial),
        limits: Limits::default(),
        runtime: handlers.handle().clone(),
        stragglers: TaskTracker::new(),
        clock: Arc::new(move || from.elapsed()),
        metrics: DispatchMetrics::default(),
    };
    let stragglers = setup.stragglers.clone();
    let dispatcher = Dispatcher::start(setup, 0, 1);
    let kind = "MESSAGE_CREATE".into();
    let (mut pushing, mut waits) = (Duration::ZERO, 0);
    for sequence in 0..EVENTS {
        if !dispatcher.has_room(1000) {
            waits += 1;
            dispatcher.drained_to_half().await;
        }
        let one = Instant::now();
        dispatcher.push(item(&kind, sequence, lanes)).unwrap();
        pushing += one.elapsed();
    }
    stragglers.close();
    stragglers.wait().await;
    let took = from.elapsed();
    assert_eq!(dispatcher.figures().len, 0);
    println!(
        "{lanes:>5} lanes, {threads} threads: {:>9.0} events a second; a push takes {:.2} µs; {waits} waits for half",
        EVENTS as f64 / took.as_secs_f64(),
        pushing.as_secs_f64() * 1e6 / EVENTS as f64
    );
    handlers.shutdown_background();
}

/// The pure queue: filled, then emptied, over and over.
fn in_the_queue_alone(lanes: u64) {
    let mut queue = Queue::new(Limits::default());
    let kind = "MESSAGE_CREATE".into();
    let from = Instant::now();
    let (mut sequence, mut ended) = (0, 0);
    while ended < EVENTS {
        while queue.push(item(&kind, sequence, lanes)).is_ok() {
            sequence += 1;
        }
        while let Some(started) = queue.start_next() {
            black_box(queue.done(started.ticket));
            ended += 1;
        }
    }
    println!(
        "{lanes:>5} lanes, in the queue alone: {:.0} events a second",
        ended as f64 / from.elapsed().as_secs_f64()
    );
}

fn main() {
    // The pusher stands for the runtime that reads sockets.
    let sockets = runtime::Builder::new_current_thread().build().unwrap();
    for lanes in [1000, 1] {
        in_the_queue_alone(lanes);
        for threads in [1, 2] {
            sockets.block_on(through_the_dispatcher(lanes, threads));
        }
    }
}

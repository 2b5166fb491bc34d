//! The contract of [`EventBus`], over every bus there is: memory, one Redis, a Redis Cluster, Redis behind Sentinel.
//!
//! A rule is a function over the ends of two processes.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod broadcasts;
mod redis_faults;
mod rules;

use std::{sync::Arc, time::Duration};

use event_bus::{
    BusStatus, Delivery, EventBus, MemoryBus, Message, NewMessage, Recipient, RedisBus, Subscription,
};
use redis_link::{LinkOptions, RedisLink};
use tokio::time::timeout;

/// One process's end of the bus under test.
type End = Arc<dyn EventBus>;

/// Nothing here takes this long, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(30);

fn redis_bus(url: &str, prefix: &str) -> RedisBus {
    let link = RedisLink::new(url.parse().unwrap(), LinkOptions::default());
    RedisBus::start(link, prefix.parse().unwrap())
}

fn memory_ends() -> (End, End) {
    let bus = MemoryBus::new();
    (Arc::new(bus.clone()), Arc::new(bus))
}

fn redis_ends(url: &str, prefix: &str) -> (End, End) {
    (Arc::new(redis_bus(url, prefix)), Arc::new(redis_bus(url, prefix)))
}

fn message(body: &str) -> NewMessage {
    NewMessage {
        kind: "test".into(),
        body: body.into(),
        sender: "here".into(),
        recipient: Recipient::All,
        traceparent: None,
    }
}

async fn publish(end: &impl AsRef<dyn EventBus>, body: &str) {
    end.as_ref().publish(message(body)).await.unwrap();
}

async fn next(subscription: &mut Subscription) -> Delivery {
    timeout(PATIENCE, subscription.next()).await.expect("a delivery in time").expect("the bus goes on")
}

async fn next_message(subscription: &mut Subscription) -> Arc<Message> {
    match next(subscription).await {
        Delivery::Message(message) => message,
        missed @ Delivery::Missed { .. } => panic!("{missed:?}"),
    }
}

async fn next_bodies(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        bodies.push(next_message(subscription).await.content.body.clone());
    }
    bodies
}

async fn next_missed(subscription: &mut Subscription) -> Option<u64> {
    match next(subscription).await {
        Delivery::Missed { count, .. } => count,
        Delivery::Message(message) => panic!("nothing was missed before {message:?}"),
    }
}

async fn until_status(end: &impl EventBus, wanted: impl Fn(&BusStatus) -> bool) {
    timeout(PATIENCE, end.status().wait_for(wanted))
        .await
        .expect("the status in time")
        .expect("the bus goes on");
}

async fn until_connected(end: &impl EventBus) {
    until_status(end, |status| *status == BusStatus::Connected).await;
}

async fn until_away(end: &impl EventBus) {
    until_status(end, |status| *status != BusStatus::Connected).await;
}

//! What both buses do.

use std::{collections::HashSet, sync::Arc};

use event_bus::{BusError, BusStatus, MAX_BODY, NewMessage, Recipient};
use fleet_model::ShardSlot;
use tokio::time::timeout;

use crate::{End, PATIENCE, message, next_bodies, next_message, next_missed, publish};

/// Deliveries that wait for a reader.
const QUEUE: usize = 1024;

pub(crate) async fn every_subscriber_receives_a_message((one, two): (End, End)) {
    let mut subscriptions =
        [one.subscribe().await.unwrap(), one.subscribe().await.unwrap(), two.subscribe().await.unwrap()];
    let published = one.publish(message("a")).await.unwrap();
    publish(&two, "b").await;
    for subscription in &mut subscriptions {
        assert_eq!(next_message(subscription).await.id, published.id);
        assert_eq!(next_bodies(subscription, 1).await, ["b"]);
    }
}

pub(crate) async fn a_message_arrives_as_it_was_sent((one, two): (End, End)) {
    let mut subscription = two.subscribe().await.unwrap();
    for recipient in
        [Recipient::All, Recipient::Manager { from: None }, Recipient::Manager { from: Some(ShardSlot(7)) }]
    {
        let sent = NewMessage {
            kind: "cacheInvalidate".into(),
            body: "{\"key\":\"settings:*\",\"ü\":\"\\n\"}\n".into(),
            sender: "worker-1".into(),
            recipient,
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        };
        one.publish(sent.clone()).await.unwrap();
        assert_eq!(next_message(&mut subscription).await.content, sent);
    }
}

pub(crate) async fn subscriber_receives_messages_published_after_it_subscribed((one, two): (End, End)) {
    let mut early = two.subscribe().await.unwrap();
    for number in 0..20 {
        publish(&one, &format!("before {number}")).await;
        let mut late = two.subscribe().await.unwrap();
        publish(&one, &format!("after {number}")).await;
        assert_eq!(next_bodies(&mut late, 1).await, [format!("after {number}")]);
        assert_eq!(next_bodies(&mut early, 2).await[0], format!("before {number}"));
    }
}

pub(crate) async fn all_see_one_order((one, two): (End, End)) {
    let (mut here, mut there) = (one.subscribe().await.unwrap(), two.subscribe().await.unwrap());
    let senders = [(&one, "one"), (&two, "two")].map(|(end, name)| {
        let end = Arc::clone(end);
        tokio::spawn(async move {
            for number in 0..100 {
                publish(&end, &format!("{name} {number}")).await;
            }
        })
    });
    let seen = next_bodies(&mut here, 200).await;
    assert_eq!(next_bodies(&mut there, 200).await, seen);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 200, "a message came twice");
    for name in ["one", "two"] {
        let of_one: Vec<_> = seen.iter().filter(|body| body.starts_with(name)).collect();
        assert_eq!(
            of_one,
            (0..100).map(|number| format!("{name} {number}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }
    for sender in senders {
        sender.await.unwrap();
    }
}

pub(crate) async fn acknowledgements_reach_the_sender((one, two): (End, End)) {
    let (mut here, mut there) = (one.subscribe().await.unwrap(), two.subscribe().await.unwrap());
    let mut published = one.publish(message("a")).await.unwrap();
    let (mine, yours) = (next_message(&mut here).await, next_message(&mut there).await);
    one.acknowledge(&mine, &"w1".parse().unwrap()).await;
    two.acknowledge(&yours, &"w2".parse().unwrap()).await;
    let mut workers = HashSet::new();
    for _ in 0..2 {
        let worker = timeout(PATIENCE, published.acknowledgements.recv()).await.unwrap().unwrap();
        workers.insert(worker.to_string());
    }
    assert_eq!(workers, HashSet::from(["w1".to_owned(), "w2".to_owned()]));
}

pub(crate) async fn acknowledgement_counts_for_its_message_only((one, two): (End, End)) {
    let mut there = two.subscribe().await.unwrap();
    let mut first = one.publish(message("first")).await.unwrap();
    let mut second = one.publish(message("second")).await.unwrap();
    next_message(&mut there).await;
    two.acknowledge(&*next_message(&mut there).await, &"w".parse().unwrap()).await;
    let worker = timeout(PATIENCE, second.acknowledgements.recv()).await.unwrap().unwrap();
    assert_eq!(worker.as_str(), "w");
    assert!(first.acknowledgements.try_recv().is_err());
}

pub(crate) async fn a_sender_need_not_wait((one, two): (End, End)) {
    let mut there = two.subscribe().await.unwrap();
    drop(one.publish(message("a")).await.unwrap());
    let message = next_message(&mut there).await;
    two.acknowledge(&message, &"w".parse().unwrap()).await;
    for acknowledge_to in ["", "elsewhere", "99999999"] {
        let message = event_bus::Message { acknowledge_to: acknowledge_to.to_owned(), ..(*message).clone() };
        two.acknowledge(&message, &"w".parse().unwrap()).await;
    }
    publish(&two, "b").await;
    assert_eq!(next_bodies(&mut there, 1).await, ["b"]);
}

pub(crate) async fn a_big_message_is_refused((one, two): (End, End)) {
    let mut there = two.subscribe().await.unwrap();
    let big = "x".repeat(MAX_BODY);
    let refused = one.publish(message(&format!("{big}x"))).await;
    assert!(matches!(refused, Err(BusError::TooLarge(262_145))), "{refused:?}");
    publish(&one, &big).await;
    assert!(next_bodies(&mut there, 1).await[0] == big);
}

pub(crate) async fn slow_reader_is_notified_and_delays_no_other((one, two): (End, End)) {
    let (mut slow, mut quick) = (two.subscribe().await.unwrap(), two.subscribe().await.unwrap());
    let more = 10;
    for number in 0..QUEUE + more {
        publish(&one, &number.to_string()).await;
        assert_eq!(next_bodies(&mut quick, 1).await, [number.to_string()]);
    }
    assert_eq!(next_bodies(&mut slow, 1).await, ["0"]);
    publish(&one, "later").await;
    assert_eq!(next_bodies(&mut quick, 1).await, ["later"]);
    let expected: Vec<_> = (1..QUEUE).map(|number| number.to_string()).collect();
    assert_eq!(next_bodies(&mut slow, QUEUE - 1).await, expected);
    assert_eq!(next_missed(&mut slow).await, Some(more as u64));
    assert_eq!(next_bodies(&mut slow, 1).await, ["later"]);
}

pub(crate) async fn departed_reader_does_not_affect_others((one, two): (End, End)) {
    let mut stays = two.subscribe().await.unwrap();
    drop(two.subscribe().await.unwrap());
    publish(&one, "a").await;
    assert_eq!(next_bodies(&mut stays, 1).await, ["a"]);
}

pub(crate) async fn status_reports_the_connection((one, two): (End, End)) {
    for end in [one, two] {
        let mut status = end.status();
        timeout(PATIENCE, status.wait_for(|status| *status == BusStatus::Connected)).await.unwrap().unwrap();
    }
}

pub(crate) async fn a_bus_that_ended_ends_its_subscriptions((one, two): (End, End)) {
    let mut subscription = two.subscribe().await.unwrap();
    publish(&one, "last").await;
    assert_eq!(next_bodies(&mut subscription, 1).await, ["last"]);
    drop((one, two));
    let ended = timeout(PATIENCE, subscription.next()).await.unwrap();
    assert!(ended.is_none(), "{ended:?}");
}

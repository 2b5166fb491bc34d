//! What only Redis can do to us: cut connections, lose everything, stop answering, hold what others wrote, fail over.

use std::time::{Duration, Instant};

use event_bus::{BusError, Delivery, EventBus, repair_broadcasts};
use redis_fixture::{RedisSentinel, RedisServer};
use redis_link::{LinkOptions, RedisLink};
use tokio::time::timeout;

use crate::{PATIENCE, message, next_bodies, next_missed, redis_bus, until_away, until_connected};

/// The script with which the bus publishes. With another channel it writes history that no subscriber hears of.
const PUBLISH: &str = include_str!("../../src/redis/publish.lua");

async fn publish(end: &impl EventBus, body: &str) {
    end.publish(message(body)).await.unwrap();
}

#[tokio::test]
async fn messages_published_during_a_disconnect_are_recovered() {
    let server = RedisServer::start().await;
    let (one, two) = (redis_bus(&server.url(), "test"), redis_bus(&server.url(), "test"));
    let (mut here, mut there) = (one.subscribe().await.unwrap(), two.subscribe().await.unwrap());
    let mut expected = Vec::new();
    for round in 0..5 {
        let killed: u64 = server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_eq!(killed, 2);
        for number in 0..100 {
            let body = format!("{round} {number}");
            publish(&one, &body).await;
            expected.push(body);
        }
        // Until both have read this round, one of them may have no connection to cut.
        assert_eq!(next_bodies(&mut here, 100).await, expected[round * 100..]);
        assert_eq!(next_bodies(&mut there, 100).await, expected[round * 100..]);
        until_connected(&one).await;
        until_connected(&two).await;
    }
}

#[tokio::test]
async fn messages_missing_on_the_channel_are_recovered() {
    let server = RedisServer::start().await;
    let bus = redis_bus(&server.url(), "test");
    let mut subscription = bus.subscribe().await.unwrap();
    publish(&bus, "a").await;
    let unheard = r#"{"kind":"test","body":"b","sender":"s"}"#;
    let keys = ["{test}:broadcasts", "{test}:broadcasts:state"];
    let write = async |mark: &str| {
        let write = ["EVAL", PUBLISH, "3", keys[0], keys[1], mark, "unheard", unheard, "g", "10000"];
        server.command::<String>(&write).await
    };
    let first = write("{test}:1").await;
    assert_eq!(next_bodies(&mut subscription, 2).await, ["a", "b"], "found within the check's 5 s");
    assert_eq!(write("{test}:1").await, first, "sent again by a cluster client, it is not written again");
    // The check has just been, so it is not what finds this one.
    let written = Instant::now();
    write("{test}:2").await;
    publish(&bus, "c").await;
    assert_eq!(next_bodies(&mut subscription, 2).await, ["b", "c"], "found by the next message");
    assert!(written.elapsed() < Duration::from_secs(3), "{:?}", written.elapsed());
}

#[tokio::test]
async fn messages_missing_in_the_history_are_counted() {
    let server = RedisServer::start().await;
    let bus = redis_bus(&server.url(), "test");
    let mut subscription = bus.subscribe().await.unwrap();
    publish(&bus, "a").await;
    assert_eq!(next_bodies(&mut subscription, 1).await, ["a"]);
    server.command::<i64>(&["HINCRBY", "{test}:broadcasts:state", "sequence", "5"]).await;
    publish(&bus, "b").await;
    assert_eq!(next_missed(&mut subscription).await, Some(5));
    assert_eq!(next_bodies(&mut subscription, 1).await, ["b"]);
    server.command::<i64>(&["HINCRBY", "{test}:broadcasts:state", "sequence", "2"]).await;
    assert_eq!(next_missed(&mut subscription).await, Some(2), "found without a later message too");
}

#[tokio::test]
async fn loss_of_all_redis_data_is_reported_once_and_recovers() {
    let mut server = RedisServer::start().await;
    let bus = redis_bus(&server.url(), "test");
    let mut subscription = bus.subscribe().await.unwrap();
    publish(&bus, "a").await;
    assert_eq!(next_bodies(&mut subscription, 1).await, ["a"]);
    server.kill();
    until_away(&bus).await;
    let asked = Instant::now();
    let refused = bus.publish(message("x")).await;
    assert!(matches!(refused, Err(BusError::Away(_))), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    bus.subscribe().await.expect("a subscriber may come meanwhile: the place in the history is known");
    server.restart().await;
    let other = redis_bus(&server.url(), "test");
    until_connected(&other).await;
    publish(&other, "b").await;
    until_connected(&bus).await;
    publish(&other, "c").await;
    assert_eq!(next_missed(&mut subscription).await, None);
    assert_eq!(next_bodies(&mut subscription, 2).await, ["b", "c"]);
}

#[tokio::test]
async fn a_redis_that_stands_still_is_away_by_the_deadline_and_heals() {
    let server = RedisServer::start().await;
    let bus = redis_bus(&server.url(), "test");
    let mut subscription = bus.subscribe().await.unwrap();
    server.pause();
    let asked = Instant::now();
    let refused = bus.publish(message("unsure")).await;
    assert!(matches!(refused, Err(BusError::Away(_))), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_millis(2500), "{:?}", asked.elapsed());
    until_away(&bus).await;
    server.resume();
    until_connected(&bus).await;
    publish(&bus, "sure").await;
    let mut bodies = next_bodies(&mut subscription, 1).await;
    if bodies == ["unsure"] {
        // Its sender was told that the result is unknown: it lay in the socket and was carried out after all.
        bodies = next_bodies(&mut subscription, 1).await;
    }
    assert_eq!(bodies, ["sure"]);
}

#[tokio::test]
async fn redis_may_start_late() {
    let mut server = RedisServer::start().await;
    server.kill();
    let bus = redis_bus(&server.url(), "test");
    let asked = Instant::now();
    let refused = bus.subscribe().await;
    assert!(matches!(refused, Err(BusError::Away(_))), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    until_away(&bus).await;
    server.restart().await;
    until_connected(&bus).await;
    let mut subscription = bus.subscribe().await.unwrap();
    publish(&bus, "a").await;
    assert_eq!(next_bodies(&mut subscription, 1).await, ["a"]);
}

#[tokio::test]
async fn malformed_messages_are_skipped_or_counted_as_missed() {
    let server = RedisServer::start().await;
    let bus = redis_bus(&server.url(), "test");
    let mut subscription = bus.subscribe().await.unwrap();
    publish(&bus, "a").await;
    for malformed in ["", "hello", "1-1 1 g", "0-0 x y\n{}"] {
        server.command::<i64>(&["PUBLISH", "test:broadcasts", malformed]).await;
    }
    server.command::<String>(&["XADD", "{test}:broadcasts", "*", "what", "ever"]).await;
    server.command::<i64>(&["HINCRBY", "{test}:broadcasts:state", "sequence", "1"]).await;
    publish(&bus, "b").await;
    assert_eq!(next_bodies(&mut subscription, 1).await, ["a"]);
    assert_eq!(next_missed(&mut subscription).await, Some(1));
    assert_eq!(next_bodies(&mut subscription, 1).await, ["b"]);
}

#[tokio::test]
async fn two_bots_share_a_redis() {
    let server = RedisServer::start().await;
    let (one, other) = (redis_bus(&server.url(), "one"), redis_bus(&server.url(), "other"));
    let mut subscription = one.subscribe().await.unwrap();
    publish(&other, "theirs").await;
    publish(&one, "ours").await;
    assert_eq!(next_bodies(&mut subscription, 1).await, ["ours"]);
}

#[tokio::test]
async fn a_dropped_bus_leaves_no_connection() {
    let server = RedisServer::start().await;
    let bus = redis_bus(&server.url(), "test");
    until_connected(&bus).await;
    let subscribers = async || {
        let counts: (String, u64) = server.command(&["PUBSUB", "NUMSUB", "test:broadcasts"]).await;
        counts.1
    };
    assert_eq!(subscribers().await, 1);
    drop(bus);
    let deadline = Instant::now() + PATIENCE;
    while subscribers().await > 0 {
        assert!(Instant::now() < deadline, "the reader goes on");
    }
}

#[tokio::test]
async fn a_sentinel_fails_over() {
    let mut sentinel = RedisSentinel::start().await;
    let bus = redis_bus(&sentinel.url(), "test");
    let mut subscription = bus.subscribe().await.unwrap();
    publish(&bus, "a").await;
    assert_eq!(next_bodies(&mut subscription, 1).await, ["a"]);
    sentinel.fail_over().await;
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = bus.publish(message("b")).await {
        assert!(Instant::now() < deadline, "still {error}");
    }
    assert_eq!(next_bodies(&mut subscription, 1).await, ["b"], "the replica had everything");
}

/// Removes the last entries and adds others, as after a failover with lost writes.
const FAIL_OVER: &str = r"
local lost = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])
for _, entry in ipairs(lost) do redis.call('XDEL', KEYS[1], entry[1]) end
local sequence = tonumber(redis.call('HGET', KEYS[2], 'sequence')) - #lost
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
redis.call('HSET', KEYS[2], 'sequence', sequence, 'last_id', last[1])
local generation = redis.call('HGET', KEYS[2], 'generation')
for at = 2, #ARGV do
  sequence = sequence + 1
  local id = redis.call('XADD', KEYS[1], '*', 'generation', generation, 'sequence', sequence, 'message', ARGV[at])
  redis.call('HSET', KEYS[2], 'sequence', sequence, 'last_id', id)
end
return #lost";

#[tokio::test]
async fn broadcasts_after_a_failover_that_lost_writes_are_delivered() {
    let server = RedisServer::start().await;
    for (number, sent) in [vec![], vec!["x"], vec!["x", "y"], vec!["x", "y", "z"]].into_iter().enumerate() {
        let prefix = format!("test{number}");
        let bus = redis_bus(&server.url(), &prefix);
        let mut subscription = bus.subscribe().await.unwrap();
        for body in ["a", "b", "c", "d"] {
            publish(&bus, body).await;
        }
        assert_eq!(next_bodies(&mut subscription, 4).await, ["a", "b", "c", "d"]);
        let (stream, state) = (format!("{{{prefix}}}:broadcasts"), format!("{{{prefix}}}:broadcasts:state"));
        let messages: Vec<String> =
            sent.iter().map(|body| format!(r#"{{"kind":"test","body":"{body}","sender":"s"}}"#)).collect();
        let mut words = vec!["EVAL", FAIL_OVER, "2", &stream, &state, "2"];
        words.extend(messages.iter().map(String::as_str));
        assert_eq!(server.command::<u64>(&words).await, 2);
        // As a master that has disappeared does.
        server.command::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_eq!(next_missed(&mut subscription).await, None, "{sent:?}");
        assert_eq!(next_bodies(&mut subscription, sent.len()).await, sent);
        until_connected(&bus).await;
        publish(&bus, "after").await;
        assert_eq!(next_bodies(&mut subscription, 1).await, ["after"], "{sent:?}");
    }
}

#[tokio::test]
async fn history_is_bounded_by_bytes() {
    let server = RedisServer::start().await;
    let bus = redis_bus(&server.url(), "test");
    // Entries of an older version, without sizes.
    server.command::<i64>(&["HSET", "{test}:broadcasts:state", "generation", "g", "sequence", "1"]).await;
    let old = ["XADD", "{test}:broadcasts", "*", "generation", "g", "sequence", "1", "message", "x"];
    server.command::<String>(&old).await;
    let body = "x".repeat(event_bus::MAX_BODY);
    for _ in 0..300 {
        publish(&bus, &body).await;
    }
    let kept: u64 = server.command(&["XLEN", "{test}:broadcasts"]).await;
    assert!((240..=256).contains(&kept), "{kept} entries are kept");
    let bytes: u64 = server.command(&["MEMORY", "USAGE", "{test}:broadcasts", "SAMPLES", "0"]).await;
    assert!(bytes < 80 * 1024 * 1024, "{bytes} bytes");
    // Small messages are still bounded by number.
    for _ in 0..300 {
        publish(&bus, "small").await;
    }
    let kept: u64 = server.command(&["XLEN", "{test}:broadcasts"]).await;
    assert!(kept > 500, "{kept} entries are kept");
}

#[tokio::test]
async fn broadcasts_go_on_after_a_repair() {
    const STATE: &str = "{test}:broadcasts:state";
    let server = RedisServer::start().await;
    let link = RedisLink::new(server.url().parse().unwrap(), LinkOptions::default());
    let prefix = "test".parse().unwrap();
    let bus = redis_bus(&server.url(), "test");
    let mut subscription = bus.subscribe().await.unwrap();
    publish(&bus, "before").await;
    assert_eq!(next_bodies(&mut subscription, 1).await, ["before"]);
    assert_eq!(repair_broadcasts(&link, &prefix, true).await.unwrap(), []);
    let poison: [&[&[&str]]; 4] = [
        &[&["HSET", STATE, "sequence", "18446744073709551615"]],
        &[&["HSET", STATE, "bytes", "many"]],
        &[&["DEL", STATE], &["SET", STATE, "x"]],
        &[&["DEL", "{test}:broadcasts"], &["SET", "{test}:broadcasts", "x"]],
    ];
    for commands in poison {
        for command in commands {
            server.command::<()>(command).await;
        }
        assert!(bus.publish(message("lost")).await.is_err(), "{commands:?}");
        let found = repair_broadcasts(&link, &prefix, false).await.unwrap();
        let key = commands[0][1];
        assert!(found.len() == 1 && found[0].0 == key, "{commands:?}: {found:?}");
        assert_eq!(repair_broadcasts(&link, &prefix, true).await.unwrap(), found);
        until_connected(&bus).await;
        publish(&bus, "after").await;
        let delivered = async {
            loop {
                match subscription.next().await {
                    Some(Delivery::Message(message)) if message.content.body == "after" => break,
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, delivered).await.expect("the message comes");
    }
}

//! Each rule over each bus.

use std::sync::Arc;

use event_bus::MemoryBus;
use redis_fixture::{RedisCluster, RedisSentinel, RedisServer};

use crate::{End, broadcasts, redis_ends};

macro_rules! rules {
    ($($module:ident::$rule:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $rule() {
                let bus = MemoryBus::new();
                let ends: (End, End) = (Arc::new(bus.clone()), Arc::new(bus));
                $module::$rule(ends).await;
            })*
        }

        mod redis {
            use super::*;
            $(#[tokio::test]
            async fn $rule() {
                let server = RedisServer::start().await;
                $module::$rule(redis_ends(&server.url(), "test")).await;
            })*
        }

        /// All rules one after the other, each under a prefix of its own.
        async fn all(url: &str) {
            $(
                eprintln!("rule {}", stringify!($rule));
                $module::$rule(redis_ends(url, stringify!($rule))).await;
            )*
        }
    };
}

rules! {
    broadcasts::everyone_gets_a_message,
    broadcasts::a_message_arrives_as_it_was_sent,
    broadcasts::a_subscriber_gets_what_comes_after_it,
    broadcasts::all_see_one_order,
    broadcasts::acknowledgements_reach_the_sender,
    broadcasts::an_acknowledgement_is_for_its_message_alone,
    broadcasts::a_sender_need_not_wait,
    broadcasts::a_big_message_is_refused,
    broadcasts::a_slow_reader_is_told_and_delays_no_other,
    broadcasts::a_reader_that_left_is_no_matter,
    broadcasts::the_status_tells,
    broadcasts::a_bus_that_ended_ends_its_subscriptions,
}

#[tokio::test]
async fn over_a_cluster() {
    let cluster = RedisCluster::start().await;
    all(&cluster.url()).await;
}

#[tokio::test]
async fn over_a_sentinel() {
    let sentinel = RedisSentinel::start().await;
    all(&sentinel.url()).await;
}

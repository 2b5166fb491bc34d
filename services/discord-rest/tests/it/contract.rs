//! The contract of [`Budget`], over memory, one Redis and a Redis Cluster. A rule is a function over two handles of one fresh budget.

use std::{sync::Arc, time::Duration};

use discord_rest::{Budget, LimitRules, MemoryBudget, RedisBudget};
use redis_fixture::{RedisCluster, RedisServer, RedisUser};
use redis_link::{LinkOptions, RedisLink};

use crate::rules;

/// Two handles of one budget.
pub(crate) type Pair = [Arc<dyn Budget>; 2];

/// So few, that a test comes to it.
pub(crate) const RULES: LimitRules = LimitRules { invalid_limit: 6 };

pub(crate) fn redis_budget(url: &str, prefix: &str) -> RedisBudget {
    let link = RedisLink::new(url.parse().unwrap(), LinkOptions::default());
    RedisBudget::new(link, &prefix.parse().unwrap(), RULES)
}

fn memory() -> Pair {
    let budget: Arc<MemoryBudget> = Arc::new(MemoryBudget::new(RULES));
    [budget.clone(), budget]
}

fn redis(url: &str, prefix: &str) -> Pair {
    [Arc::new(redis_budget(url, prefix)), Arc::new(redis_budget(url, prefix))]
}

macro_rules! contract {
    ($($rule:ident),* $(,)?) => {
        mod in_memory {
            use super::{memory, rules};
            $(#[tokio::test] async fn $rule() { rules::$rule(memory()).await; })*
        }

        #[tokio::test]
        async fn on_redis() {
            let server = RedisServer::start().await;
            $(rules::$rule(redis(&server.url(), stringify!($rule))).await;)*
            everything_expires(&server).await;
        }

        #[tokio::test]
        async fn as_a_member() {
            let server = RedisServer::start_with_users().await;
            $(
                server.command::<()>(&["FLUSHALL"]).await;
                rules::$rule(redis(&server.url_as(RedisUser::Member), "altergolden")).await;
            )*
        }

        #[tokio::test]
        async fn on_a_cluster() {
            let cluster = RedisCluster::start().await;
            $(rules::$rule(redis(&cluster.url(), stringify!($rule))).await;)*
        }
    };
}

contract!(
    the_first_of_a_route_is_waited_for,
    two_never_send_more_than_the_global_limit,
    another_token_and_the_exempt_are_not_held_up,
    a_bucket_empties_and_fills_again,
    answers_out_of_order_do_not_fill_a_bucket,
    other_users_of_a_bucket_are_noticed,
    requests_in_flight_count_for_the_next_window,
    routes_of_one_bucket_share_it,
    a_429_of_the_bucket_stops_the_bucket,
    a_global_429_stops_all_but_the_exempt,
    a_limit_within_the_bucket_stops_nothing,
    the_breaker_opens_for_all,
    a_ban_by_address_opens_the_breaker,
    a_refused_token_is_refused_everywhere,
    valid_token_may_fail_twice,
    a_route_without_headers_is_not_waited_for,
);

/// A worker that dies holds nothing for ever: there is no key that would stay.
async fn everything_expires(server: &RedisServer) {
    let keys: Vec<String> = server.command(&["KEYS", "*"]).await;
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        let left: i64 = server.command(&["PTTL", &key]).await;
        // -2: it just did.
        assert!(left > 0 || left == -2, "{key} stays");
        assert!(left <= Duration::from_hours(24).as_millis() as i64, "{key}: {left} ms");
        assert!(key.contains(":rest}:"), "{key}");
    }
}

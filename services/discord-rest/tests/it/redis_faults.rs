//! Two workers with one Redis, which goes away and comes back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use discord_rest::{Budget, FleetShare, RestMetrics, RestStatus, SharedBudget};
use futures_util::future::join_all;
use redis_fixture::RedisServer;
use redis_link::{LinkOptions, RedisLink};
use tokio_util::sync::CancellationToken;

use crate::{
    bench::{Bench, Setting},
    contract::{RULES, redis_budget},
    discord::{Discord, answer, at_once},
    until,
};

/// As late as requests may be on their way on a busy machine.
const LATE: Duration = Duration::from_millis(400);

/// A worker's proxy, one of two, with the global limit of ten.
async fn worker(discord: &Discord, redis: &str, stop: &CancellationToken) -> Bench {
    let options =
        LinkOptions { deadline: Duration::from_millis(500), connect_timeout: Duration::from_millis(400) };
    let link = RedisLink::new(redis.parse().unwrap(), options);
    let budget = discord_rest::RedisBudget::new(link, &"test".parse().unwrap(), RULES);
    let (metrics, status) = (RestMetrics::default(), RestStatus::default());
    let shared = SharedBudget::new(
        budget,
        RULES,
        || FleetShare { rank: 0, workers: 2 },
        metrics.clone(),
        status.clone(),
    );
    tokio::spawn(shared.clone().keep(stop.clone()));
    let setting = Setting { per_second: 10, metrics, status, ..Setting::over(shared) };
    Bench::start(discord.address, setting).await
}

/// How long `count` requests by each of these take.
async fn take(benches: &[&Bench], count: usize, path: &str) -> Duration {
    let began = Instant::now();
    let all = benches.iter().flat_map(|bench| (0..count).map(|_| bench.get(path)));
    let all = join_all(all).await;
    assert!(all.iter().all(|got| got.status == 200), "{all:?}");
    began.elapsed()
}

/// No `limit` + 1 requests came within a second, but for how late some may be.
fn never_more_than(limit: usize, discord: &Discord) {
    let came = discord.came();
    for window in came.windows(limit + 1) {
        let apart = window[limit].at.duration_since(window[0].at);
        assert!(apart + LATE > Duration::from_secs(1), "{} requests within {apart:?}", limit + 1);
    }
}

fn discord() -> crate::discord::Says {
    at_once(|_, _| answer(200, &[], "{}"))
}

#[tokio::test]
async fn two_workers_share_one_global_limit() {
    let (redis, discord) = (RedisServer::start().await, Discord::start(discord()).await);
    let one = Bench::start(discord.address, Setting::over(Arc::new(redis_budget(&redis.url(), "t")))).await;
    let two = Bench::start(discord.address, Setting::over(Arc::new(redis_budget(&redis.url(), "t")))).await;
    let took = take(&[&one, &two], 75, "/users/@me").await;
    assert_eq!(discord.came().len(), 150);
    never_more_than(50, &discord);
    assert!(took < Duration::from_secs(6), "150 requests need two further seconds, not {took:?}");
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn worker_continues_with_its_share_and_returns_to_the_common_budget() {
    let (mut redis, discord) = (RedisServer::start().await, Discord::start(discord()).await);
    let stop = CancellationToken::new();
    let (one, two) =
        (worker(&discord, &redis.url(), &stop).await, worker(&discord, &redis.url(), &stop).await);
    take(&[&one, &two], 1, "/users/@me").await;
    assert!(one.status.problems().is_empty());

    redis.kill();
    // Ten of each at five a second, after a second in which nothing is sent.
    let took = take(&[&one, &two], 10, "/users/@me").await;
    assert!(took > Duration::from_millis(1_900), "{took:?}");
    for bench in [&one, &two] {
        let problems = bench.status.problems();
        assert!(problems[0].message.contains("its own share, one of 2"), "{problems:?}");
        assert_eq!((bench.metric("rest_fallback"), bench.metric("rest_fallbacks_total")), (1, 1));
    }

    redis.restart().await;
    until("both to be back", || one.status.problems().is_empty() && two.status.problems().is_empty()).await;
    assert_eq!(one.metric("rest_fallback"), 0);
    take(&[&one, &two], 10, "/users/@me").await;
    never_more_than(10, &discord);
    let turns: Vec<String> = redis.command(&["KEYS", "*:turns"]).await;
    assert_eq!(turns.len(), 1, "the budget is the fleet's again: {turns:?}");
    stop.cancel();
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn a_redis_that_hangs_costs_one_deadline_and_not_one_for_each_request() {
    let (redis, discord) = (RedisServer::start().await, Discord::start(discord()).await);
    let stop = CancellationToken::new();
    let bench = worker(&discord, &redis.url(), &stop).await;
    take(&[&bench], 1, "/users/@me").await;
    redis.pause();
    // All at once: half a second for Redis, a second held back, then five a second.
    let took = take(&[&bench], 5, "/users/@me").await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    redis.resume();
    until("it to be back", || bench.status.problems().is_empty()).await;
    stop.cancel();
    bench.finish().await;
}

#[tokio::test]
async fn a_redis_that_is_away_from_the_start_delays_no_request() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let discord = Discord::start(discord()).await;
    let stop = CancellationToken::new();
    let bench = worker(&discord, &format!("redis://{unused}"), &stop).await;
    let took = take(&[&bench], 1, "/users/@me").await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    stop.cancel();
    bench.finish().await;
}

/// The budget alone, without a fallback, says that it is away.
#[tokio::test]
async fn only_the_common_budget_reports_that_it_is_unreachable() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let budget: Arc<dyn Budget> = Arc::new(redis_budget(&format!("redis://{unused}"), "t"));
    let discord = Discord::start(discord()).await;
    let bench = Bench::start(discord.address, Setting::over(budget)).await;
    let got = bench.get("/users/@me").await;
    assert_eq!((got.status.as_u16(), got.header("x-answered-by")), (503, "altergolden"));
    bench.finish().await;
}

/// Keys of another type, numbers that are none, times in the far future, and keys that never expire.
#[tokio::test]
async fn budget_that_another_program_has_written_blocks_nothing_for_long() {
    const TYPE: &str = "local kind = redis.call('TYPE', KEYS[1]).ok
        redis.call('DEL', KEYS[1])
        if kind == 'set' then redis.call('RPUSH', KEYS[1], 'x') else redis.call('SADD', KEYS[1], 'x') end";
    const VALUES: &str = "local kind = redis.call('TYPE', KEYS[1]).ok
        if kind == 'string' then redis.call('SET', KEYS[1], ARGV[1]) end
        if kind == 'hash' then
          for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do redis.call('HSET', KEYS[1], field, ARGV[1]) end
          for _, field in ipairs({'blocked', 'refused_until', 'stopped', 'ends'}) do redis.call('HSET', KEYS[1], field, ARGV[1]) end
        end
        if kind == 'list' then redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], ARGV[1]) end
        if kind == 'zset' then redis.call('ZADD', KEYS[1], 9e15, 'x') end
        redis.call('PERSIST', KEYS[1])";
    let limits = [
        ("x-ratelimit-bucket", "b"),
        ("x-ratelimit-limit", "5"),
        ("x-ratelimit-remaining", "4"),
        ("x-ratelimit-reset-after", "1"),
    ];
    let discord = Discord::start(at_once(move |_, _| answer(200, &limits, "{}"))).await;
    for (script, value) in [(TYPE, ""), (VALUES, "x"), (VALUES, "18446744073709551615"), (VALUES, "")] {
        let redis = RedisServer::start().await;
        let budget = Arc::new(redis_budget(&redis.url(), "test"));
        let bench = Bench::start(discord.address, Setting::over(budget)).await;
        take(&[&bench], 2, "/channels/7/messages").await;
        let keys: Vec<String> = redis.command(&["KEYS", "{test:rest}*"]).await;
        assert!(keys.len() >= 3, "{keys:?}");
        for key in keys {
            redis.command::<()>(&["EVAL", script, "1", &key, value]).await;
        }
        let took = take(&[&bench], 3, "/channels/7/messages").await;
        assert!(took < Duration::from_secs(10), "{value}: {took:?}");
        bench.finish().await;
    }
}

//! Against discord-sim, which keeps Discord's limits and notes who breaks them.

use std::sync::Arc;

use discord_sim::{Fault, Sim, SimConfig};
use futures_util::future::join_all;
use redis_fixture::RedisServer;

use crate::{
    bench::{Bench, Setting},
    contract::redis_budget,
};

#[tokio::test]
async fn two_workers_that_share_a_bucket_break_no_rule() {
    let (redis, sim) =
        tokio::join!(RedisServer::start(), Sim::start(SimConfig { guilds: 4, ..SimConfig::default() }));
    let sim = sim.unwrap();
    let bench = async |prefix| {
        let setting = Setting::over(Arc::new(redis_budget(&redis.url(), prefix)));
        Bench::start(sim.addr(), setting).await
    };
    let (one, two) = (bench("t").await, bench("t").await);
    let channel = channel(&one, &sim).await;
    let path = format!("/channels/{channel}/messages");
    // Five in five seconds: three windows.
    let all = (0..6).flat_map(|_| [&one, &two]).map(|bench| bench.post(&path, r#"{"content":"x"}"#));
    let all = join_all(all).await;
    assert!(all.iter().all(|got| got.status == 200 || got.status == 429), "{all:?}");
    let written = all.iter().filter(|got| got.status == 200).count();
    assert!(written >= 10, "two windows fit into the wait: {written}");
    assert!(all.iter().all(|got| got.status == 200 || got.header("x-answered-by") == "altergolden"));
    let violations = sim.control().violations();
    assert!(violations.items.is_empty(), "{:?}", violations.items);
    one.finish().await;
    two.finish().await;
    sim.shutdown().await;
}

#[tokio::test]
async fn twilight_repeats_once_after_a_429_of_each_scope() {
    let sim = Sim::start(SimConfig { guilds: 4, ..SimConfig::default() }).await.unwrap();
    let bench = Bench::to(sim.addr()).await;
    let twilight = twilight_http::Client::builder()
        .token("judge".to_owned())
        .proxy(bench.address.to_string(), true)
        .ratelimiter(None)
        .build();
    for scope in
        [discord_sim::LimitScope::User, discord_sim::LimitScope::Shared, discord_sim::LimitScope::Global]
    {
        sim.control().inject(Fault::RateLimit { count: 1, scope, retry_after: 1.0 }).unwrap();
        twilight.current_user().await.unwrap().model().await.unwrap();
    }
    let requests = sim.control().requests();
    let of = |status| {
        let counts = requests.counts.iter().filter(|count| count.status == status);
        counts.map(|count| count.count).sum::<u64>()
    };
    assert_eq!((of(429), of(200)), (3, 3), "{requests:?}");
    assert!(sim.control().violations().items.is_empty());
    bench.finish().await;
    sim.shutdown().await;
}

/// A channel to write in.
async fn channel(bench: &Bench, sim: &Sim) -> String {
    let guild = sim.control().guilds(1, 1)[0].id;
    let channels = bench.get(&format!("/guilds/{guild}/channels")).await;
    let channels: serde_json::Value = serde_json::from_str(&channels.body).unwrap();
    let text = channels.as_array().unwrap().iter().find(|channel| channel["type"] == 0).unwrap();
    text["id"].as_str().unwrap().to_owned()
}

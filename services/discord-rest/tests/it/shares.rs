//! A fleet without Redis: together all workers keep to one bot's limits.

use std::{sync::Arc, time::Duration};

use discord_rest::{
    Budget, BudgetAnswer, BudgetReport, BudgetRequest, Caller, FleetShare, LimitRules, RedisBudget,
    RestMetrics, RestStatus, SharedBudget, StopReason,
};
use futures_util::future::join_all;
use http::HeaderValue;
use redis_link::{LinkOptions, RedisLink};
use tokio::time::{Instant, sleep};

const INVALID: u32 = 9_500;

/// The budgets of `workers` workers whose Redis is unreachable.
fn fleet(workers: u32) -> Vec<Arc<SharedBudget>> {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rules = LimitRules { invalid_limit: INVALID };
    (0..workers)
        .map(|rank| {
            let link = RedisLink::new(format!("redis://{unused}").parse().unwrap(), LinkOptions::default());
            let redis = RedisBudget::new(link, &"test".parse().unwrap(), rules);
            let share = move || FleetShare { rank, workers };
            SharedBudget::new(redis, rules, share, RestMetrics::default(), RestStatus::default())
        })
        .collect()
}

fn ask(number: u64) -> BudgetRequest {
    BudgetRequest {
        permit: number,
        caller: Caller::of(Some(&HeaderValue::from_static("Bot t"))),
        per_second: Some(50),
        pattern: format!("GET /{number}").into(),
        major: "".into(),
        patience: Duration::from_mins(2),
    }
}

/// The times at which a worker sends, if it always sends when it may.
async fn sends(budget: &SharedBudget, until: Instant) -> Vec<Instant> {
    let mut turns = Vec::new();
    loop {
        match budget.ask(&ask(turns.len() as u64)).await.unwrap() {
            BudgetAnswer::Go(after) if Instant::now() + after < until => {
                turns.push(Instant::now() + after);
                sleep(after).await;
            }
            BudgetAnswer::Go(_) => return turns,
            other => panic!("no turn: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_workers_keep_to_the_global_limit_together() {
    for (workers, seconds, at_least) in [(1_000, 45, 1_900), (120, 10, 350), (30, 5, 60)] {
        let began = std::time::Instant::now();
        let fleet = fleet(workers);
        // Their clocks differ by the time it took to start them.
        let apart_by = began.elapsed();
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut turns = join_all(fleet.iter().map(|budget| sends(budget, until))).await.concat();
        turns.sort_unstable();
        for window in turns.windows(51) {
            let apart = window[50] - window[0] + apart_by;
            assert!(apart >= Duration::from_secs(1), "{workers} workers: 51 requests within {apart:?}");
        }
        assert!(turns.len() >= at_least, "{workers} workers: only {} requests", turns.len());
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_requests_of_all_workers_stay_below_the_ban() {
    for workers in [1_000, 700, 30] {
        let mut sum = 0;
        for budget in fleet(workers) {
            let ask = ask(0);
            let refused =
                BudgetReport { ask, status: Some(403), seen: None, limited: None, judges_token: true };
            loop {
                sum += 1;
                if budget.report(&refused).await.unwrap().breaker.is_some() {
                    break;
                }
            }
            assert!(matches!(budget.breaker().await, Ok(Some((_, StopReason::Breaker)))));
        }
        assert!(sum <= INVALID && sum > INVALID * 8 / 10, "{workers} workers: {sum}");
    }
}

//! The rules of the contract.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use discord_rest::{
    BucketHeaders, Budget, BudgetAnswer, BudgetReport, BudgetRequest, BudgetState, Caller, RateLimit, Scope,
    StopReason, WaitReason,
};
use http::HeaderValue;
use tokio::time::sleep;

use crate::contract::Pair;

static PERMITS: AtomicU64 = AtomicU64::new(1);

const MESSAGES: &str = "POST /channels/:id/messages";

fn token(token: &'static str) -> Caller {
    Caller::of(Some(&HeaderValue::from_static(token)))
}

fn ask_for(pattern: &str, major: &str) -> BudgetRequest {
    BudgetRequest {
        permit: PERMITS.fetch_add(1, Ordering::Relaxed),
        caller: token("Bot t"),
        per_second: Some(50),
        pattern: pattern.into(),
        major: major.into(),
        patience: Duration::from_secs(20),
    }
}

fn ask() -> BudgetRequest {
    ask_for(MESSAGES, "7")
}

fn seen(remaining: u32, reset_after_ms: u64, reset: u64) -> BucketHeaders {
    BucketHeaders {
        bucket: "b".into(),
        limit: 5,
        remaining,
        reset_after: Duration::from_millis(reset_after_ms),
        reset,
    }
}

fn answered(ask: &BudgetRequest, seen: Option<BucketHeaders>) -> BudgetReport {
    BudgetReport { ask: ask.clone(), status: Some(200), seen, limited: None, judges_token: true }
}

fn refused(ask: &BudgetRequest, status: u16, limited: Option<(Scope, u64)>) -> BudgetReport {
    let limited =
        limited.map(|(scope, after)| RateLimit { scope, retry_after: Duration::from_millis(after) });
    BudgetReport { ask: ask.clone(), status: Some(status), seen: None, limited, judges_token: true }
}

async fn goes(budget: &Arc<dyn Budget>, ask: &BudgetRequest) {
    assert_eq!(budget.ask(ask).await.unwrap(), BudgetAnswer::Go(Duration::ZERO), "{ask:?}");
}

/// It waits for this reason; for how long.
async fn waits(budget: &Arc<dyn Budget>, ask: &BudgetRequest, why: WaitReason) -> Duration {
    match budget.ask(ask).await.unwrap() {
        BudgetAnswer::Wait(wait, reason) if reason == why => wait,
        other => panic!("it should wait for {why:?}: {other:?}"),
    }
}

/// A budget that knows the bucket of messages: five in a window that lasts for so long from now, one of them used.
async fn learned([one, _]: &Pair, lasts_ms: u64) {
    let first = ask();
    goes(one, &first).await;
    one.report(&answered(&first, Some(seen(4, lasts_ms, 1_000_000)))).await.unwrap();
}

pub(crate) async fn the_first_of_a_route_is_waited_for([one, two]: Pair) {
    let first = ask();
    goes(&one, &first).await;
    let wait = waits(&two, &ask(), WaitReason::Learning).await;
    assert!(wait <= Duration::from_millis(50), "{wait:?}");
    waits(&two, &ask_for(MESSAGES, "8"), WaitReason::Learning).await;
    goes(&two, &ask_for("GET /users/:id", "")).await;
    one.report(&answered(&first, Some(seen(4, 20_000, 1_000_000)))).await.unwrap();
    for _ in 0..4 {
        goes(&two, &ask()).await;
    }
    waits(&one, &ask(), WaitReason::Bucket).await;
    for _ in 0..5 {
        goes(&one, &ask_for(MESSAGES, "8")).await;
    }
    waits(&two, &ask_for(MESSAGES, "8"), WaitReason::Bucket).await;
}

pub(crate) async fn two_never_send_more_than_the_global_limit(pair: Pair) {
    let ask_many = |budget: Arc<dyn Budget>| async move {
        let mut turns = Vec::new();
        for number in 0..60 {
            let before = Instant::now();
            // Routes of their own: nothing but the global limit holds them up.
            let BudgetAnswer::Go(after) = budget.ask(&ask_for(&format!("GET /{number}"), "")).await.unwrap()
            else {
                // The other's of the same number is the first of its route.
                continue;
            };
            turns.push((before + after, Instant::now() + after));
        }
        turns
    };
    let [one, two] = pair;
    let (one, two) = tokio::join!(tokio::spawn(ask_many(one)), tokio::spawn(ask_many(two)));
    let mut turns = [one.unwrap(), two.unwrap()].concat();
    turns.sort_unstable();
    assert!(turns.len() > 55, "{}", turns.len());
    for window in turns.windows(51) {
        // From the earliest that the first can be to the latest that the last can be.
        let apart = window[50].1.duration_since(window[0].0);
        assert!(apart > Duration::from_secs(1), "51 turns within {apart:?}");
    }
}

pub(crate) async fn another_token_and_the_exempt_are_not_held_up([one, two]: Pair) {
    let small = |pattern: &str| BudgetRequest { per_second: Some(2), ..ask_for(pattern, "") };
    for number in 0..2 {
        goes(&one, &small(&format!("GET /{number}"))).await;
    }
    let hurried = BudgetRequest { patience: Duration::from_millis(20), ..small("GET /2") };
    let wait = waits(&two, &hurried, WaitReason::Global).await;
    assert!(wait > Duration::from_millis(20) && wait <= Duration::from_millis(1_050), "{wait:?}");
    goes(&two, &BudgetRequest { caller: token("Bot u"), ..small("GET /2") }).await;
    goes(&two, &BudgetRequest { caller: Caller::open(), per_second: None, ..small("GET /3") }).await;
    let BudgetAnswer::Go(after) = two.ask(&small("GET /4")).await.unwrap() else { panic!("it can wait") };
    assert!(!after.is_zero() && after <= Duration::from_millis(1_050), "{after:?}");
}

pub(crate) async fn a_bucket_empties_and_fills_again(pair: Pair) {
    learned(&pair, 1_500).await;
    let [one, two] = &pair;
    for _ in 0..2 {
        for budget in &pair {
            let ask = ask();
            goes(budget, &ask).await;
            budget.report(&answered(&ask, None)).await.unwrap();
        }
    }
    let wait = waits(one, &ask(), WaitReason::Bucket).await;
    assert!(wait <= Duration::from_millis(1_500), "{wait:?}");
    sleep(wait).await;
    for _ in 0..5 {
        goes(two, &ask()).await;
    }
    // The end of this window is unknown: soon to be asked again.
    assert_eq!(waits(one, &ask(), WaitReason::Bucket).await, Duration::from_millis(50));
}

pub(crate) async fn answers_out_of_order_do_not_fill_a_bucket(pair: Pair) {
    learned(&pair, 20_000).await;
    let [one, two] = &pair;
    let mut asks = Vec::new();
    for _ in 0..4 {
        asks.push(ask());
        goes(one, &asks[asks.len() - 1]).await;
    }
    for (index, remaining) in [(3, 0), (2, 1), (0, 3), (1, 2)] {
        two.report(&answered(&asks[index], Some(seen(remaining, 19_000, 1_000_000)))).await.unwrap();
    }
    waits(one, &ask(), WaitReason::Bucket).await;
}

pub(crate) async fn other_users_of_a_bucket_are_noticed(pair: Pair) {
    learned(&pair, 20_000).await;
    let [one, two] = &pair;
    let second = ask();
    goes(one, &second).await;
    one.report(&answered(&second, Some(seen(1, 19_000, 1_000_000)))).await.unwrap();
    goes(two, &ask()).await;
    waits(two, &ask(), WaitReason::Bucket).await;
}

pub(crate) async fn requests_in_flight_count_for_the_next_window(pair: Pair) {
    learned(&pair, 1_500).await;
    let [one, two] = &pair;
    let slow = ask();
    goes(one, &slow).await;
    sleep(Duration::from_millis(1_500)).await;
    let mut next = Vec::new();
    for _ in 0..4 {
        next.push(ask());
        goes(two, &next[next.len() - 1]).await;
    }
    waits(two, &ask(), WaitReason::Bucket).await;
    // The old window's answer comes late, and says nothing of the new one.
    one.report(&answered(&slow, Some(seen(3, 1, 1_000_000)))).await.unwrap();
    one.report(&answered(&next[0], Some(seen(4, 20_000, 1_020_000)))).await.unwrap();
    let wait = waits(one, &ask(), WaitReason::Bucket).await;
    assert!(wait > Duration::from_secs(10), "the window is open for as long as the answer says: {wait:?}");
}

pub(crate) async fn routes_of_one_bucket_share_it(pair: Pair) {
    learned(&pair, 20_000).await;
    let [one, two] = &pair;
    let edit = || ask_for("PATCH /channels/:id/messages/:id", "7");
    let first = edit();
    goes(two, &first).await;
    two.report(&answered(&first, Some(seen(3, 19_900, 1_000_000)))).await.unwrap();
    for ask in [edit(), ask(), edit()] {
        goes(one, &ask).await;
    }
    waits(two, &ask(), WaitReason::Bucket).await;
    waits(two, &edit(), WaitReason::Bucket).await;
}

pub(crate) async fn a_429_of_the_bucket_stops_the_bucket(pair: Pair) {
    learned(&pair, 20_000).await;
    let [one, two] = &pair;
    for (scope, channel) in [(Scope::User, "20"), (Scope::Shared, "21")] {
        let limited = ask_for(MESSAGES, channel);
        goes(one, &limited).await;
        one.report(&refused(&limited, 429, Some((scope, 1_500)))).await.unwrap();
        let wait = waits(two, &ask_for(MESSAGES, channel), WaitReason::Bucket).await;
        assert!(wait <= Duration::from_millis(1_500), "{scope:?}: {wait:?}");
        goes(two, &ask_for(MESSAGES, "22")).await;
        sleep(wait).await;
        goes(two, &ask_for(MESSAGES, channel)).await;
    }
    // A route with an unknown bucket is stopped by itself.
    let unknown = ask_for("GET /guilds/:id", "9");
    goes(one, &unknown).await;
    one.report(&refused(&unknown, 429, Some((Scope::User, 20_000)))).await.unwrap();
    waits(two, &ask_for("GET /guilds/:id", "9"), WaitReason::Bucket).await;
}

pub(crate) async fn a_global_429_stops_all_but_the_exempt(pair: Pair) {
    learned(&pair, 20_000).await;
    let [one, two] = &pair;
    let limited = ask();
    goes(one, &limited).await;
    one.report(&refused(&limited, 429, Some((Scope::Global, 5_000)))).await.unwrap();
    let BudgetAnswer::Go(after) = two.ask(&ask_for("GET /guilds/:id", "1")).await.unwrap() else {
        panic!("it can wait that long")
    };
    assert!(after > Duration::from_secs(2) && after <= Duration::from_secs(5), "{after:?}");
    let hurried = BudgetRequest { patience: Duration::from_millis(100), ..ask() };
    waits(two, &hurried, WaitReason::Global).await;
    goes(two, &BudgetRequest { caller: Caller::open(), per_second: None, ..ask() }).await;
    goes(two, &BudgetRequest { caller: token("Bot u"), ..ask() }).await;
}

pub(crate) async fn a_limit_within_the_bucket_stops_nothing(pair: Pair) {
    learned(&pair, 20_000).await;
    let [one, two] = &pair;
    let renaming = ask();
    goes(one, &renaming).await;
    one.report(&refused(&renaming, 429, Some((Scope::Sub, 600_000)))).await.unwrap();
    goes(two, &ask()).await;
}

pub(crate) async fn the_breaker_opens_for_all([one, two]: Pair) {
    let ask = ask_for("GET /channels/:id", "1");
    for count in 1..6 {
        let told = one.report(&refused(&ask, 403, None)).await.unwrap();
        assert_eq!(told, BudgetState { invalid: Some(count), breaker: None });
    }
    for fine in [refused(&ask, 404, None), refused(&ask, 429, Some((Scope::Shared, 1))), answered(&ask, None)]
    {
        assert_eq!(two.report(&fine).await.unwrap(), BudgetState::default(), "{fine:?}");
    }
    let told = two.report(&refused(&ask, 429, Some((Scope::User, 1)))).await.unwrap();
    assert_eq!(told.invalid, Some(6));
    let (open, why) = told.breaker.unwrap();
    assert_eq!(why, StopReason::Breaker);
    assert!(open > Duration::from_secs(590) && open <= Duration::from_secs(620), "{open:?}");
    for other in [ask, BudgetRequest { caller: Caller::open(), per_second: None, ..ask_for("POST /x", "") }] {
        let answer = one.ask(&other).await.unwrap();
        assert!(
            matches!(answer, BudgetAnswer::Stop(left, StopReason::Breaker) if left <= open),
            "{answer:?}"
        );
    }
}

pub(crate) async fn a_ban_by_address_opens_the_breaker([one, two]: Pair) {
    let told = one.report(&refused(&ask(), 429, Some((Scope::Address, 900_000)))).await.unwrap();
    assert!(
        told.breaker.is_some_and(|(left, why)| left > Duration::from_secs(890) && why == StopReason::Blocked)
    );
    for budget in [&one, &two] {
        assert!(matches!(budget.ask(&ask()).await.unwrap(), BudgetAnswer::Stop(_, StopReason::Blocked)));
        let open = budget.breaker().await.unwrap();
        assert!(
            open.is_some_and(|(left, why)| left > Duration::from_secs(890) && why == StopReason::Blocked)
        );
    }
}

pub(crate) async fn a_refused_token_is_refused_everywhere([one, two]: Pair) {
    one.report(&refused(&ask(), 401, None)).await.unwrap();
    let answer = two.ask(&ask()).await.unwrap();
    assert!(
        matches!(answer, BudgetAnswer::Stop(left, StopReason::Token) if left <= Duration::from_mins(1)),
        "{answer:?}"
    );
    goes(&two, &BudgetRequest { caller: token("Bot u"), ..ask() }).await;
}

pub(crate) async fn valid_token_may_fail_twice([one, two]: Pair) {
    let ask = ask_for("GET /users/@me", "");
    let refusal = refused(&ask, 401, None);
    one.report(&answered(&ask, None)).await.unwrap();
    for budget in [&one, &two] {
        budget.report(&refusal).await.unwrap();
        goes(budget, &ask).await;
    }
    one.report(&BudgetReport { judges_token: false, ..refusal.clone() }).await.unwrap();
    goes(&one, &ask).await;
    one.report(&refusal).await.unwrap();
    assert!(matches!(two.ask(&ask).await.unwrap(), BudgetAnswer::Stop(_, StopReason::Token)));
}

pub(crate) async fn a_route_without_headers_is_not_waited_for([one, two]: Pair) {
    let first = ask_for("GET /gateway", "");
    goes(&one, &first).await;
    one.report(&answered(&first, None)).await.unwrap();
    for _ in 0..20 {
        goes(&two, &ask_for("GET /gateway", "")).await;
    }
}

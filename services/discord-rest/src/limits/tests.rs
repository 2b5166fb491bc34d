//! The rules, on a clock that the test turns.

use super::*;
use crate::{BucketHeaders, RateLimit};
use http::HeaderValue;

fn bot() -> Caller {
    Caller::of(Some(&HeaderValue::from_static("Bot t")))
}

fn ask_for(permit: u64, pattern: &str, major: &str) -> BudgetRequest {
    BudgetRequest {
        permit,
        caller: bot(),
        per_second: Some(50),
        pattern: pattern.into(),
        major: major.into(),
        patience: Duration::from_secs(10),
    }
}

fn ask(permit: u64) -> BudgetRequest {
    ask_for(permit, "POST /channels/:id/messages", "7")
}

fn seen(limit: u32, remaining: u32, reset_after: u64, reset: u64) -> BucketHeaders {
    BucketHeaders { bucket: "b".into(), limit, remaining, reset_after: ms(reset_after), reset }
}

fn answered(ask: BudgetRequest, seen: Option<BucketHeaders>) -> BudgetReport {
    BudgetReport { ask, status: Some(200), seen, limited: None, judges_token: true }
}

fn refused(ask: BudgetRequest, status: u16, limited: Option<(Scope, u64)>) -> BudgetReport {
    let limited = limited.map(|(scope, after)| RateLimit { scope, retry_after: ms(after) });
    BudgetReport { ask, status: Some(status), seen: None, limited, judges_token: true }
}

const GO: BudgetAnswer = BudgetAnswer::Go(Duration::ZERO);

fn limits() -> Limits {
    Limits::new(LimitRules::default())
}

#[test]
fn the_first_request_of_a_route_is_waited_for_and_not_for_ever() {
    let mut limits = limits();
    assert_eq!(limits.ask(&ask(1), None, 0), GO);
    assert_eq!(limits.ask(&ask(2), None, 10), BudgetAnswer::Wait(ms(50), WaitReason::Learning));
    assert_eq!(limits.ask(&ask_for(3, "GET /users/:id", ""), None, 10), GO, "another route");
    assert_eq!(
        limits.ask(&ask_for(4, "POST /channels/:id/messages", "8"), None, 10),
        BudgetAnswer::Wait(ms(50), WaitReason::Learning)
    );
    limits.report(&answered(ask(1), Some(seen(5, 4, 5_000, 9_000))), 100);
    for permit in 10..14 {
        assert_eq!(limits.ask(&ask(permit), None, 110), GO, "four are left");
    }
    assert_eq!(limits.ask(&ask(14), None, 120), BudgetAnswer::Wait(ms(4_980), WaitReason::Bucket));
    for permit in 20..25 {
        let other = ask_for(permit, "POST /channels/:id/messages", "8");
        assert_eq!(limits.ask(&other, None, 120), GO, "another channel's bucket is known to hold five");
    }
    // The first is never reported: after 2 s the next may try.
    let mut limits = Limits::new(LimitRules::default());
    let lost = |permit| ask_for(permit, "GET /guilds/:id", "1");
    assert_eq!(limits.ask(&lost(30), None, 0), GO);
    assert_eq!(limits.ask(&lost(31), None, 1_990), BudgetAnswer::Wait(ms(10), WaitReason::Learning));
    assert_eq!(limits.ask(&lost(31), None, 2_000), GO);
}

#[test]
fn a_route_without_a_bucket_waits_for_nothing_but_the_global_limit() {
    let mut limits = limits();
    limits.ask(&ask(1), None, 0);
    limits.report(&answered(ask(1), None), 50);
    assert!((2..40).all(|permit| limits.ask(&ask(permit), None, 60) == GO));
}

#[test]
fn the_51st_request_of_a_second_has_a_later_turn() {
    let mut limits = limits();
    let mut turns: Vec<u64> = Vec::new();
    for permit in 0..200 {
        let route = ask_for(permit, &format!("GET /{permit}"), "");
        let BudgetAnswer::Go(after) = limits.ask(&route, None, 1_000) else {
            panic!("it can wait for its turn")
        };
        turns.push(1_000 + millis(after));
    }
    for window in turns.windows(51) {
        assert!(window[50] - window[0] > 1_000, "51 within a second: {window:?}");
    }
    assert_eq!((turns[49], turns[50], turns[199]), (1_000, 2_050, 4_150), "and no slower than it must be");
    let hurried = BudgetRequest { patience: ms(100), ..ask_for(900, "GET /x", "") };
    assert!(
        matches!(limits.ask(&hurried, None, 1_000), BudgetAnswer::Wait(_, WaitReason::Global)),
        "no turn is taken"
    );
    let exempt = BudgetRequest { per_second: None, caller: Caller::open(), ..ask(901) };
    assert_eq!(limits.ask(&exempt, None, 1_000), GO);
    let other = BudgetRequest { caller: Caller::of(Some(&HeaderValue::from_static("Bot u"))), ..ask(902) };
    assert_eq!(limits.ask(&other, None, 1_000), GO, "another bot has a limit of its own");
}

/// A bucket of five that is known, with its window open until 5,000.
fn known() -> Limits {
    let mut limits = limits();
    limits.ask(&ask(1), None, 0);
    limits.report(&answered(ask(1), Some(seen(5, 4, 5_000, 105_000))), 0);
    limits
}

#[test]
fn answers_out_of_order_do_not_fill_a_bucket() {
    let mut limits = known();
    for permit in 2..6 {
        assert_eq!(limits.ask(&ask(permit), None, 10), GO);
    }
    for (permit, remaining) in [(5, 0), (4, 1), (2, 3), (3, 2)] {
        limits.report(&answered(ask(permit), Some(seen(5, remaining, 4_900, 105_000))), 100);
    }
    assert_eq!(limits.ask(&ask(6), None, 100), BudgetAnswer::Wait(ms(4_900), WaitReason::Bucket));
}

#[test]
fn other_programs_of_the_bot_in_a_bucket_are_noticed() {
    let mut limits = known();
    limits.ask(&ask(2), None, 10);
    limits.report(&answered(ask(2), Some(seen(5, 1, 4_900, 105_000))), 100);
    assert_eq!(limits.ask(&ask(3), None, 100), GO);
    assert_eq!(limits.ask(&ask(4), None, 100), BudgetAnswer::Wait(ms(4_900), WaitReason::Bucket));
}

#[test]
fn requests_in_flight_count_for_the_next_window_too() {
    let mut limits = known();
    assert!((2..6).all(|permit| limits.ask(&ask(permit), None, 10) == GO));
    for permit in 2..5 {
        limits.report(&answered(ask(permit), Some(seen(5, 0, 4_900, 105_000))), 100);
    }
    // The fifth is still under way when the window ends.
    assert!((6..10).all(|permit| limits.ask(&ask(permit), None, 5_000) == GO));
    assert_eq!(limits.ask(&ask(10), None, 5_000), BudgetAnswer::Wait(ms(POLL_MS), WaitReason::Bucket));
    // The old window's answer comes late: it says nothing of the new one.
    limits.report(&answered(ask(5), Some(seen(5, 0, 1, 105_000))), 5_010);
    limits.report(&answered(ask(6), Some(seen(5, 4, 4_990, 110_010))), 5_020);
    assert_eq!(limits.ask(&ask(10), None, 5_030), BudgetAnswer::Wait(ms(4_980), WaitReason::Bucket));
}

#[test]
fn a_worker_that_died_holds_nothing_for_ever() {
    let mut limits = known();
    assert!((2..6).all(|permit| limits.ask(&ask(permit), None, 10) == GO));
    // No request is ever reported.
    assert_eq!(limits.ask(&ask(6), None, 5_000), GO, "the next window has four left");
    assert_eq!(limits.ask(&ask(7), None, 5_000), BudgetAnswer::Wait(ms(POLL_MS), WaitReason::Bucket));
    assert!(
        (10..15).all(|permit| limits.ask(&ask(permit), None, 40_000) == GO),
        "all that was lost has come back"
    );
}

#[test]
fn scope_of_a_429_decides_which_requests_stop() {
    let elsewhere = ask_for(99, "GET /guilds/:id", "1");
    for scope in [Scope::User, Scope::Shared] {
        let mut limits = known();
        limits.ask(&ask(2), None, 0);
        limits.report(&refused(ask(2), 429, Some((scope, 2_000))), 100);
        assert_eq!(
            limits.ask(&ask(3), None, 100),
            BudgetAnswer::Wait(ms(2_000), WaitReason::Bucket),
            "{scope:?}"
        );
        assert_eq!(limits.ask(&elsewhere, None, 100), GO, "{scope:?}");
        assert_eq!(limits.ask(&ask(3), None, 2_100), GO, "{scope:?}");
    }
    let mut limits = known();
    limits.ask(&ask(2), None, 0);
    limits.report(&refused(ask(2), 429, Some((Scope::Global, 2_000))), 100);
    assert_eq!(limits.ask(&elsewhere, None, 100), BudgetAnswer::Go(ms(2_000)));
    let exempt = BudgetRequest { per_second: None, caller: Caller::open(), ..ask(5) };
    assert_eq!(limits.ask(&exempt, None, 100), GO);
    let mut limits = known();
    limits.ask(&ask(2), None, 0);
    limits.report(&refused(ask(2), 429, Some((Scope::Sub, 600_000))), 100);
    assert_eq!(limits.ask(&ask(3), None, 100), GO, "a limit within the bucket leaves the bucket alone");
}

#[test]
fn breaker_opens_before_the_ban_and_closes_later() {
    let mut limits = Limits::new(LimitRules { invalid_limit: 40 });
    let forbidden = |limits: &mut Limits, now| limits.report(&refused(ask(1), 403, None), now);
    for second in 0..39 {
        assert_eq!(forbidden(&mut limits, second * 1_000).breaker, None);
    }
    for report in
        [refused(ask(1), 404, None), refused(ask(1), 429, Some((Scope::Shared, 1))), answered(ask(1), None)]
    {
        assert_eq!(limits.report(&report, 39_000), BudgetState::default(), "{report:?} does not count");
    }
    let told = forbidden(&mut limits, 39_000);
    assert_eq!((told.invalid, told.breaker), (Some(40), Some((ms(620_000 - 39_000), StopReason::Breaker))));
    assert_eq!(limits.ask(&ask(2), None, 40_000), BudgetAnswer::Stop(ms(580_000), StopReason::Breaker));
    // 20 of them are out of the window then.
    assert_eq!(limits.ask(&ask(2), None, 620_000), GO);
    assert_eq!(forbidden(&mut limits, 620_000), BudgetState { invalid: Some(21), breaker: None });
}

#[test]
fn a_ban_by_address_opens_the_breaker_too() {
    let mut limits = limits();
    limits.report(&refused(ask(1), 429, Some((Scope::Address, 90_000_000))), 0);
    assert_eq!(limits.ask(&ask(2), None, 0), BudgetAnswer::Stop(ms(LONGEST_BAN_MS), StopReason::Blocked));
}

#[test]
fn invalid_token_is_not_sent_again_and_a_valid_one_may_fail_twice() {
    let stopped = BudgetAnswer::Stop(ms(60_000), StopReason::Token);
    let mut limits = limits();
    limits.report(&refused(ask(1), 401, None), 0);
    assert_eq!(limits.ask(&ask(2), None, 0), stopped);
    let other = BudgetRequest { caller: Caller::of(Some(&HeaderValue::from_static("Bot u"))), ..ask(3) };
    assert_eq!(limits.ask(&other, None, 0), GO);
    assert_eq!(limits.ask(&ask(2), None, 60_000), GO, "the token is tried again");
    let mut limits = known();
    for _ in 0..2 {
        limits.report(&refused(ask(1), 401, None), 0);
    }
    assert_eq!(limits.ask(&ask(2), None, 0), GO);
    limits.report(&refused(ask(2), 403, None), 0);
    for _ in 0..2 {
        limits.report(&refused(ask(1), 401, None), 0);
        assert_eq!(limits.ask(&ask(3), None, 0), GO, "403 says that the token is good");
    }
    limits.report(&refused(ask(1), 401, None), 0);
    assert_eq!(limits.ask(&ask(4), None, 0), stopped);
    let mut limits = known();
    let elsewhere = BudgetReport { judges_token: false, ..refused(ask(1), 401, None) };
    for _ in 0..9 {
        limits.report(&elsewhere, 0);
    }
    assert_eq!(limits.ask(&ask(5), None, 0), GO);
}

#[test]
fn after_holding_back_a_second_passes() {
    let mut limits = known();
    limits.hold_back(10_000);
    assert_eq!(limits.ask(&ask(2), None, 10_000), BudgetAnswer::Go(ms(1_050)));
    let exempt = BudgetRequest { per_second: None, caller: Caller::open(), ..ask(3) };
    assert_eq!(limits.ask(&exempt, None, 10_000), GO);
}

#[test]
fn unused_limits_are_forgotten() {
    let mut limits = known();
    for channel in 0..100_000_u64 {
        let ask = BudgetRequest {
            per_second: None,
            ..ask_for(channel, "POST /channels/:id/messages", &channel.to_string())
        };
        limits.ask(&ask, None, channel * 10);
    }
    assert!(limits.buckets.len() <= MOST_BUCKETS, "{}", limits.buckets.len());
}

use super::*;

fn discord() -> Backoff {
    Backoff::new(Policy::DISCORD)
}

#[test]
fn first_failure_after_a_steady_success_is_free() {
    let start = Instant::now();
    let mut backoff = discord();
    for _ in 0..5 {
        backoff.failed(start);
    }
    backoff.succeeded(start);
    backoff.failed(start + Policy::DISCORD.steady);
    assert_eq!(backoff.wait(1.0), Duration::ZERO);
    assert_eq!(backoff.failures(), 1);
}

#[test]
fn success_that_does_not_last_resets_nothing() {
    let start = Instant::now();
    let mut backoff = discord();
    let mut bounds = Vec::new();
    for _ in 0..9 {
        backoff.succeeded(start);
        backoff.failed(start + Policy::DISCORD.steady.mul_f64(0.9));
        bounds.push(backoff.wait(1.0).as_secs());
    }
    assert_eq!(bounds, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn ending_on_purpose_neither_fails_nor_lasts() {
    let (start, steady) = (Instant::now(), Policy::DISCORD.steady);
    for (held, failures) in [(steady / 2, 3), (steady, 1)] {
        let mut backoff = discord();
        backoff.failed(start);
        backoff.failed(start);
        backoff.succeeded(start);
        backoff.ended(start + held);
        backoff.succeeded(start + steady * 2);
        backoff.failed(start + steady * 2);
        assert_eq!(backoff.failures(), failures, "held for {held:?}");
    }
}

#[test]
fn floor_is_under_the_next_wait_until_a_success() {
    let start = Instant::now();
    let mut backoff = discord();
    backoff.failed(start);
    backoff.wait_at_least(Duration::from_secs(20));
    backoff.wait_at_least(Duration::from_secs(5));
    assert_eq!(backoff.wait(0.0), Duration::from_secs(20));
    backoff.failed(start);
    assert_eq!(backoff.wait(1.0), Duration::from_secs(21));
    backoff.succeeded(start);
    backoff.failed(start);
    assert!(backoff.wait(0.0) < Duration::from_secs(1));
}

#[test]
fn at_most_one_attempt_a_second_over_any_15_s() {
    // An hour against a server that accepts and closes at once, with many seeds.
    for seed in 0..200_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let start = Instant::now();
        let mut backoff = discord();
        let mut now = Duration::ZERO;
        let mut attempts = Vec::new();
        while now < Duration::from_hours(1) {
            attempts.push(now);
            backoff.succeeded(start + now);
            backoff.failed(start + now);
            now += backoff.wait(random());
        }
        let most = attempts
            .iter()
            .map(|from| {
                attempts.iter().filter(|at| *at >= from && **at < *from + Duration::from_secs(15)).count()
            })
            .max();
        assert!(most <= Some(15), "seed {seed}: {most:?} attempts within 15 s");
    }
}

#[test]
fn extreme_numbers_do_not_overflow() {
    let mut backoff = discord();
    backoff.failures = u32::MAX;
    backoff.failed(Instant::now());
    backoff.wait_at_least(Duration::MAX);
    assert_eq!(backoff.wait(7.0), Duration::MAX);
    assert_eq!(backoff.wait(-1.0), Duration::MAX);
}

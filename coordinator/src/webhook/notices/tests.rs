use super::*;

const MINUTE: Pace = Pace { interval: Duration::from_mins(1) };

/// A receiver, and a fleet whose problems are seen each second.
struct Night {
    notices: Notices,
    second: u64,
    answer: NoticeAnswer,
    /// When requests were sent, and what they said: `+store_away -no_worker`.
    sent: Vec<(u64, String)>,
}

impl Night {
    fn new() -> Self {
        let notices = Notices::new(MINUTE, Instant::now());
        Self { notices, second: 0, answer: NoticeAnswer::Accepted, sent: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { mono: Duration::from_secs(self.second), unix_ms: 1_790_000_000_000 + self.second * 1_000 }
    }

    /// These problems last for some seconds.
    fn pass(&mut self, seconds: u64, problems: &[Problem]) {
        for _ in 0..seconds {
            self.second += 1;
            self.notices.observe(problems, self.now());
            let Some(notice) = self.notices.due(self.now()) else { continue };
            let raised = notice.raised.iter().map(|problem| format!("+{} {problem}", problem.code));
            let cleared = notice.cleared.iter().map(|(problem, _)| format!("-{} {problem}", problem.code));
            let said: Vec<String> = raised.chain(cleared).collect();
            self.sent.push((self.second, said.join(", ")));
            self.notices.answered(&notice, &self.answer.clone(), self.now(), 1.0);
        }
    }

    fn sent(&self) -> Vec<(u64, &str)> {
        self.sent.iter().map(|(second, said)| (*second, said.as_str())).collect()
    }
}

fn away() -> Problem {
    Problem::new(ProblemCode::StoreAway, "away")
}

fn no_worker() -> Problem {
    Problem::new(ProblemCode::NoWorker, "none")
}

fn shard(code: ProblemCode, shard: u32) -> Problem {
    Problem::of_shard(code, ShardSlot(shard), "down")
}

#[test]
fn lasting_problem_is_told_once_and_so_is_its_end() {
    let mut night = Night::new();
    night.pass(600, &[away()]);
    night.pass(600, &[]);
    assert_eq!(night.sent(), [(11, "+store_away away"), (630, "-store_away away")]);
}

#[test]
fn changes_within_a_minute_are_collected() {
    let mut night = Night::new();
    night.pass(15, &[away()]);
    night.pass(40, &[no_worker(), shard(ProblemCode::ShardFailed, 1), shard(ProblemCode::ShardFailed, 2)]);
    night.pass(40, &[no_worker(), shard(ProblemCode::ShardFailed, 2)]);
    let next = "+no_worker none, +shard_failed shards 1-2 down, -store_away away";
    assert_eq!(night.sent(), [(11, "+store_away away"), (71, next)]);
    night.pass(60, &[no_worker(), shard(ProblemCode::ShardFailed, 2)]);
    assert_eq!(night.sent()[2], (131, "-shard_failed shard 1 down"));
}

#[test]
fn short_problem_is_not_told() {
    let mut night = Night::new();
    night.pass(10, &[away()]);
    night.pass(2, &[]);
    night.pass(10, &[away()]);
    night.pass(100, &[]);
    assert_eq!(night.sent(), []);
}

#[test]
fn problem_that_began_and_ended_between_two_requests_is_not_told() {
    let mut night = Night::new();
    night.pass(11, &[away()]);
    night.pass(12, &[away(), no_worker()]);
    night.pass(300, &[away()]);
    assert_eq!(night.sent(), [(11, "+store_away away")]);
}

#[test]
fn problem_that_comes_and_goes_stays_raised() {
    let mut night = Night::new();
    for _ in 0..40 {
        night.pass(20, &[away()]);
        night.pass(100, &[]);
    }
    // It returns after 100 s, and counts as cleared after 30, 60, then 120 s of absence.
    assert_eq!(night.sent().len(), 5, "{:?}", night.sent());
    assert!(night.sent.windows(2).all(|two| two[1].0 - two[0].0 >= 60), "{:?}", night.sent());
    night.pass(600, &[]);
    assert_eq!(night.sent.last().unwrap().1, "-store_away away");
    assert_eq!(night.sent().len(), 6);
}

#[test]
fn earlier_returns_are_forgotten_after_an_hour() {
    let mut night = Night::new();
    for _ in 0..20 {
        night.pass(20, &[away()]);
        night.pass(100, &[]);
    }
    night.pass(4_800, &[]);
    assert!(night.notices.known.is_empty());
    let (before, at) = (night.sent.len(), night.second);
    night.pass(20, &[away()]);
    night.pass(100, &[]);
    assert_eq!(night.sent[before..].iter().map(|(second, _)| second - at).collect::<Vec<_>>(), [11, 71]);
}

#[test]
fn progress_and_advice_are_not_told_and_do_not_end_a_problem() {
    let mut night = Night::new();
    night.pass(100, &[shard(ProblemCode::ShardQueued, 1), Problem::new(ProblemCode::TotalDiffers, "12")]);
    assert_eq!(night.sent(), []);
    night.pass(20, &[shard(ProblemCode::ShardNotReady, 1)]);
    night.pass(100, &[shard(ProblemCode::ShardQueued, 1)]);
    assert_eq!(night.sent(), [(111, "+shard_not_ready shard 1 down")]);
    night.pass(100, &[]);
    assert_eq!(night.sent()[1], (250, "-shard_not_ready shard 1 down"));
}

#[test]
fn failed_request_is_repeated_ever_more_slowly_with_what_is_true_then() {
    let mut night = Night::new();
    night.answer = NoticeAnswer::Failed(None);
    night.pass(3_600, &[away()]);
    let gaps: Vec<u64> = night.sent.windows(2).map(|two| two[1].0 - two[0].0).collect();
    assert_eq!(gaps, [6, 11, 21, 41, 81, 161, 321, 601, 601, 601, 601]);
    night.answer = NoticeAnswer::Accepted;
    night.pass(600, &[away(), no_worker()]);
    assert_eq!(night.sent.last().unwrap().1, "+store_away away, +no_worker none");
}

#[test]
fn end_of_a_problem_that_was_not_told_is_not_told() {
    let mut night = Night::new();
    night.answer = NoticeAnswer::Failed(None);
    night.pass(100, &[away()]);
    night.answer = NoticeAnswer::Accepted;
    let attempts = night.sent.len();
    night.pass(29, &[]);
    night.pass(600, &[]);
    assert!(night.sent.len() <= attempts + 1 && !night.sent.last().unwrap().1.contains('-'));
}

#[test]
fn asked_wait_is_kept() {
    let mut night = Night::new();
    night.answer = NoticeAnswer::Failed(Some(Duration::from_secs(500)));
    night.pass(510, &[away()]);
    assert_eq!(night.sent.len(), 1);
    night.pass(7, &[away()]);
    assert_eq!(night.sent.len(), 2);
}

#[test]
fn refused_request_is_not_repeated_until_something_changes() {
    let mut night = Night::new();
    night.answer = NoticeAnswer::Refused;
    night.pass(3_600, &[away()]);
    night.pass(60, &[]);
    assert_eq!(night.sent(), [(11, "+store_away away"), (3_630, "-store_away away")]);
}

#[test]
fn next_coordinator_repeats_nothing_and_tells_what_ended_meanwhile() {
    let mut first = Night::new();
    let lasting = [away(), shard(ProblemCode::ShardFailed, 1), shard(ProblemCode::ShardFailed, 2)];
    first.pass(30, &lasting);
    let mut next = Night::new();
    next.second = 40;
    next.notices.restore(&first.notices.to_record(), next.now()).unwrap();
    next.pass(200, &lasting[..2]);
    // The last request was at 11 s, and the shard is absent for 30 s at 70 s.
    assert_eq!(next.sent(), [(71, "-shard_failed shard 2 down")]);
    assert_eq!(first.sent().len(), 1);
}

#[test]
fn foreign_records_do_no_harm() {
    let mut night = Night::new();
    for invalid in ["", "[]", "{", r#"{"told":7}"#] {
        assert!(night.notices.restore(invalid, night.now()).is_err(), "{invalid}");
    }
    let odd = r#"{"answered_unix_ms":18446744073709551615,"told":[
        {"code":"of_a_later_version","message":"x","since_unix_ms":null},
        {"code":"shard_failed","shards":[[0,4294967295]],"message":"x","since_unix_ms":1},
        {"code":"store_away","shards":[],"message":"away","since_unix_ms":null}]}"#;
    night.notices.restore(odd, night.now()).unwrap();
    assert_eq!(night.notices.known.len(), 1);
    night.pass(200, &[]);
    assert_eq!(night.sent(), [(60, "-store_away away")]);
}

#[test]
fn shards_are_bounded() {
    let mut night = Night::new();
    let shards = (0..100_000).map(ShardSlot).collect();
    night.pass(20, &[Problem { shards, ..shard(ProblemCode::ShardFailed, 0) }]);
    assert_eq!(night.notices.known.len(), FOLLOWED);
    assert_eq!(night.sent.len(), 1);
}

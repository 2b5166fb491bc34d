//! Problems of a process for its operator: one line each, with a code that never changes.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    time::Duration,
};

use crate::{Epoch, ShardRange, ShardReport, ShardSlot, ShardStatus};

/// How much a [`Problem`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// Something is wrong: the process is degraded while it lasts.
    Problem,
    /// Something takes time and is known to end, such as waiting in the identify queue. Not degraded.
    Progress,
    /// Something that the operator may want to change, such as another shard total. Not degraded.
    Advice,
}

impl Weight {
    /// Its name in JSON and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Progress => "progress",
            Self::Advice => "advice",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $code:literal $weight:ident,)*) => {
        /// The kind of problem. Alerts match on its [name](ProblemCode::as_str), which never changes; the message may.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProblemCode {
            $($(#[$doc])* $name,)*
        }

        impl ProblemCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in JSON, gRPC and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The code of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str() == name)
            }

            /// How much problems of this code matter.
            pub const fn weight(self) -> Weight {
                match self {
                    $(Self::$name => Weight::$weight,)*
                }
            }
        }
    };
}

codes! {
    /// The fleet store does not answer.
    StoreAway "store_away" Problem,
    /// Another coordinator acts; this one waits for the term.
    Standby "standby" Progress,
    /// The store has not confirmed the coordinator's term: it acknowledges no lease.
    TermUnconfirmed "term_unconfirmed" Problem,
    /// Discord does not answer `GET /gateway/bot`, or blocks this address.
    DiscordUnreachable "discord_unreachable" Problem,
    /// Discord refused the token.
    TokenRefused "token_refused" Problem,
    /// The wanted shard total differs from the running one.
    TotalDiffers "total_differs" Advice,
    /// The shard total is not known before a worker registers.
    TotalUnsettled "total_unsettled" Problem,
    /// The fleet store refuses to write the owner of a shard.
    ShardRefused "shard_refused" Problem,
    /// A record of the fleet store has another type, or was not written by this program.
    StoreRecordInvalid "store_record_invalid" Problem,
    /// Workers hold leases that this coordinator does not know.
    UnknownWorkers "unknown_workers" Problem,
    /// No worker is registered for some shards.
    NoWorker "no_worker" Problem,
    /// No worker has room for some shards.
    NoRoom "no_room" Problem,
    /// Several deployments began together and none is active: no shard is placed.
    GenerationUnchosen "generation_unchosen" Problem,
    /// Workers of an inactive deployment get no shards.
    GenerationIdle "generation_idle" Advice,
    /// Every worker that could take some shards is held back.
    WorkersHeldBack "workers_held_back" Problem,
    /// A shard is held back because its owners died.
    ShardHeldBack "shard_held_back" Problem,
    /// A worker is held back because it died repeatedly.
    WorkerHeldBack "worker_held_back" Problem,
    /// Discord refuses one worker's token and accepts the coordinator's.
    WorkerTokenRefused "worker_token_refused" Problem,
    /// One worker cannot reach the fleet store while the coordinator can.
    WorkerStoreAway "worker_store_away" Problem,
    /// Discord refused a shard for good.
    ShardFailed "shard_failed" Problem,
    /// A shard is connected and receives nothing.
    ShardSilent "shard_silent" Problem,
    /// A shard has not been ready for 5 s.
    ShardNotReady "shard_not_ready" Problem,
    /// A shard waits in the identify queue and its turn is known.
    ShardQueued "shard_queued" Progress,
    /// A shard is ready without some of its guilds.
    GuildsMissing "guilds_missing" Problem,
    /// Discord answers a shard with the session of another one.
    WrongSession "wrong_session" Problem,
    /// A worker's heartbeat stream is broken.
    WorkerCutOff "worker_cut_off" Problem,
    /// No shard may IDENTIFY.
    IdentifyHalted "identify_halted" Problem,
    /// The day's IDENTIFYs are down to the reserve.
    IdentifyBudgetShort "identify_budget_short" Problem,
    /// The worker is not connected to a coordinator.
    CoordinatorAway "coordinator_away" Problem,
    /// The store does not renew the worker's lease.
    LeaseNotRenewed "lease_not_renewed" Problem,
    /// The worker's lease is not known to hold.
    LeaseNotHeld "lease_not_held" Problem,
    /// Broadcasts do not arrive.
    BroadcastsAway "broadcasts_away" Problem,
    /// The relay's streams do not take events.
    RelayAway "relay_away" Problem,
    /// The checkpoints of a shard can't be written.
    CheckpointFailing "checkpoint_failing" Problem,
    /// A worker refused heads of checkpoints for their signature.
    CheckpointsRefused "checkpoints_refused" Problem,
    /// Workers hold no common key for the heads of checkpoints.
    CheckpointKeysDiffer "checkpoint_keys_differ" Problem,
    /// The process ran out of file descriptors within the last minute.
    DescriptorsExhausted "descriptors_exhausted" Problem,
    /// The bot's programs resume at the address of one worker, which ends with it.
    GatewayAddress "gateway_address" Advice,
    /// New credentials are invalid; the old ones stay in use.
    CredentialsRejected "credentials_rejected" Problem,
    /// The process's certificate expires within 14 days, or has expired.
    CredentialsExpire "credentials_expire" Problem,
    /// Callers without credentials are served.
    CredentialsOptional "credentials_optional" Advice,
    /// Ports are open to other hosts, without credentials.
    InsecureNetwork "insecure_network" Advice,
    /// The shared REST budget can't be used.
    RestBudgetAway "rest_budget_away" Problem,
    /// Nothing is sent to Discord's REST API for a while.
    RestBlocked "rest_blocked" Problem,
    /// Discord refuses a token that REST requests carry.
    RestTokenRefused "rest_token_refused" Problem,
}

impl ProblemCode {
    /// How long the condition must last to be a problem: while a shard connects, it is normal.
    pub const fn grace(self) -> Duration {
        match self {
            Self::ShardNotReady
            | Self::ShardQueued
            | Self::ShardSilent
            | Self::GuildsMissing
            | Self::WrongSession => GRACE,
            _ => Duration::ZERO,
        }
    }

    /// The code by which the beginning is remembered: a shard that changes between states that are not ready has had one
    /// problem since the first of them.
    pub const fn lasting(self) -> Self {
        match self {
            Self::ShardFailed | Self::ShardSilent | Self::ShardQueued | Self::WrongSession => {
                Self::ShardNotReady
            }
            code => code,
        }
    }
}

/// Grace time of a shard that is not ready or lacks guilds. A shorter interruption does not end such a problem: a shard that is
/// ready for a moment between two connections is not well.
const GRACE: Duration = Duration::from_secs(5);

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind of problem.
    pub code: ProblemCode,
    /// The shards that have it, if it is about shards.
    pub shards: Vec<ShardSlot>,
    /// What is wrong and why, in one line for people, without the shards.
    pub message: String,
    /// When it began, in milliseconds since the Unix epoch; `None` when unknown.
    pub since_unix_ms: Option<u64>,
}

impl Problem {
    /// A problem that began at an unknown time.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self { code, shards: Vec::new(), message: message.into(), since_unix_ms: None }
    }

    /// A problem of one shard. `message` continues `shard 3`: `reconnecting: closed with 1011`.
    pub fn of_shard(code: ProblemCode, shard: ShardSlot, message: impl Into<String>) -> Self {
        Self { shards: vec![shard], ..Self::new(code, message) }
    }

    /// Sets when the problem began.
    #[must_use]
    pub fn since(mut self, unix_ms: u64) -> Self {
        self.since_unix_ms = Some(unix_ms);
        self
    }

    /// The problem of a shard whose report says that it is not ready or lacks guilds.
    pub fn of_report(report: &ShardReport) -> Option<Self> {
        let code = match report.status {
            ShardStatus::Ready if report.pending_guilds == 0 => return None,
            ShardStatus::Ready => {
                let missing = format!("ready without {} guilds that READY named", report.pending_guilds);
                return Some(Self::of_shard(ProblemCode::GuildsMissing, report.shard, missing));
            }
            ShardStatus::Failed => ProblemCode::ShardFailed,
            ShardStatus::Silent => ProblemCode::ShardSilent,
            ShardStatus::Queued => ProblemCode::ShardQueued,
            _ => ProblemCode::ShardNotReady,
        };
        let code = report.cause.unwrap_or(code);
        let detail = if report.detail.is_empty() { String::new() } else { format!(": {}", report.detail) };
        Some(Self::of_shard(code, report.shard, format!("{}{detail}", report.status)))
    }

    /// Whether the problem makes its process degraded.
    pub const fn degrades(&self) -> bool {
        matches!(self.code.weight(), Weight::Problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shards.as_slice() {
            [] => f.write_str(&self.message),
            [shard] => write!(f, "shard {shard} {}", self.message),
            shards => write!(f, "shards {} {}", in_ranges(shards.iter().copied()), self.message),
        }
    }
}

/// Returns a message without its numbers, so that one that counts seconds down stays the same. Numbers in names stay (`worker-1`).
pub fn without_numbers(message: &str) -> String {
    message.split(' ').filter(|word| !word.starts_with(|c: char| c.is_ascii_digit())).collect()
}

/// The most ranges or names that a text lists.
const MOST_LISTED: usize = 20;

/// Returns the numbers of shards as `0-3, 7`; of more than 20 ranges the first, and how many more there are.
pub fn in_ranges(shards: impl IntoIterator<Item = ShardSlot>) -> String {
    let epochs: BTreeMap<ShardSlot, Epoch> = shards.into_iter().map(|shard| (shard, Epoch(0))).collect();
    let ranges = ShardRange::pack(&epochs);
    listed(ranges.iter().map(|range| {
        if range.first == range.last {
            range.first.to_string()
        } else {
            format!("{}-{}", range.first, range.last)
        }
    }))
}

/// Returns names as `a, b, c`; of more than 20 the first, and how many more there are. So no text grows with the fleet.
pub fn listed(names: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let mut names = names.into_iter();
    let mut text: Vec<String> = names.by_ref().take(MOST_LISTED).map(|name| name.to_string()).collect();
    let more = names.count();
    if more > 0 {
        text.push(format!("and {more} more"));
    }
    text.join(", ")
}

/// Remembers when problems began. Must be given all current problems at least once a second.
#[derive(Clone, Debug, Default)]
pub struct ProblemClock {
    known: BTreeMap<Subject, Lasting>,
}

/// Distinguishes problems of one code: by shard, or by text when not about shards.
type Subject = (ProblemCode, Option<ShardSlot>, String);

#[derive(Clone, Copy, Debug)]
struct Lasting {
    since_unix_ms: u64,
    seen_unix_ms: u64,
}

impl ProblemClock {
    /// Returns the problems that have outlasted their [grace](ProblemCode::grace), with the time when each began. Shards with the
    /// same problem share a line, with the earliest time.
    pub fn observe(&mut self, problems: Vec<Problem>, now_unix_ms: u64) -> Vec<Problem> {
        let grace = |code: ProblemCode| u64::try_from(code.grace().as_millis()).unwrap_or(u64::MAX);
        let mut shown: Vec<Problem> = Vec::new();
        let mut shared: BTreeMap<(ProblemCode, String), usize> = BTreeMap::new();
        for mut problem in problems {
            let shard = problem.shards.first().copied();
            let text = if shard.is_some() { String::new() } else { without_numbers(&problem.message) };
            let lasting = self
                .known
                .entry((problem.code.lasting(), shard, text))
                .or_insert(Lasting { since_unix_ms: now_unix_ms, seen_unix_ms: now_unix_ms });
            lasting.seen_unix_ms = now_unix_ms;
            problem.since_unix_ms.get_or_insert(lasting.since_unix_ms);
            if now_unix_ms.saturating_sub(lasting.since_unix_ms) < grace(problem.code) {
                continue;
            }
            if shard.is_none() {
                shown.push(problem);
                continue;
            }
            match shared.entry((problem.code, problem.message.clone())) {
                Entry::Vacant(new) => {
                    new.insert(shown.len());
                    shown.push(problem);
                }
                Entry::Occupied(at) => {
                    let with = &mut shown[*at.get()];
                    with.since_unix_ms = with.since_unix_ms.min(problem.since_unix_ms);
                    with.shards.extend(problem.shards);
                }
            }
        }
        self.known
            .retain(|(code, ..), lasting| now_unix_ms.saturating_sub(lasting.seen_unix_ms) <= grace(*code));
        shown
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lists_in_texts_are_bounded() {
        let every = |step: usize, most: u32| (0..most).step_by(step).map(ShardSlot);
        assert_eq!(in_ranges(every(1, 65_536)), "0-65535");
        assert_eq!(in_ranges(every(2, 6)), "0, 2, 4");
        let long = in_ranges(every(2, 65_536));
        assert!(long.starts_with("0, 2, 4, ") && long.ends_with(", 38, and 32748 more"), "{long}");
        assert_eq!(listed(["a", "b"]), "a, b");
        assert_eq!(
            listed((0..21).map(|name| format!("w{name}"))).rsplit_once(", "),
            Some((&*listed((0..20).map(|name| format!("w{name}"))), "and 1 more"))
        );
    }

    #[test]
    fn codes_are_unique_and_in_snake_case() {
        let names: BTreeSet<&str> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ProblemCode::ALL.len());
        assert!(ProblemCode::ALL.iter().all(|code| ProblemCode::named(code.as_str()) == Some(*code)));
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    }

    /// Whether a shard that is not ready at these seconds has a problem at the last of them, and since when.
    fn shown(seconds: &[u64]) -> Option<u64> {
        let mut clock = ProblemClock::default();
        let last = *seconds.last().unwrap();
        let mut shown = Vec::new();
        for second in 0..=last {
            let not_ready = Problem::of_shard(ProblemCode::ShardNotReady, ShardSlot(3), "connecting");
            let problems = if seconds.contains(&second) { vec![not_ready] } else { Vec::new() };
            shown = clock.observe(problems, second * 1_000);
        }
        shown.first().map(|problem| problem.since_unix_ms.unwrap() / 1_000)
    }

    #[test]
    fn shard_that_is_not_ready_is_a_problem_after_5_s() {
        assert_eq!(shown(&[10, 11, 12, 13, 14]), None);
        assert_eq!(shown(&[10, 11, 12, 13, 14, 15]), Some(10));
    }

    #[test]
    fn moment_of_readiness_does_not_end_a_problem() {
        assert_eq!(shown(&[10, 14, 18, 22]), Some(10), "ready for 3 s between two connections");
        assert_eq!(shown(&[10, 11, 30]), None, "ready for 19 s");
    }

    #[test]
    fn changing_between_states_that_are_not_ready_is_one_problem() {
        let mut clock = ProblemClock::default();
        let statuses = [
            ShardStatus::Reconnecting,
            ShardStatus::Queued,
            ShardStatus::Identifying,
            ShardStatus::Silent,
            ShardStatus::Resuming,
            ShardStatus::Stopped,
        ];
        for (second, status) in (0..30).zip(statuses.into_iter().cycle()) {
            let cause = (second > 20).then_some(ProblemCode::WrongSession);
            let report = ShardReport { cause, ..ShardReport::bare(ShardSlot(3), Epoch(1), status) };
            let problem = Problem::of_report(&report).unwrap();
            let code = cause.unwrap_or(problem.code);
            let shown = clock.observe(vec![problem], 1_000 + second * 1_000);
            let shown: Vec<_> = shown.iter().map(|shown| (shown.code, shown.since_unix_ms)).collect();
            let expected = if second < 5 { Vec::new() } else { vec![(code, Some(1_000))] };
            assert_eq!(shown, expected, "{status} after {second} s");
        }
        assert!(clock.observe(Vec::new(), 50_000).is_empty() && clock.known.is_empty());
    }

    #[test]
    fn shards_with_one_problem_share_a_line() {
        let mut clock = ProblemClock::default();
        let of =
            |shard, message: &str| Problem::of_shard(ProblemCode::ShardNotReady, ShardSlot(shard), message);
        let mut problems = vec![of(3, "reconnecting: closed with 1011")];
        clock.observe(problems.clone(), 1_000);
        problems.extend([0, 1, 2, 7].map(|shard| of(shard, "reconnecting: closed with 1011")));
        problems.push(of(5, "resuming"));
        for ms in [2_000, 8_000] {
            problems.sort_by_key(|problem| problem.shards.clone());
            let shown = clock.observe(problems.clone(), ms);
            if ms == 8_000 {
                let lines: Vec<String> = shown.iter().map(ToString::to_string).collect();
                assert_eq!(lines, ["shards 0-3, 7 reconnecting: closed with 1011", "shard 5 resuming"]);
                assert_eq!(shown[0].since_unix_ms, Some(1_000));
            }
        }
    }

    #[test]
    fn other_problems_are_shown_at_once_and_forgotten_at_once() {
        let mut clock = ProblemClock::default();
        let away = || vec![Problem::new(ProblemCode::StoreAway, "the fleet store is away")];
        assert_eq!(clock.observe(away(), 1_000)[0].since_unix_ms, Some(1_000));
        assert_eq!(clock.observe(away(), 1_250)[0].since_unix_ms, Some(1_000));
        assert!(clock.observe(Vec::new(), 1_500).is_empty());
        assert!(clock.known.is_empty());
        assert_eq!(clock.observe(away(), 1_750)[0].since_unix_ms, Some(1_750));
    }
}

//! What the coordinator says about the running fleet, and its judgement.

use std::{collections::BTreeMap, time::Duration};

use altergolden_proto::{PROTOCOL_MAX, PROTOCOL_MIN, v1};
use outside_text::{printable, printable_within};
use shard_bridge::ClientError;
use tokio::time::timeout;

use super::report::Finding;
use crate::ask::ServerArgs;

/// Problems that are listed one by one.
const MOST_PROBLEMS: usize = 10;
/// Time for the first status, beyond the deadline of a call.
const GRACE: Duration = Duration::from_secs(1);

/// The coordinator's answer about the fleet, or the reason why it is missing.
#[derive(Debug)]
pub(super) enum FleetFacts {
    Running(Box<RunningFleet>),
    /// No server answers at the address: its text.
    NotRunning(String),
    /// A server is there, but what it knows could not be learned: why.
    Unknown(String),
}

/// What the coordinator knows.
#[derive(Debug)]
pub(super) struct RunningFleet {
    pub(super) status: v1::FleetStatus,
    pub(super) stats: Result<v1::GetAggregateStatsResponse, String>,
}

impl FleetFacts {
    pub(super) fn running(&self) -> Option<&RunningFleet> {
        match self {
            Self::Running(running) => Some(running),
            Self::NotRunning(_) | Self::Unknown(_) => None,
        }
    }
}

/// Asks the coordinator.
pub(super) async fn ask(server: &ServerArgs) -> FleetFacts {
    let asking = async {
        let mut client = match server.connect().await {
            Ok(client) => client,
            Err(ClientError::Unreachable { url, reason }) if reason.contains("refused") => {
                return FleetFacts::NotRunning(url);
            }
            Err(error) => return FleetFacts::Unknown(error.to_string()),
        };
        let first = async { client.watch().await?.message().await.map_err(ClientError::from) };
        let status = match first.await {
            Ok(Some(status)) => status,
            Ok(None) => return FleetFacts::Unknown("the coordinator ended the call".to_owned()),
            Err(ClientError::Refused(status)) if status.code() == tonic::Code::Unimplemented => {
                let why = "the process at COORDINATOR_URL is not a coordinator, and only a coordinator knows the state of the fleet";
                return FleetFacts::Unknown(why.to_owned());
            }
            Err(error) => return FleetFacts::Unknown(error.to_string()),
        };
        let stats = client.aggregate_stats(Duration::ZERO).await.map_err(|error| error.to_string());
        FleetFacts::Running(Box::new(RunningFleet { status, stats }))
    };
    let limit = server.deadline() * 2 + GRACE;
    let late = |_| FleetFacts::Unknown(format!("the coordinator gave no answer within {limit:?}"));
    timeout(limit, asking).await.unwrap_or_else(late)
}

/// Judges whether a fleet runs, and what it says is wrong. `leases` are the live leases in Redis, if it was asked.
pub(super) fn state(facts: &FleetFacts, leases: Option<usize>) -> Vec<Finding> {
    const CHECK: &str = "fleet";
    match facts {
        FleetFacts::NotRunning(url) => match leases {
            Some(workers) if workers > 0 => vec![Finding::fail(
                CHECK,
                format!(
                    "no coordinator answers at {}, but {workers} workers hold leases in Redis",
                    printable(url)
                ),
                "start a coordinator: the workers join it, and no shard restarts; or correct COORDINATOR_URL",
            )],
            _ => vec![Finding::not_needed(CHECK, format!("no fleet runs: {} refuses", printable(url)), "")],
        },
        FleetFacts::Unknown(why) => {
            vec![Finding::unknown(CHECK, why.clone(), "check COORDINATOR_URL, and the coordinator's log")]
        }
        FleetFacts::Running(running) => {
            let mut findings = vec![overview(&running.status)];
            findings.extend(problems(&running.status.problem_details));
            findings
        }
    }
}

fn overview(status: &v1::FleetStatus) -> Finding {
    let ready = status.shards.iter().filter(|shard| shard.status == v1::ShardStatus::Ready as i32).count();
    let text = format!(
        "{ready} of {} shards ready on {} workers, term {}",
        status.shard_total,
        status.workers.len(),
        status.term
    );
    if !status.acting {
        return Finding::warn(
            "fleet",
            format!("{text}; this coordinator is a standby"),
            "ask the acting coordinator: set COORDINATOR_URL",
        );
    }
    if ready == status.shard_total as usize && ready > 0 {
        return Finding::ok("fleet", text);
    }
    Finding::warn("fleet", text, "see the lines below, and `altergolden status`")
}

fn problems(problems: &[v1::Problem]) -> Vec<Finding> {
    let finding = |problem: &v1::Problem| {
        let text = format!("{}: {}", printable_within(&problem.code, 40), problem.message);
        let remedy = "look the code up in docs/operations.md";
        match v1::ProblemWeight::try_from(problem.weight) {
            Ok(v1::ProblemWeight::Progress) => Finding::ok("problem", format!("{text} (ends by itself)")),
            Ok(v1::ProblemWeight::Advice) => Finding::warn("problem", text, remedy),
            _ => Finding::fail("problem", text, remedy),
        }
    };
    let mut findings: Vec<Finding> = problems.iter().take(MOST_PROBLEMS).map(finding).collect();
    if problems.len() > MOST_PROBLEMS {
        let more = format!("{} more problems", problems.len() - MOST_PROBLEMS);
        findings.push(Finding::fail("problem", more, "`altergolden status` lists all of them"));
    }
    findings
}

/// Compares the versions of workers with each other and with this program.
pub(super) fn versions(facts: &FleetFacts) -> Finding {
    const CHECK: &str = "versions";
    let ours = env!("CARGO_PKG_VERSION");
    let protocol = if PROTOCOL_MIN == PROTOCOL_MAX {
        format!("protocol {PROTOCOL_MAX}")
    } else {
        format!("protocols {PROTOCOL_MIN} to {PROTOCOL_MAX}")
    };
    let formats = format!("checkpoint formats {} to {}", checkpoint::FORMAT_MIN, checkpoint::FORMAT_MAX);
    let this = format!("this program is {ours}: {protocol}, {formats}");
    let running = match facts {
        FleetFacts::Running(running) => running,
        FleetFacts::NotRunning(_) => {
            return Finding::not_needed(CHECK, format!("no coordinator answers; {this}"), "");
        }
        FleetFacts::Unknown(why) => {
            return Finding::unknown(CHECK, why.clone(), "see the line about the fleet");
        }
    };
    let mut by_version: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for worker in &running.status.workers {
        by_version.entry(&worker.version).or_default().push(&worker.worker_id);
    }
    let list: Vec<String> = by_version
        .iter()
        .map(|(version, workers)| {
            let version = printable_within(version, 40);
            match workers.as_slice() {
                [worker] => format!("{version} on {}", printable_within(worker, 40)),
                workers => format!("{version} on {} workers", workers.len()),
            }
        })
        .collect();
    let list = list.join(", ");
    match by_version.len() {
        0 => Finding::ok(CHECK, format!("no worker has joined; {this}")),
        1 if by_version.contains_key(ours) => Finding::ok(CHECK, format!("{list}; {this}")),
        1 => Finding::warn(CHECK, format!("{list}; {this}"), "use the program of the fleet's own version"),
        _ => Finding::warn(
            CHECK,
            format!("mixed: {list}; {this}"),
            "expected during a deploy; otherwise end it: `altergolden deploy promote` (docs/deploys.md)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use v1::ProblemWeight::{Advice, Problem, Progress, Unspecified};

    use super::{super::report::Verdict, *};

    fn running(workers: &[&str], problems: Vec<v1::Problem>) -> FleetFacts {
        let workers = workers.iter().map(|version| v1::Worker {
            worker_id: format!("w-{version}"),
            version: (*version).to_owned(),
            ..Default::default()
        });
        let shards = vec![v1::Shard { status: v1::ShardStatus::Ready as i32, ..Default::default() }];
        let status = v1::FleetStatus {
            acting: true,
            shard_total: 1,
            shards,
            workers: workers.collect(),
            problem_details: problems,
            ..Default::default()
        };
        FleetFacts::Running(Box::new(RunningFleet { status, stats: Err("not asked".to_owned()) }))
    }

    fn verdicts(findings: &[Finding]) -> Vec<Verdict> {
        findings.iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn mixed_versions_are_named() {
        let ours = env!("CARGO_PKG_VERSION");
        assert_eq!(versions(&running(&[ours, ours], Vec::new())).verdict, Verdict::Ok);
        let mixed = versions(&running(&[ours, "9.9.9"], Vec::new()));
        assert_eq!(mixed.verdict, Verdict::Warn);
        assert!(mixed.text.contains("9.9.9 on w-9.9.9"), "{mixed:?}");
        assert_eq!(versions(&running(&["9.9.9"], Vec::new())).verdict, Verdict::Warn);
        let none = FleetFacts::NotRunning(String::new());
        assert_eq!(versions(&none).verdict, Verdict::NotNeeded);
    }

    #[test]
    fn problems_follow_their_weight_and_are_bounded() {
        let problem = |weight: v1::ProblemWeight| v1::Problem {
            code: "shard_failed".to_owned(),
            message: "why".to_owned(),
            weight: weight.into(),
            ..v1::Problem::default()
        };
        let of = |weights: &[v1::ProblemWeight]| {
            let facts = running(&[], weights.iter().map(|weight| problem(*weight)).collect());
            verdicts(&state(&facts, None))
        };
        assert_eq!(
            of(&[Problem, Progress, Advice, Unspecified]),
            [Verdict::Ok, Verdict::Fail, Verdict::Ok, Verdict::Warn, Verdict::Fail]
        );
        assert_eq!(of(&[Problem; 30]).len(), 1 + MOST_PROBLEMS + 1);
    }

    #[test]
    fn leases_without_a_coordinator_are_a_failure() {
        let none = FleetFacts::NotRunning("http://127.0.0.1:50051".to_owned());
        assert_eq!(verdicts(&state(&none, Some(2))), [Verdict::Fail]);
        assert_eq!(verdicts(&state(&none, Some(0))), [Verdict::NotNeeded]);
        assert_eq!(verdicts(&state(&none, None)), [Verdict::NotNeeded]);
    }
}

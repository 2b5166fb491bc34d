//! Progress of the shards at the start.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use altergolden_proto::v1;
use fleet_model::ProblemCode;
use shard_bridge::BridgeClient;

use crate::{status_line::StatusLine, value_text};

/// The longest wait for the first latencies once all shards are ready.
const LATENCIES: Duration = Duration::from_secs(2);

/// Time between two IDENTIFYs of a bucket, with the coordinator's margin.
const IDENTIFY_EVERY: Duration = Duration::from_millis(5_500);

/// Prints progress until every shard is ready or failed, and returns the shards.
///
/// # Errors
/// The coordinator does not answer.
pub(super) async fn until_ready(coordinator: SocketAddr, started: Instant) -> Result<Vec<v1::Shard>, String> {
    let url = format!("http://{coordinator}");
    let mut client = loop {
        match BridgeClient::connect(&url, Duration::from_secs(2)).await {
            Ok(client) => break client,
            // The coordinator listens from the start and serves once Discord has answered.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let mut fleet = client.watch().await.map_err(|error| error.to_string())?;
    let (mut line, mut shown) = (StatusLine::new(true), String::new());
    let mut ready_since: Option<Instant> = None;
    while let Some(status) = fleet.message().await.map_err(|error| error.to_string())? {
        let counts = match waits_for(&status) {
            Some(why) => why,
            None => counts(&status.shards) + &queue(status.identify_budget.as_ref()),
        };
        if counts != shown {
            line.show(&format!("{:5.1} s  {counts}", started.elapsed().as_secs_f64()));
            shown = counts;
        }
        let ready = i32::from(v1::ShardStatus::Ready);
        let failed = i32::from(v1::ShardStatus::Failed);
        let settled = |shard: &v1::Shard| shard.status == ready || shard.status == failed;
        if status.shards.is_empty() || !status.shards.iter().all(settled) {
            continue;
        }
        let since = *ready_since.get_or_insert_with(Instant::now);
        let have_latency = status.shards.iter().all(|shard| shard.latency_ms.is_some());
        if have_latency || since.elapsed() >= LATENCIES {
            line.end();
            return Ok(status.shards);
        }
    }
    Err("the coordinator has stopped".to_owned())
}

/// Why no shard is assigned yet, if Discord does not answer.
fn waits_for(status: &v1::FleetStatus) -> Option<String> {
    let unreachable = ProblemCode::DiscordUnreachable.as_str();
    let problem = status.problem_details.iter().find(|problem| problem.code == unreachable)?;
    // The count of requests and the wait for the next one change all the time.
    let why = problem.message.split(';').next().unwrap_or_default();
    status.shards.is_empty().then(|| format!("waiting for Discord: {why}"))
}

/// `; 48 wait to identify, the last in about 14 s`: 16 at once, each bucket every 5.5 s.
fn queue(budget: Option<&v1::IdentifyBudget>) -> String {
    match budget {
        Some(budget) if budget.waiting > 0 => {
            let rounds = budget.waiting.div_ceil(budget.max_concurrency.max(1));
            let seconds = (f64::from(rounds) * IDENTIFY_EVERY.as_secs_f64()).ceil();
            format!("; {} wait to identify, the last in about {seconds:.0} s", budget.waiting)
        }
        _ => String::new(),
    }
}

/// `3 of 4 shards ready, 1 identifying`.
fn counts(shards: &[v1::Shard]) -> String {
    if shards.is_empty() {
        return "waiting for workers".to_owned();
    }
    let mut by_status: BTreeMap<i32, usize> = BTreeMap::new();
    for shard in shards {
        *by_status.entry(shard.status).or_default() += 1;
    }
    let ready = by_status.remove(&v1::ShardStatus::Ready.into()).unwrap_or(0);
    let others: Vec<String> = by_status
        .into_iter()
        .map(|(status, count)| format!(", {count} {}", value_text::status(status)))
        .collect();
    format!("{ready} of {} shards ready{}", shards.len(), others.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_shards_have_an_estimate() {
        let budget =
            |waiting| v1::IdentifyBudget { waiting, max_concurrency: 16, ..v1::IdentifyBudget::default() };
        assert_eq!(queue(Some(&budget(48))), "; 48 wait to identify, the last in about 17 s");
        assert_eq!(queue(Some(&budget(0))) + &queue(None), "");
    }

    #[test]
    fn silent_discord_is_named_until_shards_are_assigned() {
        let problem = v1::Problem {
            message: "GET /gateway/bot failed: timed out; asked 2 times".to_owned(),
            code: ProblemCode::DiscordUnreachable.as_str().to_owned(),
            ..v1::Problem::default()
        };
        let mut status = v1::FleetStatus { problem_details: vec![problem], ..v1::FleetStatus::default() };
        assert_eq!(waits_for(&status).unwrap(), "waiting for Discord: GET /gateway/bot failed: timed out");
        status.shards.push(v1::Shard::default());
        assert_eq!(waits_for(&status), None);
    }
}

//! Progress of the shards at the start.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use altergolden_proto::v1;
use shard_bridge::BridgeClient;

use crate::{status_line::StatusLine, value_text};

/// The longest wait for the first latencies once all shards are ready.
const LATENCIES: Duration = Duration::from_secs(2);

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
        let counts = counts(&status.shards);
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

//! The coordinator's health, in the form that monitoring of a discord.js ShardingManager expects.

use fleet_model::{Problem, ShardStatus};
use process::telemetry::health::{HealthSource, Verdict, problems_json};
use serde_json::{Value, json};

use crate::snapshot::{PublishedSnapshot, Role, Snapshot};

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct CoordinatorHealth(pub(crate) PublishedSnapshot);

fn verdict(snapshot: &Snapshot) -> Verdict {
    let ready = snapshot.ready_shards();
    let degraded = snapshot.fleet.problems.iter().any(Problem::degrades);
    match snapshot.role {
        Role::Acting if degraded && ready == 0 => Verdict::Unhealthy,
        _ if degraded => Verdict::Degraded,
        _ => Verdict::Healthy,
    }
}

impl HealthSource for CoordinatorHealth {
    fn health(&self) -> (Verdict, Value) {
        let snapshot = self.0.snapshot.borrow().clone();
        let verdict = verdict(&snapshot);
        let shards: Vec<Value> = snapshot
            .fleet
            .shards
            .iter()
            .map(|shard| {
                json!({
                    "id": shard.report.shard,
                    "status": shard.report.status.as_str(),
                    "guilds": shard.report.guilds,
                    "worker": shard.owner.as_ref().map(|(worker, _)| worker),
                })
            })
            .collect();
        let body = json!({
            "status": verdict.as_str(),
            "role": role(&snapshot),
            "totalShards": snapshot.fleet.shard_total,
            "workers": snapshot.fleet.workers.len(),
            "shards": shards,
            "problems": problems_json(&snapshot.fleet.problems),
        });
        (verdict, body)
    }

    /// Ready means that every shard is: never with none.
    fn ready(&self) -> (bool, Value) {
        let snapshot = self.0.snapshot.borrow().clone();
        let not_ready: Vec<u32> = snapshot
            .fleet
            .shards
            .iter()
            .filter(|shard| shard.report.status != ShardStatus::Ready)
            .map(|shard| shard.report.shard.0)
            .collect();
        let ready =
            snapshot.role == Role::Acting && !snapshot.fleet.shards.is_empty() && not_ready.is_empty();
        (ready, json!({ "ready": ready, "role": role(&snapshot), "shardsNotReady": not_ready }))
    }
}

fn role(snapshot: &Snapshot) -> &'static str {
    match snapshot.role {
        Role::Acting => "acting",
        Role::Standby => "standby",
    }
}

//! Why a guild is silent, in the words of `altergolden why`: the facts come from the newest snapshot, the history, and the worker that
//! runs the guild's shard.

use std::time::Duration;

use altergolden_proto::v1;
use fleet_model::{HistoryEntry, ShardKey, shard_of_guild};
use shard_bridge::{
    Bridge,
    why::{Facts, Verdict, reason},
};
use tokio::time::Instant;

use super::fleet_service::{shard_message, worker_message};
use crate::snapshot::{Role, Snapshot};

/// How long the worker may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// What was found out about a guild.
#[derive(Debug)]
pub(crate) struct GuildReason {
    pub(crate) verdict: Verdict,
    /// The guild as its worker sees it, and the problems of its shard, a line each.
    pub(crate) lines: Vec<String>,
}

/// Returns why a guild is silent. `lately` is what happened to its shard in the last 24 hours, newest first.
pub(crate) async fn guild_reason(
    guild_id: u64,
    snapshot: &Snapshot,
    lately: &[HistoryEntry],
    bridge: &Bridge,
    now_unix_ms: u64,
) -> GuildReason {
    let mut guilds = bridge.guilds(&[guild_id], Instant::now() + DEADLINE).await;
    let guild = guilds.pop().ok_or_else(|| "no answer".to_owned());
    let guild = guild.map(v1::FindGuildResponse::from);
    let shard = shard_of_guild(guild_id, snapshot.fleet.shard_total).map(ShardKey::slot);
    let shard = shard.and_then(|slot| snapshot.fleet.shards.iter().find(|view| view.key.slot() == slot));
    let owner = shard.and_then(|shard| shard.owner.as_ref()).map(|(worker, _)| worker);
    let worker = owner.and_then(|owner| snapshot.fleet.workers.get_key_value(owner));
    let status = v1::FleetStatus {
        acting: snapshot.role == Role::Acting,
        shard_total: snapshot.fleet.shard_total,
        shards: shard.map(|shard| shard_message(shard, snapshot)).into_iter().collect(),
        workers: worker.map(|(name, worker)| worker_message(name, worker, snapshot)).into_iter().collect(),
        problem_details: snapshot.fleet.problems.iter().map(v1::Problem::from).collect(),
        ..v1::FleetStatus::default()
    };
    let lately: Vec<v1::HistoryEntry> = lately.iter().map(Into::into).collect();
    let facts = Facts {
        status: &status,
        shard_id: shard.map(|shard| shard.key.slot().0),
        guild_id: Some(guild_id),
        guild: Some(&guild),
        lately: &lately,
        now_unix_ms,
    };
    let problems = facts.problems();
    let mut lines: Vec<String> = facts.guild_line().into_iter().collect();
    lines.extend(problems.iter().map(|problem| format!("problem {}: {}", problem.code, problem.message)));
    GuildReason { verdict: reason(&facts), lines }
}

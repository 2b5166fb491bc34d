//! What the live page shows, out of the published snapshot, the history, and what workers answer about a guild. The driver is
//! never asked.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleet_model::{
    HistoryEntry, HistoryFilter, ShardKey, ShardSlot, ShardStatus, StartOutcome, WorkerId, shard_of_guild,
};
use futures_util::future::BoxFuture;
use live_page::{
    FleetData, HistoryData, IdentifyData, LineData, PageSource, PlanData, ShardData, ShardDetail, StepData,
    WhyData, WorkerData,
};
use shard_bridge::{Bridge, why::Verdict};

use crate::{
    config::CoordinatorConfig,
    history::{History, HistoryAnswer, HistoryQuestion},
    rpc::guild_reason,
    snapshot::{PublishedSnapshot, Role, Snapshot},
};
use fleet::{PlanState, PlanView, ShardView};

/// The most entries of the timeline: as many as one question reads.
const ENTRIES: usize = 2_000;

/// The most entries about the shard of a guild.
const LATELY: usize = 10;

/// How far back these go.
const LATELY_MS: u64 = 24 * 3600 * 1000;

/// How long the store may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// The most steps of a plan that are shown.
const STEPS: usize = 60;

/// See the module's documentation.
pub(crate) struct FleetPage {
    published: PublishedSnapshot,
    history: History,
    bridge: Bridge,
    lease_ttl: Duration,
}

impl FleetPage {
    pub(crate) fn new(
        published: PublishedSnapshot,
        history: History,
        bridge: Bridge,
        config: &CoordinatorConfig,
    ) -> Self {
        Self { published, history, bridge, lease_ttl: config.lease_ttl }
    }

    async fn find_reason(&self, guild_id: u64) -> WhyData {
        let snapshot = self.published.snapshot.borrow().clone();
        let shard = shard_of_guild(guild_id, snapshot.fleet.shard_total).map(ShardKey::slot);
        let now_unix_ms = unix_ms();
        let lately = match shard {
            Some(shard) => self.ask_history(now_unix_ms.saturating_sub(LATELY_MS), Some(shard), LATELY).await,
            None => HistoryAnswer::default(),
        };
        let found = guild_reason(guild_id, &snapshot, &lately.entries, &self.bridge, now_unix_ms).await;
        let mut lines = found.lines;
        let view = shard.and_then(|slot| snapshot.fleet.shards.iter().find(|shard| shard.key.slot() == slot));
        lines.extend(view.map(|shard| shard_line(shard, &snapshot)));
        WhyData {
            verdict: match found.verdict {
                Verdict::Works(_) => "works",
                Verdict::NotThere(_) => "not_there",
                Verdict::Fails(_) => "fails",
            }
            .to_owned(),
            sentence: found.verdict.sentence().to_owned(),
            shard: shard.map(|shard| shard.0),
            lines,
            lately: lately.entries.iter().map(line).collect(),
            missing: lately.missing,
        }
    }

    async fn ask_history(&self, since_unix_ms: u64, shard: Option<ShardSlot>, limit: usize) -> HistoryAnswer {
        let filter = HistoryFilter { since_unix_ms: Some(since_unix_ms), shard, ..HistoryFilter::default() };
        let question = HistoryQuestion { filter, before: None, limit, deadline: DEADLINE };
        let mut answer = self.history.answer(&question).await;
        // Entries are in the order of writing; those about many shards are written when the last one has come.
        answer.entries.sort_by_key(|entry| std::cmp::Reverse(entry.at_unix_ms));
        answer
    }
}

impl PageSource for FleetPage {
    fn fleet(&self) -> FleetData {
        let snapshot = self.published.snapshot.borrow().clone();
        let fleet = &snapshot.fleet;
        let places: HashMap<&WorkerId, u32> = fleet.workers.keys().zip(0..).collect();
        let shards = fleet.shards.iter().map(|shard| {
            let owner = shard.owner.as_ref().and_then(|(worker, _)| places.get(worker).copied());
            shard_data(shard, owner)
        });
        let workers = fleet.workers.iter().map(|(name, worker)| WorkerData {
            name: name.to_string(),
            version: worker.version.clone(),
            generation: worker.generation.as_ref().map(ToString::to_string).unwrap_or_default(),
            url: worker.url.clone(),
            address: worker.address,
            capacity: worker.capacity,
            rss_bytes: worker.rss_bytes,
            connected: worker.connected,
            draining: worker.draining,
            heard: snapshot.age(worker.last_heard),
            figures: worker.figures,
        });
        let identify = &snapshot.identify;
        FleetData {
            acting: snapshot.role == Role::Acting,
            term: fleet.term.0,
            age: snapshot.taken.elapsed(),
            shard_total: fleet.shard_total,
            active_generation: fleet.active_generation.as_ref().map(ToString::to_string).unwrap_or_default(),
            lease_ttl: self.lease_ttl,
            shards: shards.collect(),
            workers: workers.collect(),
            identify: IdentifyData {
                total: identify.total,
                remaining: identify.remaining,
                reserve: identify.reserve,
                resets_in: identify.resets_in.saturating_sub(snapshot.taken.elapsed()),
                waiting: identify.waiting,
                max_concurrency: identify.max_concurrency,
                last_turn_in: identify.last_turn_in,
            },
            problems: fleet.problems.clone(),
            plan: fleet.plan.as_ref().map(plan_data),
        }
    }

    fn shard(&self, number: u32) -> Option<ShardDetail> {
        let snapshot = self.published.snapshot.borrow().clone();
        let shard = snapshot.fleet.shards.iter().find(|shard| shard.key.slot().0 == number)?;
        Some(shard_detail(shard, &snapshot))
    }

    fn history(&self, since_unix_ms: u64) -> BoxFuture<'_, HistoryData> {
        Box::pin(async move {
            let answer = self.ask_history(since_unix_ms, None, ENTRIES).await;
            HistoryData {
                entries: answer.entries.iter().map(line).collect(),
                more: answer.next.is_some(),
                missing: answer.missing,
            }
        })
    }

    fn why(&self, guild_id: u64) -> BoxFuture<'_, WhyData> {
        Box::pin(self.find_reason(guild_id))
    }
}

fn shard_data(shard: &ShardView, owner: Option<u32>) -> ShardData {
    let report = &shard.report;
    let is_ready = report.status == ShardStatus::Ready;
    ShardData {
        number: shard.key.slot().0,
        worker: owner,
        status: report.status,
        guilds: report.guilds,
        latency_ms: report.latency_ms,
        sequence: report.sequence,
        reported_at: shard.reported_at,
        since_unix_ms: shard.since_unix_ms,
        // Shown of shards that are not ready alone.
        detail: if is_ready { String::new() } else { report.detail.clone() },
    }
}

fn shard_detail(shard: &ShardView, snapshot: &Snapshot) -> ShardDetail {
    let report = &shard.report;
    let now = unix_ms();
    let outcome = report.outcome.as_ref();
    let (worker, epoch) = match &shard.owner {
        Some((worker, epoch)) => (worker.to_string(), epoch.to_string()),
        None => (String::new(), String::new()),
    };
    ShardDetail {
        number: shard.key.slot().0,
        status: report.status.to_string(),
        worker,
        epoch,
        detail: report.detail.clone(),
        state_for_ms: shard.since_unix_ms.map(|since| now.saturating_sub(since)),
        guilds: report.guilds,
        pending_guilds: report.pending_guilds,
        latency_ms: report.latency_ms,
        sequence: report.sequence,
        uptime_seconds: report.uptime_seconds,
        reported_ms: shard.reported_at.map(|at| snapshot.age(at).as_millis() as u64),
        start: outcome.map(start).unwrap_or_default(),
        started_ms: outcome.map(|outcome| now.saturating_sub(outcome.at_unix_ms)),
        gap: outcome
            .and_then(|outcome| outcome.gap.as_ref())
            .map(|gap| gap.reason.clone())
            .unwrap_or_default(),
    }
}

/// `resumed in 0.2 s, 3 replayed`.
fn start(outcome: &StartOutcome) -> String {
    let replayed = match outcome.replayed {
        0 => String::new(),
        replayed => format!(", {replayed} replayed"),
    };
    format!("{} in {:.1} s{replayed}", outcome.kind, outcome.took.as_secs_f64())
}

/// `shard 3 of 16 on worker a, epoch 7: reconnecting (closed with 1006)`.
fn shard_line(shard: &ShardView, snapshot: &Snapshot) -> String {
    let owner = match &shard.owner {
        Some((worker, epoch)) => format!("worker {worker}, epoch {epoch}"),
        None => "no worker".to_owned(),
    };
    let report = &shard.report;
    let detail = if report.detail.is_empty() { String::new() } else { format!(" ({})", report.detail) };
    let state = match snapshot.role {
        Role::Acting => report.status.as_str(),
        Role::Standby => "state unknown because this coordinator is a standby",
    };
    format!("shard {} of {} on {owner}: {state}{detail}", shard.key.slot(), snapshot.fleet.shard_total)
}

fn plan_data(plan: &PlanView) -> PlanData {
    let state = if plan.paused { "paused" } else { plan.state.as_str() };
    let done = plan.steps.iter().filter(|step| step.done).count();
    // Steps are done in their order: what is next is shown before what is done.
    let is_over = !plan.state.is_under_way() && plan.state != PlanState::Proposed;
    let shown = plan.steps.iter().filter(|step| is_over || !step.done).take(STEPS);
    PlanData {
        id: plan.id.to_string(),
        description: plan.description.clone(),
        state: state.replace('_', " "),
        reason: plan.reason.clone(),
        done: count(done),
        all: count(plan.steps.len()),
        identifies: plan.identifies,
        estimated_ms: plan.estimated.as_millis() as u64,
        elapsed_ms: plan.elapsed.as_millis() as u64,
        at_once: count(plan.at_once),
        steps: shown
            .map(|step| StepData {
                shard: step.shard.0,
                from: step.from.to_string(),
                to: step.to.to_string(),
                identifies: step.identifies,
                done: step.done,
            })
            .collect(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn line(entry: &HistoryEntry) -> LineData {
    LineData {
        at: entry.at_unix_ms,
        until: entry.until_unix_ms,
        kind: entry.kind.to_string(),
        text: entry.to_string(),
        count: entry.count,
    }
}

fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

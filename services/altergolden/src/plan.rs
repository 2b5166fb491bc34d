//! Plans: started, followed to their end, aborted.

use std::time::{Duration, Instant};

use altergolden_proto::v1::{self, PlanState, start_plan_request::Plan as PlanRequest};
use clap::{Args, Subcommand};
use shard_bridge::{BridgeClient, ClientError};

use crate::{
    ask::{ServerArgs, shard_number},
    exit::{CommandOutcome, print_line},
    json,
    progress::Progress,
    table,
};

/// The longest wait for a coordinator: after a failover the next one continues the plan.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Hand off all shards of a worker, and let it exit
    Drain {
        /// The worker
        worker: String,
        #[command(flatten)]
        options: PlanArgs,
    },
    /// Hand off one shard to one worker
    ///
    /// It stays there until the next rebalance.
    Move {
        /// The shard's number
        #[arg(value_parser = shard_number, allow_negative_numbers = true)]
        shard: u32,
        /// The worker
        worker: String,
        #[command(flatten)]
        options: PlanArgs,
    },
    /// Spread all shards evenly, also those moved by hand
    Rebalance {
        #[command(flatten)]
        options: PlanArgs,
    },
    /// Deploy: workers of another generation take over
    #[command(subcommand)]
    Deploy(DeployCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeployCommand {
    /// Hand off every shard to the workers of a generation, and let the others exit
    ///
    /// It rolls back by itself when a shard does not become ready, or when a worker of the generation dies.
    Promote {
        /// The generation
        generation: String,
        /// Abort the current plan, and move its shards back
        #[arg(long, conflicts_with = "dry_run")]
        abort: bool,
        #[command(flatten)]
        options: PlanArgs,
    },
    /// Abort the current plan; a promotion moves its shards back
    Abort,
    /// Show the current or last plan, and the active generation
    Status,
}

/// Flags of every command that starts a plan.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Only show the steps, the IDENTIFYs and the expected time
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until the plan is done
    #[arg(long)]
    no_wait: bool,
}

/// Runs a command and shows its progress. Exit code 0: done; 1: refused, rolled back or aborted.
pub(crate) async fn run(command: PlanCommand, server: &ServerArgs) -> CommandOutcome {
    match execute(command, server).await {
        Ok(outcome) => outcome,
        Err(error) => server.failure(error).await,
    }
}

async fn execute(command: PlanCommand, server: &ServerArgs) -> Result<CommandOutcome, ClientError> {
    match command {
        PlanCommand::Drain { worker: worker_id, options } => {
            start(PlanRequest::Drain(v1::DrainWorker { worker_id }), &options, server).await
        }
        PlanCommand::Move { shard: shard_id, worker: worker_id, options } => {
            start(PlanRequest::Move(v1::MoveShard { shard_id, worker_id }), &options, server).await
        }
        PlanCommand::Rebalance { options } => {
            start(PlanRequest::Rebalance(v1::Rebalance {}), &options, server).await
        }
        PlanCommand::Deploy(DeployCommand::Promote { abort: true, options, .. }) => {
            abort(server, !options.no_wait).await
        }
        PlanCommand::Deploy(DeployCommand::Promote { generation, options, .. }) => {
            start(PlanRequest::Promote(v1::Promote { generation }), &options, server).await
        }
        PlanCommand::Deploy(DeployCommand::Abort) => abort(server, true).await,
        PlanCommand::Deploy(DeployCommand::Status) => status(server).await,
    }
}

async fn start(
    plan: PlanRequest,
    options: &PlanArgs,
    server: &ServerArgs,
) -> Result<CommandOutcome, ClientError> {
    let plan = server.connect().await?.start_plan(plan, options.dry_run).await?;
    if options.dry_run {
        server.show(|screen| table::plan(&plan, screen), || json::plan(&plan));
        return Ok(CommandOutcome::success());
    }
    if !server.is_json() {
        print_line(announcement(&plan));
    }
    follow(server, plan, !options.no_wait).await
}

async fn abort(server: &ServerArgs, wait: bool) -> Result<CommandOutcome, ClientError> {
    let plan = server.connect().await?.abort_plan().await?;
    follow(server, plan, wait).await
}

async fn status(server: &ServerArgs) -> Result<CommandOutcome, ClientError> {
    let mut fleet = server.connect().await?.watch().await?;
    let Some(status) = fleet.message().await? else {
        return Ok(CommandOutcome::unreachable("the coordinator ended the stream"));
    };
    let generation = status.active_generation;
    server.show(
        |_| {
            let plan = status.plan.as_ref().map_or_else(|| "no plan yet".to_owned(), state_text);
            let active = if generation.is_empty() { "none yet" } else { &generation };
            format!("active generation: {active}\n{plan}")
        },
        || serde_json::json!({ "active_generation": generation, "plan": status.plan.as_ref().map(json::plan) }),
    );
    Ok(CommandOutcome::success())
}

/// Follows a plan to its end and prints it.
async fn follow(server: &ServerArgs, plan: v1::Plan, wait: bool) -> Result<CommandOutcome, ClientError> {
    let plan = if wait { until_over(server, plan).await? } else { plan };
    server.show(|_| state_text(&plan), || json::plan(&plan));
    Ok(match plan.state() {
        PlanState::RolledBack | PlanState::Aborted => CommandOutcome::negative(),
        _ if wait && !is_over(&plan) => {
            CommandOutcome::unreachable("no active coordinator knows the plan any more")
        }
        _ => CommandOutcome::success(),
    })
}

/// Follows a plan to its end, across failovers of the coordinator.
async fn until_over(server: &ServerArgs, mut plan: v1::Plan) -> Result<v1::Plan, ClientError> {
    let expected = (plan.estimated_ms > 0).then(|| Duration::from_millis(plan.estimated_ms));
    let mut progress = Progress::new("shards", expected, !server.is_json());
    let mut last_status = Instant::now();
    while !is_over(&plan) && last_status.elapsed() < COORDINATOR_TIMEOUT {
        if watch(server, &mut plan, &mut progress, &mut last_status).await.is_err() {
            progress.note("coordinator unreachable; the plan continues under the next one");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    progress.end();
    Ok(plan)
}

/// Watches one coordinator until the plan is over or the stream ends.
async fn watch(
    server: &ServerArgs,
    plan: &mut v1::Plan,
    progress: &mut Progress,
    last_status: &mut Instant,
) -> Result<(), ClientError> {
    let mut client: BridgeClient = server.connect().await?;
    let mut fleet = client.watch().await?;
    while let Some(status) = fleet.message().await? {
        let known = status.plan.filter(|now| now.id == plan.id);
        let Some(now) = known.filter(|_| status.acting) else {
            // A standby, a coordinator that is starting, or one that does not know the plan.
            if last_status.elapsed() >= COORDINATOR_TIMEOUT {
                break;
            }
            continue;
        };
        *last_status = Instant::now();
        *plan = now;
        progress.show(plan.steps_done.into(), plan.steps.len() as u64, &note(plan));
        if is_over(plan) {
            return Ok(());
        }
    }
    Err(ClientError::Unreachable { url: String::new(), reason: "the stream ended".to_owned() })
}

fn is_over(plan: &v1::Plan) -> bool {
    matches!(plan.state(), PlanState::Done | PlanState::RolledBack | PlanState::Aborted)
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

fn cost(plan: &v1::Plan) -> String {
    match plan.identifies {
        0 => "no IDENTIFY".to_owned(),
        1 => "1 IDENTIFY".to_owned(),
        many => format!("{many} IDENTIFYs"),
    }
}

fn announcement(plan: &v1::Plan) -> String {
    format!(
        "{}: {} shards, {} at once, {}, about {}",
        plan.description,
        plan.steps.len(),
        plan.at_once,
        cost(plan),
        seconds(plan.estimated_ms)
    )
}

/// Why the plan is in its state, when that is not plain progress.
fn note(plan: &v1::Plan) -> String {
    match plan.state() {
        PlanState::RollingBack => format!("rolling back: {}", plan.reason),
        PlanState::Paused => format!("paused: {}", plan.reason),
        _ => plan.reason.clone(),
    }
}

fn state_text(plan: &v1::Plan) -> String {
    let elapsed = seconds(plan.elapsed_ms);
    let what = &plan.description;
    match plan.state() {
        PlanState::Done => {
            let moved = plan.steps.len();
            format!("{what}: done, {moved} shards moved in {elapsed}, {}", cost(plan))
        }
        PlanState::RolledBack => format!("{what}: rolled back after {elapsed}: {}", plan.reason),
        PlanState::Aborted => format!("{what}: aborted after {elapsed}: {}", plan.reason),
        PlanState::RollingBack => format!("{what}: rolling back: {}", plan.reason),
        PlanState::Paused => format!("{what}: paused: {}", plan.reason),
        _ => format!("{what}: {} of {} shards", plan.steps_done, plan.steps.len()),
    }
}

//! Plans: started, watched to their end, given up.

use std::time::{Duration, Instant};

use altergolden_proto::v1::{self, PlanState, start_plan_request::Plan as Wish};
use clap::{Args, Subcommand};
use shard_bridge::{BridgeClient, ClientError};

use crate::{
    ask::Server,
    exit::{Outcome, say},
    json,
    line::Line,
    table,
};

/// How long a coordinator may be away before it is no longer waited for: the next one takes the plan up.
const COORDINATOR_AWAY: Duration = Duration::from_secs(30);

/// How wide the bar is, in characters.
const BAR: usize = 24;

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Hand all shards of a worker over to the others, and let it exit
    Drain {
        /// The worker
        worker: String,
        #[command(flatten)]
        how: How,
    },
    /// Hand one shard over to one worker; it stays there until the next rebalance
    Move {
        /// The shard
        shard: u32,
        /// The worker
        worker: String,
        #[command(flatten)]
        how: How,
    },
    /// Spread the shards evenly, those too that were moved by hand
    Rebalance {
        #[command(flatten)]
        how: How,
    },
    /// Deployments: workers of another generation (--generation) take over
    #[command(subcommand)]
    Deploy(DeployCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeployCommand {
    /// Hand every shard over to the workers of a generation, and let the others exit. It goes back by itself when a shard does
    /// not become ready, or a worker of the generation dies
    Promote {
        /// The generation
        generation: String,
        /// Give the plan up that is under way: what it has moved goes back
        #[arg(long, conflicts_with = "dry_run")]
        abort: bool,
        #[command(flatten)]
        how: How,
    },
    /// Give the plan up that is under way: what a promotion has moved goes back
    Abort(Server),
    /// The plan that is under way, or was last, and the active generation
    Status(Server),
}

/// How a plan is started.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Only say what it would do, what it costs and about how long it takes
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for its end
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    server: Server,
}

/// Does it, shows how it goes, and says in the exit code how it ended: 0 done, 1 refused or taken back.
pub(crate) async fn run(command: PlanCommand) -> Outcome {
    obey(command).await.unwrap_or_else(Outcome::from)
}

async fn obey(command: PlanCommand) -> Result<Outcome, ClientError> {
    match command {
        PlanCommand::Drain { worker: worker_id, how } => {
            start(Wish::Drain(v1::DrainWorker { worker_id }), &how).await
        }
        PlanCommand::Move { shard: shard_id, worker: worker_id, how } => {
            start(Wish::Move(v1::MoveShard { shard_id, worker_id }), &how).await
        }
        PlanCommand::Rebalance { how } => start(Wish::Rebalance(v1::Rebalance {}), &how).await,
        PlanCommand::Deploy(DeployCommand::Promote { abort: true, how, .. }) => {
            abort(&how.server, !how.no_wait).await
        }
        PlanCommand::Deploy(DeployCommand::Promote { generation, how, .. }) => {
            start(Wish::Promote(v1::Promote { generation }), &how).await
        }
        PlanCommand::Deploy(DeployCommand::Abort(server)) => abort(&server, true).await,
        PlanCommand::Deploy(DeployCommand::Status(server)) => status(&server).await,
    }
}

async fn start(plan: Wish, how: &How) -> Result<Outcome, ClientError> {
    let server = &how.server;
    let plan = server.connect().await?.start_plan(plan, how.dry_run).await?;
    if how.dry_run {
        server.show(|| table::plan(&plan), || json::plan(&plan));
        return Ok(Outcome::yes());
    }
    if !server.is_json() {
        say(announcement(&plan));
    }
    follow(server, plan, !how.no_wait).await
}

async fn abort(server: &Server, wait: bool) -> Result<Outcome, ClientError> {
    let plan = server.connect().await?.abort_plan().await?;
    follow(server, plan, wait).await
}

async fn status(server: &Server) -> Result<Outcome, ClientError> {
    let mut fleet = server.connect().await?.watch().await?;
    let Some(status) = fleet.message().await? else {
        return Ok(Outcome::unreachable("the coordinator ended the stream"));
    };
    let generation = status.active_generation;
    server.show(
        || {
            let plan = status.plan.as_ref().map_or_else(|| "no plan so far".to_owned(), end_in_words);
            format!("active generation: {generation}\n{plan}")
        },
        || serde_json::json!({ "active_generation": generation, "plan": status.plan.as_ref().map(json::plan) }),
    );
    Ok(Outcome::yes())
}

/// Shows a plan to its end.
async fn follow(server: &Server, plan: v1::Plan, wait: bool) -> Result<Outcome, ClientError> {
    let plan = if wait { until_over(server, plan).await? } else { plan };
    server.show(|| end_in_words(&plan), || json::plan(&plan));
    Ok(match plan.state() {
        PlanState::RolledBack | PlanState::Aborted => Outcome::no(),
        _ if wait && !is_over(&plan) => {
            Outcome::unreachable("no coordinator that acts knows the plan any more")
        }
        _ => Outcome::yes(),
    })
}

/// Watches a plan until it is over, over coordinators that come and go.
async fn until_over(server: &Server, mut plan: v1::Plan) -> Result<v1::Plan, ClientError> {
    let mut line = Line::new(!server.is_json());
    let mut heard = Instant::now();
    while !is_over(&plan) && heard.elapsed() < COORDINATOR_AWAY {
        if watch(server, &mut plan, &mut line, &mut heard).await.is_err() {
            line.show("the coordinator is away; the plan goes on under the next one");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    line.end();
    Ok(plan)
}

/// Watches one coordinator until the plan is over or the stream ends.
async fn watch(
    server: &Server,
    plan: &mut v1::Plan,
    line: &mut Line,
    heard: &mut Instant,
) -> Result<(), ClientError> {
    let mut client: BridgeClient = server.connect().await?;
    let mut fleet = client.watch().await?;
    while let Some(status) = fleet.message().await? {
        let known = status.plan.filter(|now| now.id == plan.id);
        let Some(now) = known.filter(|_| status.acting) else {
            // A standby, a coordinator that has not begun, or one that has never heard of it.
            if heard.elapsed() >= COORDINATOR_AWAY {
                break;
            }
            continue;
        };
        *heard = Instant::now();
        *plan = now;
        line.show(&progress(plan));
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

/// `[############------------] 6/12 shards, 0.8 s`.
fn progress(plan: &v1::Plan) -> String {
    let (done, all) = (plan.steps_done as usize, plan.steps.len());
    let filled = (BAR * done).checked_div(all).unwrap_or(BAR);
    let bar = format!("[{}{}]", "#".repeat(filled), "-".repeat(BAR - filled));
    let state = match plan.state() {
        PlanState::RollingBack => format!(", going back: {}", plan.reason),
        PlanState::Paused => format!(", paused: {}", plan.reason),
        _ if plan.reason.is_empty() => String::new(),
        _ => format!(": {}", plan.reason),
    };
    format!("{bar} {done}/{all} shards{state}")
}

fn end_in_words(plan: &v1::Plan) -> String {
    let elapsed = seconds(plan.elapsed_ms);
    let what = &plan.description;
    match plan.state() {
        PlanState::Done => {
            let moved = plan.steps.len();
            format!("{what}: done, {moved} shards moved in {elapsed}, {}", cost(plan))
        }
        PlanState::RolledBack => format!("{what}: taken back after {elapsed}: {}", plan.reason),
        PlanState::Aborted => format!("{what}: given up after {elapsed}: {}", plan.reason),
        PlanState::RollingBack => format!("{what}: going back: {}", plan.reason),
        PlanState::Paused => format!("{what}: paused: {}", plan.reason),
        _ => format!("{what}: {} of {} shards", plan.steps_done, plan.steps.len()),
    }
}

//! One coordinator acts: the others wait for the term, and answer queries meanwhile from what the store says.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{ShardNumber, ShardReport, ShardStatus, Term};
use fleet_store::{FleetRecord, StoreError, TermClaim};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    discord::GatewayInfo,
    driver::{Driver, Outcome, Shell, TermEnd, budget_from},
    fleet::{Fleet, FleetView, Recovered, RecoveredOwner, RecoveredWorker, Rules, ShardView, WorkerView},
    handle::Command,
    identify::IdentifyQueue,
    shard_total,
    snapshot::{IdentifyView, Role, Snapshot},
};

/// How often a waiting coordinator asks for the term.
const CLAIM: Duration = Duration::from_millis(500);

/// The longest wait for a store that is away.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Waits for the term and acts, again and again, until `stop`.
pub(crate) async fn serve_terms(
    shell: &Shell,
    config: &Config,
    info: &GatewayInfo,
    mut commands: mpsc::Receiver<Command>,
    stop: &CancellationToken,
) {
    loop {
        let Some((term, record)) = wait_for_term(shell, &mut commands, stop).await else { return };
        tracing::info!(%term, "this coordinator acts");
        let (driver, outcomes) = begin(shell, config, info, term, record);
        let end = driver.act(outcomes, &mut commands, stop).await;
        shell.metrics.set_acting(None);
        match end {
            TermEnd::Stopping => {
                if let Err(error) = shell.store.release_term(term, &shell.holder).await {
                    tracing::warn!(%error, "the term could not be released: the next coordinator waits for it to lapse");
                }
                return;
            }
            TermEnd::Lost(to) => {
                tracing::warn!(%term, %to, "another coordinator acts: this one waits for the term");
            }
        }
    }
}

/// Waits until the term is ours and the store has told what is written down. `None` when the process stops.
async fn wait_for_term(
    shell: &Shell,
    commands: &mut mpsc::Receiver<Command>,
    stop: &CancellationToken,
) -> Option<(Term, FleetRecord)> {
    let mut wait = CLAIM;
    let mut said = String::new();
    loop {
        let before = |error: &StoreError| format!("waiting for the fleet store: {error}");
        let news = match claim(shell).await {
            Ok(Claim::Acting(term, record)) => return Some((term, *record)),
            Ok(Claim::Waiting { holder, term, record }) => {
                wait = CLAIM;
                shell.publisher.publish(standby_snapshot(shell, *record));
                format!("waiting: coordinator {holder} acts in term {term}")
            }
            Err(error) => {
                let news = before(&error);
                wait = (wait * 2).min(LONGEST_WAIT);
                news
            }
        };
        if news != said {
            tracing::warn!("{news}");
            said = news;
        }
        let next = tokio::time::sleep(wait);
        tokio::pin!(next);
        loop {
            tokio::select! {
                () = stop.cancelled() => return None,
                () = &mut next => break,
                command = commands.recv() => command?.refuse(),
            }
        }
    }
}

enum Claim {
    Acting(Term, Box<FleetRecord>),
    Waiting { holder: String, term: Term, record: Box<FleetRecord> },
}

async fn claim(shell: &Shell) -> Result<Claim, StoreError> {
    // Read before the claim: whether anybody held a term before us tells whether the fleet may be running.
    let record = Box::new(shell.store.load().await?);
    match shell.store.claim_term(&shell.holder, Term(shell.now().unix_ms), shell.lease_ttl).await? {
        TermClaim::Acting(term) => {
            let before = record.term;
            // Read again: the holder before us may have written between the two.
            let record = FleetRecord { term: before, ..shell.store.load().await? };
            Ok(Claim::Acting(term, Box::new(record)))
        }
        TermClaim::HeldBy { term, holder, .. } => {
            Ok(Claim::Waiting { holder: holder.to_string(), term, record })
        }
    }
}

/// The machines at the beginning of a term.
fn begin<'a>(
    shell: &'a Shell,
    config: &Config,
    info: &GatewayInfo,
    term: Term,
    record: FleetRecord,
) -> (Driver<'a>, mpsc::Receiver<Outcome>) {
    let now = shell.now();
    let had_predecessor = record.term > Term(0);
    let wanted = shard_total::wanted(config.shard_count, config.shard_buffer, info.advice);
    let budget = budget_from(info, record.budget, config.identify_reserve, now);
    if budget.remaining < wanted.saturating_add(budget.reserve) {
        tracing::warn!(
            remaining = budget.remaining,
            reserve = budget.reserve,
            shards = wanted,
            "the identify budget is too short to start every shard anew"
        );
    }
    let rules = Rules {
        lease_ttl: config.lease_ttl,
        settle: config.settle,
        moves_at_once: info.advice.max_concurrency.max(1) as usize,
    };
    // A predecessor may have sent permits that we do not know of.
    let open_at = if had_predecessor { now.mono + config.identify_interval } else { now.mono };
    let identify = IdentifyQueue::new(info.advice.max_concurrency, config.identify_interval, budget, open_at);
    let workers = record.workers.into_values().filter(|lease| !lease.revoked).map(|lease| RecoveredWorker {
        worker: lease.worker.worker,
        incarnation: lease.worker.incarnation,
        url: lease.worker.url,
    });
    let owners = record.owners.into_values().map(|owner| RecoveredOwner {
        shard: owner.shard,
        worker: owner.worker,
        incarnation: owner.incarnation,
        epoch: owner.epoch,
    });
    let recovered = Recovered {
        shard_total: record.shard_total,
        workers: workers.collect(),
        owners: owners.collect(),
        had_predecessor,
    };
    shell.metrics.set_acting(Some(term));
    let fleet = Fleet::new(rules, term, wanted, recovered, now);
    if let Some(running) = fleet.shard_total().filter(|running| *running != wanted) {
        tracing::warn!(
            running,
            wanted,
            "the fleet runs with another shard total than is wanted: it keeps it until all workers have stopped"
        );
    }
    Driver::new(shell, term, fleet, identify)
}

/// What a waiting coordinator can say: who runs what, as the acting one wrote it down.
fn standby_snapshot(shell: &Shell, record: FleetRecord) -> Snapshot {
    let total = record.shard_total.unwrap_or(0);
    let clock = shell.now().mono;
    let mut fleet = FleetView { term: record.term, shard_total: total, ..FleetView::default() };
    for (name, lease) in record.workers {
        if lease.revoked || lease.remaining.is_zero() {
            continue;
        }
        let view = WorkerView {
            incarnation: lease.worker.incarnation,
            url: lease.worker.url,
            version: String::new(),
            capacity: None,
            shards: BTreeMap::default(),
            rss_bytes: 0,
            connected: true,
            draining: false,
            last_heard: clock,
        };
        fleet.workers.insert(name, view);
    }
    for shard in (0..total).map(ShardNumber) {
        let owner = record.owners.get(&shard).filter(|owner| {
            fleet.workers.get(&owner.worker).is_some_and(|worker| worker.incarnation == owner.incarnation)
        });
        let owner = owner.map(|owner| (owner.worker.clone(), owner.epoch));
        if let Some((worker, epoch)) = &owner
            && let Some(worker) = fleet.workers.get_mut(worker)
        {
            worker.shards.insert(shard, *epoch);
        }
        let epoch = owner.as_ref().map(|(_, epoch)| *epoch).unwrap_or_default();
        let report = ShardReport::bare(shard, epoch, ShardStatus::Unassigned);
        fleet.shards.push(ShardView { owner, report, reported_at: None });
    }
    Snapshot { role: Role::Standby, fleet, identify: IdentifyView::default(), taken: Instant::now(), clock }
}

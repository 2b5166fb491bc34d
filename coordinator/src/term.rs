//! Waits for the term, acts while it holds it, and answers queries from the store's records meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fleet_model::{
    HistoryEntry, HistoryKind, Problem, ProblemCode, ShardKey, ShardReport, ShardStatus, Term,
};
use fleet_store::{FleetRecord, FleetStoreError, FleetStoreIdentity, TermClaim, TermWrite};
use process::life;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    config::CoordinatorConfig,
    discord::{DiscordError, GatewayInfo},
    driver::{Driver, DriverOutcome, DriverParts, HeldTerm, Shell, TermEnd, budget_from, invalid},
    handle::DriverCommand,
    snapshot::{IdentifyView, Role, Snapshot},
};
use fleet::{
    Fleet, FleetRules, FleetView, Intent, Recovered, RecoveredOwner, RecoveredWorker, ShardView, WorkerView,
    identify::{self, IdentifyQueue},
};

/// How often a waiting coordinator asks for the term.
const CLAIM: Duration = Duration::from_millis(500);

/// A standby reads the store's records again after this many times what reading them takes, and after [`LONGEST_AGE`] at the latest.
const READING_SHARE: u32 = 50;
const LONGEST_AGE: Duration = Duration::from_secs(10);

/// How long an answer of Discord counts as fresh.
const FRESH: Duration = Duration::from_mins(1);

/// How long a fresher answer is waited for.
const REFRESH: Duration = Duration::from_secs(2);

/// How many shards one millisecond lets the fleet decide about. A decision takes about a microsecond a shard.
const DECIDED_PER_MS: u32 = 250;

/// The longest wait for a store that is away.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Waits for the term and acts, again and again, until `stop`.
///
/// # Errors
/// Discord refuses the token.
pub(crate) async fn serve_terms(
    shell: &Shell,
    config: &CoordinatorConfig,
    mut commands: mpsc::Receiver<DriverCommand>,
    stop: &CancellationToken,
) -> Result<(), DiscordError> {
    let mut known: Option<GatewayInfo> = None;
    loop {
        let info = match known.take() {
            Some(info) => info,
            // Asked in each term: the last budget may be hours old.
            None => match refusing(shell, &mut commands, stop, ask_discord(shell)).await {
                Some(info) => info?,
                None => return Ok(()),
            },
        };
        let Some(acting) = wait_for_term(shell, &mut commands, stop).await else {
            withdraw(shell).await;
            return Ok(());
        };
        let Some(info) = refresh(shell, info, &mut commands, stop).await else { return Ok(()) };
        let term = acting.held_term.term();
        tracing::info!(%term, "acting as coordinator");
        let after = match acting.record.term {
            Term(0) => "the first of this store".to_owned(),
            before => format!("after term {before}"),
        };
        record_term(shell, HistoryKind::TermBegan, term, after);
        let (driver, outcomes) = begin(shell, config, &info, acting);
        let end = driver.act(outcomes, &mut commands, stop).await;
        shell.metrics.set_acting(None);
        match end {
            TermEnd::Stopping => {
                record_term(shell, HistoryKind::TermEnded, term, "it stopped".to_owned());
                release(shell, term).await;
                return Ok(());
            }
            TermEnd::Lost(to) => {
                record_term(
                    shell,
                    HistoryKind::TermEnded,
                    term,
                    format!("the coordinator of term {to} acts"),
                );
                tracing::warn!(%term, %to, "another coordinator acts; waiting for the term");
            }
            TermEnd::Outranked => {
                let why = "the store has records of a higher term that no coordinator holds";
                record_term(shell, HistoryKind::TermEnded, term, why.to_owned());
                tracing::warn!(%term, "{why}; claiming a term above it");
                release(shell, term).await;
                // Leases lapse meanwhile, so Discord is asked only briefly.
                known = Some(info);
            }
        }
    }
}

/// Lets the term go.
async fn release(shell: &Shell, term: Term) {
    if let Err(error) = shell.store.release_term(term, &shell.holder).await {
        tracing::warn!(%error, "cannot release the term; the next coordinator waits until it lapses");
    }
}

/// Records that a term of this coordinator began or ended.
fn record_term(shell: &Shell, kind: HistoryKind, term: Term, detail: String) {
    let entry = HistoryEntry::new(kind, term, shell.now().unix_ms).detail(detail);
    shell.history.record(HistoryEntry { incarnation: Some(shell.holder.clone()), ..entry });
}

/// Waits for Discord's answer, publishing the problem meanwhile.
async fn ask_discord(shell: &Shell) -> Result<GatewayInfo, DiscordError> {
    let asking = shell.discord.gateway_info_at_last();
    tokio::pin!(asking);
    loop {
        let waiting = || Problem::new(ProblemCode::Standby, "waiting for Discord to answer GET /gateway/bot");
        shell.publisher.publish_waiting(shell.discord.problem().unwrap_or_else(waiting));
        tokio::select! {
            answer = &mut asking => return answer,
            () = tokio::time::sleep(CLAIM) => {}
        }
    }
}

/// Withdraws this coordinator's standby note from the store.
async fn withdraw(shell: &Shell) {
    if let Err(error) = shell.store.withdraw_standby(&shell.holder).await {
        tracing::warn!(%error, "cannot withdraw the standby note; the acting coordinator expects a standby for a day");
    }
}

/// Runs `work` while every command is refused. `None` when the process stops.
async fn refusing<T>(
    shell: &Shell,
    commands: &mut mpsc::Receiver<DriverCommand>,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            done = &mut work => return Some(done),
            command = commands.recv() => command?.refuse(shell.publisher.waits_for()),
        }
    }
}

/// Returns Discord's answer. If the wait for the term took long, asks again and takes the new answer if it comes soon.
async fn refresh(
    shell: &Shell,
    info: GatewayInfo,
    commands: &mut mpsc::Receiver<DriverCommand>,
    stop: &CancellationToken,
) -> Option<GatewayInfo> {
    if info.asked.elapsed() < FRESH {
        return Some(info);
    }
    let asking = tokio::time::timeout(REFRESH, shell.discord.gateway_info());
    if let Ok(Ok(fresh)) = refusing(shell, commands, stop, asking).await? {
        return Some(fresh);
    }
    tracing::warn!("no answer from Discord; using the identify budget of the last answer");
    Some(info)
}

/// Waits until this coordinator holds the term and has read the store. `None` when the process stops.
async fn wait_for_term(
    shell: &Shell,
    commands: &mut mpsc::Receiver<DriverCommand>,
    stop: &CancellationToken,
) -> Option<Acting> {
    let mut wait = CLAIM;
    let mut said = String::new();
    let mut records = StandbyRecords::default();
    loop {
        let news = match refusing(shell, commands, stop, claim(shell, &mut records)).await? {
            Ok(ClaimResult::Acting(acting)) => {
                shell.report_serving();
                return Some(acting);
            }
            Ok(ClaimResult::Waiting { holder, term }) => {
                // Discord and the store have answered: it can act as soon as the other coordinator stops.
                shell.report_serving();
                wait = CLAIM;
                let news = format!("waiting: coordinator {holder} acts in term {term}");
                let mut snapshot = standby_snapshot(shell, records.record.clone());
                snapshot.fleet.problems.push(Problem::new(ProblemCode::Standby, news.clone()));
                shell.publisher.publish(snapshot);
                news
            }
            Err(error) => {
                wait = (wait * 2).min(LONGEST_WAIT);
                let news = format!("waiting for the fleet store: {error}");
                let mut snapshot = standby_snapshot(shell, FleetRecord::default());
                snapshot.fleet.problems.push(match &error {
                    FleetStoreError::InvalidRecord(key) => invalid::problem(key),
                    FleetStoreError::Away(_) => Problem::new(ProblemCode::StoreAway, news.clone()),
                });
                shell.publisher.publish(snapshot);
                news
            }
        };
        if news != said {
            tracing::warn!("{news}");
            said = news;
        }
        refusing(shell, commands, stop, tokio::time::sleep(wait)).await?;
    }
}

/// The held term, and the records read under it.
struct Acting {
    held_term: HeldTerm,
    record: Box<FleetRecord>,
    /// The store that the record was read from.
    store: FleetStoreIdentity,
    /// The coordinator before has provably ended.
    predecessor_gone: bool,
}

enum ClaimResult {
    Acting(Acting),
    Waiting { holder: String, term: Term },
}

/// The store's records as a standby knows them. They are read again when they are old in relation to the time that reading takes, so that
/// a standby of a large fleet is little work for the store.
#[derive(Default)]
struct StandbyRecords {
    store: Option<FleetStoreIdentity>,
    record: FleetRecord,
    /// When they are read again.
    next: Duration,
}

impl StandbyRecords {
    async fn refresh(&mut self, shell: &Shell) -> Result<FleetStoreIdentity, FleetStoreError> {
        // Asked first: a store that restarts from here on has lost what is read from it.
        let identity = shell.store.identity().await?;
        let begun = shell.now().mono;
        if self.store.as_ref() != Some(&identity) || begun >= self.next {
            self.record = shell.store.load().await?;
            self.store = Some(identity.clone());
            let now = shell.now().mono;
            self.next = now + (now.saturating_sub(begun) * READING_SHARE).min(LONGEST_AGE);
        }
        Ok(identity)
    }
}

async fn claim(shell: &Shell, records: &mut StandbyRecords) -> Result<ClaimResult, FleetStoreError> {
    // Read before the claim: an earlier term shows that the fleet may be running, and the new one has to be above all that have written. If
    // they are too old for that, the fence finds it.
    let identity = records.refresh(shell).await?;
    let record = &records.record;
    let now = shell.now();
    let at_least = Term(now.unix_ms.max(record.term.0.saturating_add(1)));
    let claim = || shell.store.claim_term(&shell.holder, at_least, shell.lease_ttl);
    let mut claimed = claim().await?;
    let mut predecessor_gone = false;
    if let TermClaim::HeldBy { term, holder, .. } = &claimed
        && life::is_gone(holder)
    {
        tracing::warn!(%term, %holder, "the acting coordinator's process on this host has ended; taking its term");
        shell.store.release_term(*term, holder).await?;
        predecessor_gone = true;
        claimed = claim().await?;
    }
    match claimed {
        TermClaim::Acting(term) => {
            fail::fail_point!("coordinator_term_claimed");
            // Renewed from here on: in a big fleet, fencing and reading take longer than a term lasts.
            let held_term = HeldTerm::hold(shell, term, now.mono);
            let before = record.term;
            records.store = None;
            // Writes of the previous holder that are still under way are either read below, or refused.
            if shell.store.fence(term).await? == TermWrite::StaleTerm {
                // The next claim gets a higher one.
                drop(held_term);
                release(shell, term).await;
                return Err(FleetStoreError::Away(format!("a higher term than {term} has written to it")));
            }
            fail::fail_point!("coordinator_term_fenced");
            let record = FleetRecord { term: before, ..shell.store.load().await? };
            Ok(ClaimResult::Acting(Acting {
                held_term,
                record: Box::new(record),
                store: identity,
                predecessor_gone,
            }))
        }
        TermClaim::HeldBy { term, holder, .. } => {
            records.record.term = records.record.term.max(term);
            Ok(ClaimResult::Waiting { holder: holder.to_string(), term })
        }
    }
}

/// Creates the driver with its machines at the beginning of a term.
fn begin<'a>(
    shell: &'a Shell,
    config: &CoordinatorConfig,
    info: &GatewayInfo,
    Acting { held_term, record, store, predecessor_gone }: Acting,
) -> (Driver<'a>, mpsc::Receiver<DriverOutcome>) {
    let (now, term) = (shell.now(), held_term.term());
    let invalid = record.invalid;
    // Workers write their leases into a store that lost them.
    let had_predecessor = record.term > Term(0) || !record.workers.is_empty();
    let wanted = shell.wanted_total(info.advice);
    let budget = budget_from(info, record.budget, config.identify_reserve, now);
    if budget.remaining < wanted.total.saturating_add(budget.reserve) {
        tracing::warn!(
            remaining = budget.remaining,
            reserve = budget.reserve,
            shards = wanted.total,
            "identify budget too short to start every shard with an IDENTIFY"
        );
    }
    let rules = FleetRules {
        lease_ttl: config.lease_ttl,
        settle: config.settle,
        moves_at_once: config.moves_at_once,
        identifies_at_once: info.advice.max_concurrency.max(1) as usize,
        decided_per_ms: DECIDED_PER_MS,
    };
    // A predecessor may have sent permits that are unknown here.
    let open_at = if had_predecessor {
        now.mono + identify::unknown_permits_end(config.identify_interval)
    } else {
        now.mono
    };
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
        last_ran_unix_ms: record.last_ran_unix_ms,
        head_signing: record.head_signing,
        intent: record.intent.as_deref().map(read_intent).unwrap_or_default(),
        named_generation: config.active_generation.clone(),
        had_predecessor,
        is_whole: predecessor_gone && record.trusted.as_ref() == Some(&store),
    };
    shell.metrics.set_acting(Some(term));
    let fleet = Fleet::new(rules, term, wanted, recovered, now);
    if let Some(running) = fleet.shard_total().filter(|running| *running != wanted.total) {
        tracing::warn!(
            running,
            wanted = wanted.total,
            "running shard total differs from the wanted one; it stays until all workers have stopped, and with `auto` until \
             the sessions cannot be resumed any more"
        );
    }
    let gateway_url = info.url.clone();
    let parts =
        DriverParts { held_term, fleet, identify, gateway_url, had_predecessor, store_identity: store };
    let (mut driver, outcomes) = Driver::new(shell, parts);
    driver.name_invalid(&invalid);
    (driver, outcomes)
}

/// Reads the operators' intent from the store's record. An invalid record counts as empty.
fn read_intent(text: &str) -> Intent {
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot read the operator intent record; no shard is pinned, no plan is running");
        Intent::default()
    })
}

/// The snapshot of a standby: the owners of the store's records.
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
            address: None,
            version: String::new(),
            capacity: None,
            generation: None,
            shards: BTreeMap::default(),
            rss_bytes: 0,
            figures: None,
            connected: true,
            draining: false,
            last_heard: clock,
        };
        fleet.workers.insert(name, view);
    }
    for shard in ShardKey::all(total) {
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
        let report = Arc::new(ShardReport::bare(shard, epoch, ShardStatus::Unassigned));
        fleet.shards.push(ShardView { key: shard, owner, report, reported_at: None, since_unix_ms: None });
    }
    fleet.problems.extend(record.invalid.iter().map(|key| invalid::problem(key)));
    Snapshot { role: Role::Standby, fleet, identify: IdentifyView::default(), taken: Instant::now(), clock }
}

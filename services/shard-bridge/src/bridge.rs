//! The questions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use event_bus::{NewMessage, Published, Recipient};
use fleet_model::{
    GuildRecord, Routes, ShardKey, ShardReport, ShardSlot, ShardStatus, UserLookup, WorkerId, shard_of_guild,
};
use process::credentials::Credentials;
use relay::RelayStore;
use tokio::{sync::watch, time::Instant};

use crate::{
    answer::{BridgeError, BroadcastReceipt, FleetStats, GuildAnswer, UserAnswer},
    content,
    fan_out::{Answers, FanOut, Recipients},
    hub::Hub,
    local::{LocalShards, RecentReports},
    merge,
    metrics::BridgeMetrics,
    peers::Peers,
    worker_client::WorkerClient,
};

use covering::{CoverageGap, UncoveredShards};

mod cached;
mod commands;
mod covering;
mod messages;
mod owner;
mod snapshots;

/// How long to wait for a newer routing table after an owner said that a guild is not its own.
const REROUTE: Duration = Duration::from_millis(250);

/// What a [`Bridge`] is made of.
pub struct BridgeParts<'a> {
    /// The routing table.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// The shards of this process, if it is a worker.
    pub local: Option<Arc<dyn LocalShards>>,
    /// Reports that workers push, if this process receives them.
    pub recent: Option<Arc<dyn RecentReports>>,
    /// The local end of the broadcasts.
    pub hub: Hub,
    /// Counters.
    pub metrics: BridgeMetrics,
    /// The process's name in broadcasts.
    pub sender: &'a str,
    /// Discord's events, if they are relayed.
    pub relay: Option<Arc<dyn RelayStore>>,
    /// What this process proves to the workers that it asks.
    pub credentials: Credentials,
}

/// Answers questions across all shards, in the coordinator and in each worker. Clones are cheap and share everything.
///
/// The sections on errors name the [`ErrorClass`](fleet_model::ErrorClass) of the [`BridgeError`].
#[derive(Clone)]
pub struct Bridge {
    routes: watch::Receiver<Arc<Routes>>,
    fan_out: FanOut,
    recent: Option<Arc<dyn RecentReports>>,
    hub: Hub,
    sender: Arc<str>,
    relay: Option<Arc<dyn RelayStore>>,
}

impl Bridge {
    /// Returns a bridge over the workers in `parts.routes`.
    pub fn new(parts: BridgeParts<'_>) -> Self {
        let BridgeParts { routes, local, recent, hub, metrics, sender, relay, credentials } = parts;
        let fan_out = FanOut::new(local, metrics, Peers::new(credentials));
        Self { routes, fan_out, recent, hub, sender: sender.into(), relay }
    }

    pub(crate) fn relay(&self) -> Option<&Arc<dyn RelayStore>> {
        self.relay.as_ref()
    }

    /// The process's broadcasts.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn metrics(&self) -> &BridgeMetrics {
        &self.fan_out.metrics
    }

    fn routes(&self) -> Arc<Routes> {
        let routes = self.routes.borrow().clone();
        self.fan_out.peers.forget_all_but(&routes);
        routes
    }

    /// Waits for the first routing table: calls can arrive before a new process has one.
    async fn first_table(&self, until: Instant) {
        let mut routes = self.routes.clone();
        let table = routes.wait_for(|routes| **routes != Routes::default());
        // Without a table the answer is that no shard runs.
        let _ = tokio::time::timeout_at(until, table).await;
    }

    /// Totals over all shards. With `max_staleness`, from reports that came by themselves if all are that fresh.
    pub async fn stats(&self, until: Instant, max_staleness: Duration) -> FleetStats {
        self.first_table(until).await;
        let routes = self.routes();
        if let Some(recent) = self.recent.as_ref().filter(|_| !max_staleness.is_zero()) {
            let reports: Vec<_> =
                recent.reports().into_iter().filter(|timed| timed.age <= max_staleness).collect();
            let answer = merge::stats(routes.shard_total, reports);
            if answer.missing_shards.is_empty() {
                return answer;
            }
        }
        let (routes, answers) =
            self.ask_all(until, LocalShards::shards, WorkerClient::shards, |_| false, lacking_reports).await;
        merge::stats(routes.shard_total, merge::timed(answers.answers, Duration::ZERO))
    }

    /// Guilds, each from the worker that runs its shard. A worker that says that it no longer does is not asked again: the
    /// next routing table is, once.
    pub async fn guilds(&self, guild_ids: &[u64], until: Instant) -> Vec<GuildAnswer> {
        self.first_table(until).await;
        let mut routes_changed = self.routes.clone();
        let routes = self.routes();
        routes_changed.mark_unchanged();
        let mut found = self.ask_owners(guild_ids, &routes, until).await;
        let disowned: Vec<u64> = found
            .iter()
            .filter(|(_, answer)| matches!(answer, GuildLookup::Disowned))
            .map(|(id, _)| *id)
            .collect();
        if !disowned.is_empty() {
            let patience = until.min(Instant::now() + REROUTE);
            // An unchanged table is asked again all the same: the worker may only just have started the shard.
            let _ = tokio::time::timeout_at(patience, routes_changed.changed()).await;
            found.extend(self.ask_owners(&disowned, &self.routes(), until).await);
        }
        let routes = self.routes();
        guild_ids.iter().map(|id| guild_answer(*id, &routes, found.get(id))).collect()
    }

    async fn ask_owners(
        &self,
        guild_ids: &[u64],
        routes: &Routes,
        until: Instant,
    ) -> BTreeMap<u64, GuildLookup> {
        let mut wanted: BTreeMap<WorkerId, Vec<u64>> = BTreeMap::new();
        let mut recipients = Recipients::new();
        let mut found = BTreeMap::new();
        for &guild_id in guild_ids {
            let owner = shard_of_guild(guild_id, routes.shard_total).and_then(|shard| routes.owner(shard));
            match owner {
                Some(owner) => {
                    wanted.entry(owner.worker.clone()).or_default().push(guild_id);
                    recipients.insert(owner.worker.clone(), owner.url.to_owned());
                }
                None => {
                    found.insert(guild_id, GuildLookup::Unanswered("no worker runs its shard".to_owned()));
                }
            }
        }
        let asking = recipients.into_iter().map(|(worker, url)| {
            let ids = wanted.remove(&worker).unwrap_or_default();
            self.ask_owner(worker, url, ids, until)
        });
        found.extend(futures_util::future::join_all(asking).await.into_iter().flatten());
        found
    }

    async fn ask_owner(
        &self,
        worker: WorkerId,
        url: String,
        ids: Vec<u64>,
        until: Instant,
    ) -> Vec<(u64, GuildLookup)> {
        let one = Recipients::from([(worker.clone(), url)]);
        let Answers { mut answers, mut failures } = self
            .fan_out
            .ask(
                &one,
                until,
                |local| local.guilds(&ids),
                |client, left| client.guilds(ids.clone(), left),
                |_| false,
            )
            .await;
        let failure = failures.remove(&worker).map(|why| format!("worker {worker} {why}"));
        let records = answers.remove(&worker).unwrap_or_default();
        let owned = |guild_id: u64| {
            let record = records.iter().find(|record| record.guild_id == guild_id);
            let owned = match (record, &failure) {
                (Some(GuildRecord { mine: Some(own), .. }), _) => {
                    GuildLookup::Answered(worker.clone(), own.clone())
                }
                (Some(GuildRecord { mine: None, .. }), _) => GuildLookup::Disowned,
                (None, Some(why)) => GuildLookup::Unanswered(why.clone()),
                (None, None) => GuildLookup::Unanswered(format!("worker {worker} left it out of its answer")),
            };
            (guild_id, owned)
        };
        ids.iter().copied().map(owned).collect()
    }

    /// Users, from whichever workers know them. Without `all` the search ends when each is found.
    pub async fn users(&self, user_ids: &[u64], all: bool, until: Instant) -> Vec<UserAnswer> {
        let each_found = |answers: &BTreeMap<WorkerId, UserLookup>| {
            let is_found = |position: usize| {
                answers
                    .values()
                    .any(|answer| answer.users.get(position).is_some_and(|user| !user.shards.is_empty()))
            };
            !all && (0..user_ids.len()).all(is_found)
        };
        let (routes, Answers { answers, failures }) = self
            .ask_all(
                until,
                |local| local.users(user_ids),
                |client, left| client.users(user_ids.to_vec(), left),
                each_found,
                lacking_lookups,
            )
            .await;
        let missing = missing_answers(&routes, &failures, &answers);
        let answer =
            |(position, id): (usize, &u64)| merge::user(*id, position, all, &answers, missing.as_deref());
        user_ids.iter().enumerate().map(answer).collect()
    }

    /// A message to every worker.
    ///
    /// # Errors
    /// `Unavailable` when the bus is away, `InvalidInput` when type or data is not as it may be.
    pub async fn broadcast(
        &self,
        kind: String,
        data: impl Into<content::Data>,
        until: Instant,
    ) -> Result<BroadcastReceipt, BridgeError> {
        let content::Data { value, json } = data.into();
        self.broadcast_text(kind, content::received(json, Some(value)), until).await
    }

    /// As [`Bridge::broadcast`], with the data as JSON text.
    pub(crate) async fn broadcast_text(
        &self,
        kind: String,
        body: String,
        until: Instant,
    ) -> Result<BroadcastReceipt, BridgeError> {
        content::check(&kind, &body)?;
        self.first_table(until).await;
        let expected: BTreeSet<WorkerId> =
            self.routes().workers().iter().map(|(worker, _)| worker.clone()).collect();
        let mut published = self.publish(kind, body, Recipient::All, until).await?;
        let mut acknowledged = BTreeSet::new();
        while acknowledged.len() < expected.len() {
            match tokio::time::timeout_at(until, published.acknowledgements.recv()).await {
                Ok(Some(worker)) if expected.contains(&worker) => {
                    acknowledged.insert(worker);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        Ok(BroadcastReceipt {
            message_id: published.id.0,
            workers_expected: expected.len() as u32,
            workers_acknowledged: acknowledged.len() as u32,
            missing_workers: expected.difference(&acknowledged).cloned().collect(),
        })
    }

    async fn publish(
        &self,
        kind: String,
        body: String,
        recipient: Recipient,
        until: Instant,
    ) -> Result<Published, BridgeError> {
        let message = NewMessage {
            kind,
            body,
            sender: self.sender.to_string(),
            recipient,
            traceparent: process::telemetry::trace_context::current_traceparent(),
        };
        match tokio::time::timeout_at(until, self.hub.bus().publish(message)).await {
            Ok(published) => Ok(published?),
            Err(_) => Err(BridgeError::too_late(
                "the event bus did not answer in time: the message may have been sent",
            )),
        }
    }
}

/// What became of the question about one guild.
enum GuildLookup {
    Answered(WorkerId, fleet_model::OwnGuild),
    /// The worker that should own it says that it does not.
    Disowned,
    Unanswered(String),
}

/// Shards without a report, or with one of a worker that is starting them.
fn lacking_reports(shard_total: u32, answers: &BTreeMap<WorkerId, Vec<ShardReport>>) -> UncoveredShards {
    let is_starting = |status| {
        matches!(status, ShardStatus::Identifying | ShardStatus::Resuming | ShardStatus::Reconnecting)
    };
    let gap = |report: &ShardReport| is_starting(report.status).then_some(CoverageGap::Starting);
    uncovered(shard_total, answers.values().flatten().map(|report| (report.shard, gap(report))))
}

/// Shards that no answer is about.
fn lacking_lookups(shard_total: u32, answers: &BTreeMap<WorkerId, UserLookup>) -> UncoveredShards {
    let covered = answers.values().flat_map(|answer| answer.shards.iter().copied());
    uncovered(shard_total, covered.map(|shard| (shard, None)))
}

/// Shards that `answers` do not cover. Each answer names a shard and the gap that it leaves; `None` if it covers the shard.
fn uncovered(
    shard_total: u32,
    answers: impl Iterator<Item = (ShardSlot, Option<CoverageGap>)>,
) -> UncoveredShards {
    let mut gaps = vec![Some(CoverageGap::Missing); shard_total as usize];
    for (shard, gap) in answers {
        if let Some(known) = gaps.get_mut(shard.0 as usize) {
            *known = known.and(gap);
        }
    }
    ShardKey::all(shard_total).zip(gaps).filter_map(|(shard, gap)| Some((shard, gap?))).collect()
}

/// Which worker, or which shard, is missing from the answers, in words. A worker that gave no answer is not missed when
/// another one answered for its shards.
fn missing_answers(
    routes: &Routes,
    failures: &BTreeMap<WorkerId, String>,
    answers: &BTreeMap<WorkerId, UserLookup>,
) -> Option<String> {
    if routes.shard_total == 0 {
        return Some("no shard runs yet".to_owned());
    }
    let (shard, _) = lacking_lookups(routes.shard_total, answers).pop_first()?;
    let failure = failures.first_key_value().map(|(worker, why)| format!("worker {worker} {why}"));
    Some(failure.unwrap_or_else(|| format!("no answer for shard {shard}")))
}

fn guild_answer(guild_id: u64, routes: &Routes, owned: Option<&GuildLookup>) -> GuildAnswer {
    let shard = shard_of_guild(guild_id, routes.shard_total);
    let owner = shard.and_then(|shard| routes.owner(shard));
    let worker = owner.map(|owner| owner.worker.clone());
    let mut answer = GuildAnswer { guild_id, shard, worker, ..GuildAnswer::default() };
    match owned {
        Some(GuildLookup::Answered(worker, own)) => {
            answer.found = own.found;
            answer.complete = own.complete;
            answer.name.clone_from(&own.name);
            answer.member_count = own.member_count;
            answer.unavailable = own.unavailable;
            answer.worker = Some(worker.clone());
            if !answer.complete {
                let all_guilds = || format!("shard {} does not have all its guilds yet", own.shard);
                answer.reason = own.doubt.clone().unwrap_or_else(all_guilds);
            }
        }
        Some(GuildLookup::Disowned) => "its shard is on the move".clone_into(&mut answer.reason),
        Some(GuildLookup::Unanswered(why)) => answer.reason.clone_from(why),
        None => "no shard runs yet".clone_into(&mut answer.reason),
    }
    answer
}

//! The set of shards, in the hands of the link: makes what runs what the assignment says, and gives up tasks that hang.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fleet_model::{Assignment, ClaimedShards, Epoch, Routes, ShardKey, ShardReport, ShardStatus};
use process::telemetry::{SpanKind, TimedSpan};
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{RunningShard, RunningShards, abort::abort, published::ANSWERS};
use crate::{
    bot::{EventQueues, ShardCaution},
    cache::{CacheSettings, ShardCache},
    callbacks::{CallbackSlots, ShardCallbacks},
    checkpoints::Checkpoints,
    clock::BootTime,
    handoff::{Arrival, Arrivals},
    identify::IdentifyClient,
    lease::LeaseWindow,
    metrics::ShardMetrics,
    shard::{Dialing, GatewaySettings, Runner, RunnerParts},
    shard_state::ShardState,
    singleton::{Singleton, Singletons},
};

/// How long a shard's task may take to close its connection and write its last checkpoint when it is stopped.
const STOP: Duration = Duration::from_secs(3);

/// How long a task that seems stuck is given to show that only the whole process slept.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// What each shard of this worker is started with.
pub(crate) struct ShardParts {
    pub(crate) cache: CacheSettings,
    pub(crate) identify: IdentifyClient,
    pub(crate) metrics: ShardMetrics,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) event_queues: EventQueues,
    pub(crate) callback_slots: CallbackSlots,
    pub(crate) singletons: Singletons,
    /// Where they run.
    pub(crate) runtime: Handle,
    /// Notified whenever a shard's status changes.
    pub(crate) changed: Arc<Notify>,
    pub(crate) credentials: process::credentials::Credentials,
}

/// The shards and their tasks.
pub(crate) struct ShardSet {
    parts: ShardParts,
    published: RunningShards,
    tasks: BTreeMap<ShardKey, ShardTask>,
    /// Stopped, and still writing their last checkpoint: they count as running until they have ended.
    closing: BTreeMap<ShardKey, Arc<RunningShard>>,
    /// Closed lately, and when: they answer until the next owner can.
    departed: BTreeMap<ShardKey, (Arc<RunningShard>, BootTime)>,
    /// Those that are to come.
    arrivals: Arrivals,
    /// Given up by ourselves, as long as the assignment still has them.
    given_up: BTreeMap<ShardKey, Epoch>,
    /// The waits before connections, kept while tasks come and go.
    dialing: BTreeMap<ShardKey, Dialing>,
    ends: JoinSet<ShardKey>,
    /// What is to run. A shard that still closes is started once it has closed.
    desired: Option<DesiredShards>,
}

/// What is to run, and how.
struct DesiredShards {
    assignment: Assignment,
    lease: LeaseWindow,
    gateway: Arc<GatewaySettings>,
}

/// How a shard begins.
struct ShardStart {
    /// What comes of it from the owner before, if that hands it over.
    arrival: Option<Arrival>,
    /// What its owners may have died of is handled one at a time.
    caution: ShardCaution,
    /// Another worker ran the shard before.
    ran_before: bool,
    /// The trace of the handoff or failover that brings it here.
    trace: Option<String>,
}

struct ShardTask {
    shard: Arc<RunningShard>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Of the shard that holds it.
    singleton: Option<Singleton>,
    /// Since when it has been seen to be stuck.
    stuck_since: Option<BootTime>,
}

impl ShardSet {
    pub(crate) fn new(parts: ShardParts, published: RunningShards) -> Self {
        let (cache, changed) = (parts.cache, parts.changed.clone());
        let arrivals = Arrivals::new(
            published.worker.clone(),
            cache,
            parts.credentials.clone(),
            parts.runtime.clone(),
            changed,
        );
        Self {
            parts,
            published,
            tasks: BTreeMap::new(),
            closing: BTreeMap::new(),
            departed: BTreeMap::new(),
            arrivals,
            given_up: BTreeMap::new(),
            dialing: BTreeMap::new(),
            ends: JoinSet::new(),
            desired: None,
        }
    }

    fn shards(&self) -> impl Iterator<Item = &Arc<RunningShard>> {
        self.tasks.values().map(|task| &task.shard).chain(self.closing.values())
    }

    /// What runs, with epochs, and the total that it runs with.
    pub(crate) fn running(&self) -> ClaimedShards {
        let total = self.shards().next().map_or(0, |shard| shard.key().total());
        ClaimedShards { shards: self.shards().map(|shard| (shard.key(), shard.epoch())).collect(), total }
    }

    /// Returns how many shards run or are closing.
    pub(crate) fn count_running(&self) -> usize {
        self.tasks.len() + self.closing.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.closing.is_empty()
    }

    /// Whether a coordinator said once that unsigned heads are refused.
    pub(crate) fn refuses_unsigned_heads(&self) -> bool {
        self.parts.checkpoints.heads.refuses_unsigned()
    }

    /// Shards of other workers that are copied as far as can be, with the epochs of those.
    pub(crate) fn copied(&self) -> BTreeMap<ShardKey, Epoch> {
        self.arrivals.copied()
    }

    /// Forgets what was handed over and is another's by now, or was handed over too long ago to be right.
    pub(crate) fn forget_departed(&mut self, routes: &Routes, now: BootTime) {
        let before = self.departed.len();
        let own = &self.published.worker;
        self.departed.retain(|shard, (_, since)| {
            let elsewhere = routes.owner(*shard).is_some_and(|owner| owner.worker != own);
            !elsewhere && now.since(*since) < ANSWERS
        });
        if self.departed.len() != before {
            self.publish();
        }
    }

    /// Every shard's report.
    pub(crate) fn reports(&self) -> Vec<ShardReport> {
        self.shards().map(|shard| shard.report()).collect()
    }

    /// Applies an assignment: closes shards that are not in it, or run under another epoch or total, and starts those that are
    /// missing. Shards close beside this; [`ShardSet::one_closed`] waits for them.
    pub(crate) fn apply(
        &mut self,
        assignment: &Assignment,
        lease: &LeaseWindow,
        gateway: &Arc<GatewaySettings>,
    ) {
        self.parts.checkpoints.format.assign(assignment.checkpoint_format);
        self.parts.checkpoints.heads.assign(assignment.head_signing);
        self.desired = Some(DesiredShards {
            assignment: assignment.clone(),
            lease: lease.clone(),
            gateway: gateway.clone(),
        });
        self.reconcile();
    }

    fn reconcile(&mut self) {
        let Some(DesiredShards { assignment, lease, gateway }) = self.desired.take() else { return };
        let total = assignment.shard_total;
        let wrong: Vec<ShardKey> = self
            .tasks
            .values()
            .map(|task| &task.shard)
            .filter(|shard| {
                assignment.shards.get(&shard.key()) != Some(&shard.epoch()) || shard.key().total() != total
            })
            .map(|shard| shard.key())
            .collect();
        self.close(&wrong, &assignment.traces);
        self.given_up.retain(|key, epoch| assignment.shards.get(key) == Some(epoch));
        self.dialing.retain(|key, _| key.slot().0 < total);
        // Taken out by the start of a shard before what is not to come any more is dropped.
        for (&key, &epoch) in &assignment.shards {
            let given_up = self.given_up.get(&key) == Some(&epoch);
            if !given_up && !self.tasks.contains_key(&key) && !self.closing.contains_key(&key) {
                let arrival = self.arrivals.take(key, assignment.handed_over.get(&key).copied());
                let start = ShardStart {
                    arrival,
                    caution: ShardCaution::assigned(&assignment, key),
                    ran_before: assignment.ran_before.contains(&key),
                    trace: assignment.traces.get(&key).cloned(),
                };
                self.start(key, epoch, start, &lease, &gateway);
            }
        }
        for (key, task) in &self.tasks {
            let departing =
                assignment.departing.get(key).filter(|departing| departing.epoch == task.shard.epoch());
            task.shard.copy_slot().order(departing);
        }
        self.arrivals.apply(&assignment.arriving, &assignment.traces);
        self.desired = Some(DesiredShards { assignment, lease, gateway });
        self.publish();
    }

    fn start(
        &mut self,
        key: ShardKey,
        epoch: Epoch,
        start: ShardStart,
        lease: &LeaseWindow,
        gateway: &Arc<GatewaySettings>,
    ) {
        let cache = ShardCache::new(self.parts.cache);
        let state = Arc::new(ShardState::new(key, epoch, cache, self.parts.changed.clone()));
        let stop = CancellationToken::new();
        let ShardStart { arrival, caution, ran_before, trace } = start;
        state.begin_in(trace);
        let ShardParts { event_queues, singletons, runtime, .. } = &self.parts;
        let event_queue = event_queues.queue_for(&state, lease, caution);
        let callbacks = ShardCallbacks::new(
            state.clone(),
            event_queues.code.clone(),
            self.parts.callback_slots.clone(),
            lease.clone(),
        );
        let shard = RunningShard::new(state.clone(), event_queue.clone(), callbacks);
        let (singleton, may_stop) = singletons.of_shard(&state, lease, &stop);
        let abandoned = event_queue.abandoned_on_drop();
        let runner = Runner::new(RunnerParts {
            shard: state,
            settings: gateway.clone(),
            lease: lease.clone(),
            identify: self.parts.identify.clone(),
            metrics: self.parts.metrics.clone(),
            checkpoints: self.parts.checkpoints.clone(),
            event_queue,
            commands: shard.commands().clone(),
            copy_slot: shard.copy_slot().clone(),
            resources: self.parts.cache.resources.checkpointed(),
            ran_before,
            dialing: self.dialing.entry(key).or_default().clone(),
            stop: may_stop,
        });
        let task = runtime.spawn(async move {
            // Runs also if the task is aborted, or never polled.
            let _abandoned = abandoned;
            Box::pin(runner.run(arrival)).await;
        });
        self.departed.remove(&key);
        self.tasks.insert(key, ShardTask { shard, stop, task, singleton, stuck_since: None });
    }

    /// Stops shards: each closes its socket at once, and then writes its last checkpoint. The shard that holds the bot's singleton
    /// runs on until the singleton has ended.
    fn close(&mut self, keys: &[ShardKey], traces: &BTreeMap<ShardKey, String>) {
        for key in keys {
            let Some(task) = self.tasks.remove(key) else { continue };
            let ShardTask { shard, stop, mut task, singleton, .. } = task;
            stop.cancel();
            self.closing.insert(*key, shard.clone());
            let key = *key;
            let patience = STOP + singleton.as_ref().map_or(Duration::ZERO, Singleton::patience);
            let released = traces.get(&key).and_then(|trace| {
                let span = TimedSpan::continuing(trace, "release_shard", SpanKind::Internal)?;
                span.set("shard.id", i64::from(key.slot().0));
                Some(span)
            });
            self.ends.spawn(async move {
                let _released = released;
                if tokio::time::timeout(patience, &mut task).await.is_err() {
                    tracing::error!(shard.id = %key, "shard did not stop in time; aborting its task");
                    abort(&shard, task).await;
                }
                if let Some(singleton) = singleton {
                    singleton.ended().await;
                }
                key
            });
        }
    }

    /// Waits until a stopped shard has ended, and starts what waited for that. For ever when none is
    /// stopping. Nothing is lost when the future is dropped.
    pub(crate) async fn one_closed(&mut self) {
        match self.ends.join_next().await {
            Some(Ok(key)) => {
                if let Some(shard) = self.closing.remove(&key) {
                    shard.detach_queue();
                    self.depart(shard);
                }
                self.reconcile();
                self.publish();
            }
            // A task that waits for another does not panic, and is not aborted.
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    /// A shard that was handed over whole answers on for a while.
    fn depart(&mut self, shard: Arc<RunningShard>) {
        if shard.status() == ShardStatus::Moving {
            self.departed.insert(shard.key(), (shard, BootTime::now()));
        }
    }

    /// Closes all shards. Each socket is closed, and each task gone, when this returns.
    pub(crate) async fn stop_all(&mut self) {
        self.desired = None;
        self.arrivals.clear();
        let all: Vec<ShardKey> = self.tasks.keys().copied().collect();
        self.close(&all, &BTreeMap::new());
        while !self.closing.is_empty() {
            self.one_closed().await;
        }
        // Nothing is handed off here: the next owners answer for these shards.
        self.departed.clear();
        self.given_up.clear();
        self.publish();
    }

    /// Ends the tasks that have not gone round for longer than `limit`, or that have ended by themselves, and names them:
    /// the coordinator will place them again. A task is given a second look first, as the whole process may have slept.
    pub(crate) fn give_up_stuck(&mut self, limit: Duration, now: BootTime) {
        let before = self.tasks.len();
        let (given_up, dialing) = (&mut self.given_up, &self.dialing);
        self.tasks.retain(|&key, task| {
            let stuck = task.shard.stuck_for(now) > limit;
            let dead = task.task.is_finished();
            let stuck_since = *task.stuck_since.get_or_insert(now);
            if dead || stuck && now.since(stuck_since) >= SECOND_LOOK {
                // Another worker's may begin as soon as the shard is given up.
                if task.singleton.as_mut().is_some_and(|singleton| !singleton.cancel_and_check(now)) {
                    return true;
                }
                tracing::error!(shard.id = %key, dead, "shard task hangs or has ended; giving the shard up");
                task.shard.detach_queue();
                task.task.abort();
                if let Some(dialing) = dialing.get(&key) {
                    dialing.failed(rand::random());
                }
                given_up.insert(key, task.shard.epoch());
                return false;
            }
            if !stuck {
                task.stuck_since = None;
            }
            true
        });
        if self.tasks.len() < before {
            self.publish();
        }
    }

    /// What was given up, to be named in reports until the assignment is without it: it does not begin again under that epoch.
    pub(crate) fn given_up(&self) -> &BTreeMap<ShardKey, Epoch> {
        &self.given_up
    }

    fn publish(&self) {
        let running = self.shards().map(|shard| (shard.key(), shard.clone())).collect();
        self.published.publish(running, self.departed.clone());
    }
}

#[cfg(test)]
mod tests;

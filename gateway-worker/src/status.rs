//! How the worker stands with the rest of the fleet: published by the link, read by health and metrics.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use discord_rest::RestStatus;
use event_bus::BusStatus;
use fleet_model::{Problem, ProblemClock, ProblemCode, ShardStatus, WorkerId};
use process::{
    credentials::{ClientFacingCertificate, Credentials},
    telemetry::{
        health::{HealthSource, Verdict, problems_json},
        problems::ProblemMetrics,
    },
};
use relay::RelayStatus;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    checkpoints::SignedHeads,
    clock::{BootTime, unix_ms},
    lease::LeaseWindow,
    shards::RunningShards,
};

mod collector;

pub(crate) use collector::{WorkerCollector, resident_bytes};

/// The same advice in every process.
const DESCRIPTORS_EXHAUSTED: &str =
    "no file descriptors left: raise the limit of open files (ulimit -n, LimitNOFILE)";

/// What the link knows.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    /// The heartbeat stream is open, or why not.
    pub coordinator: Result<(), String>,
    /// The store renews the lease, or why not.
    pub store: Result<(), String>,
    /// The lease of this incarnation; `None` before the first registration.
    pub lease: Option<LeaseWindow>,
    /// How many shards are assigned.
    pub assigned: usize,
}

impl Default for LinkStatus {
    fn default() -> Self {
        Self { coordinator: Err("not registered yet".to_owned()), store: Ok(()), lease: None, assigned: 0 }
    }
}

impl LinkStatus {
    /// The lease is known to hold.
    pub fn lease_holds(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_open(BootTime::now()))
    }
}

/// The worker's health.
pub(crate) struct WorkerHealth {
    pub(crate) worker: WorkerId,
    pub(crate) link: watch::Receiver<LinkStatus>,
    pub(crate) shards: RunningShards,
    pub(crate) bus: watch::Receiver<BusStatus>,
    pub(crate) relay: Option<RelayStatus>,
    pub(crate) heads: SignedHeads,
    pub(crate) rest: RestStatus,
    /// Where its REST proxy listens.
    pub(crate) rest_address: SocketAddr,
    /// Shows the problems to Prometheus.
    pub(crate) metrics: ProblemMetrics,
    /// When each problem began.
    pub(crate) clock: Mutex<ProblemClock>,
    pub(crate) credentials: Credentials,
    pub(crate) client_facing: ClientFacingCertificate,
    /// What is wrong with the gateway for bots, by its settings.
    pub(crate) gateway: Option<Problem>,
}

impl WorkerHealth {
    fn ready_shards(&self) -> usize {
        self.shards.all().iter().filter(|shard| shard.status() == ShardStatus::Ready).count()
    }

    /// Returns the current problems with their start times. Must be called at least once a second.
    pub(crate) fn observe(&self) -> Vec<Problem> {
        let problems = self.problems(&self.link.borrow().clone());
        let problems = self.clock.lock().unwrap_or_else(PoisonError::into_inner).observe(problems, unix_ms());
        self.metrics.set(&problems);
        problems
    }

    fn problems(&self, link: &LinkStatus) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Err(why) = &link.coordinator {
            problems.push(Problem::new(ProblemCode::CoordinatorAway, format!("coordinator: {why}")));
        }
        if let Err(why) = &link.store {
            problems.push(Problem::new(ProblemCode::LeaseNotRenewed, format!("lease: {why}")));
        }
        if let BusStatus::Away(why) = &*self.bus.borrow() {
            problems.push(Problem::new(ProblemCode::BroadcastsAway, format!("broadcasts: {why}")));
        }
        if let Some(why) = self.relay.as_ref().and_then(RelayStatus::problem) {
            problems.push(Problem::new(ProblemCode::RelayAway, format!("relay: {why}")));
        }
        if !link.lease_holds() {
            problems.push(Problem::new(
                ProblemCode::LeaseNotHeld,
                "the lease is not known to hold: no shard runs",
            ));
        }
        for shard in self.shards.all() {
            problems.extend(Problem::of_report(&shard.report()));
            if let Some(why) = shard.checkpoint_trouble() {
                problems.push(Problem::of_shard(
                    ProblemCode::CheckpointFailing,
                    shard.key().slot(),
                    format!("checkpoint not written: {why}"),
                ));
            }
        }
        if process::server::descriptors_exhausted() {
            problems.push(Problem::new(ProblemCode::DescriptorsExhausted, DESCRIPTORS_EXHAUSTED));
        }
        problems.extend(self.heads.problem(unix_ms()));
        problems.extend(self.rest.problems());
        problems.extend(self.credentials.problems());
        problems.extend(self.client_facing.problems());
        problems.extend(self.gateway.clone());
        problems
    }
}

impl HealthSource for WorkerHealth {
    fn health(&self) -> (Verdict, Value) {
        let link = self.link.borrow().clone();
        let problems = self.observe();
        let verdict = if !link.lease_holds() {
            Verdict::Unhealthy
        } else if problems.iter().any(Problem::degrades) {
            Verdict::Degraded
        } else {
            Verdict::Healthy
        };
        let shards: Vec<Value> = self
            .shards
            .all()
            .iter()
            .map(|shard| {
                let report = shard.report();
                json!({
                    "id": report.shard,
                    "status": report.status.as_str(),
                    "guilds": report.guilds,
                    "latencyMs": report.latency_ms,
                })
            })
            .collect();
        let body = json!({
            "status": verdict.as_str(),
            "worker": self.worker,
            "shards": shards,
            "rest": self.rest_address,
            "problems": problems_json(&problems),
        });
        (verdict, body)
    }

    /// Ready: registered, and every assigned shard is. With none assigned the worker stands by, and says so.
    fn ready(&self) -> (bool, Value) {
        let link = self.link.borrow().clone();
        let ready_shards = self.ready_shards();
        let ready = link.lease_holds() && ready_shards == link.assigned;
        let role = if link.assigned == 0 { "standby" } else { "serving" };
        let body = json!({
            "ready": ready,
            "role": role,
            "shardsAssigned": link.assigned,
            "shardsReady": ready_shards,
        });
        (ready, body)
    }
}

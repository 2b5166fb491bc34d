//! The fleet for operators: what it is out of the newest snapshot; what was set aside by [`set_aside`](super::set_aside).

use std::{pin::Pin, sync::Arc};

use altergolden_proto::{
    convert::{Bounded, Malformed, page, refusal},
    v1::{self, fleet_server::Fleet},
};
use checkpoint::SetAsideStore;
use fleet_model::{ErrorClass, Generation, ShardRange, WorkerId};
use process::credentials::{Caller, Credentials};
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};

use super::{
    history, plans,
    set_aside::SetAsides,
    tap::{self, FleetTaps},
};
use crate::{
    handle::FleetHandle,
    history::History,
    snapshot::{PublishedSnapshot, Role, Snapshot},
};
use fleet::{ShardView, WorkerView};

/// Serves operators.
#[derive(Clone)]
pub(crate) struct FleetService {
    published: PublishedSnapshot,
    fleet: FleetHandle,
    set_asides: SetAsides,
    history: History,
    taps: FleetTaps,
}

impl FleetService {
    pub(crate) fn new(
        published: PublishedSnapshot,
        fleet: FleetHandle,
        set_aside: Arc<dyn SetAsideStore>,
        history: History,
        credentials: Credentials,
    ) -> Self {
        let taps = FleetTaps::new(published.clone(), credentials.clone());
        Self { published, fleet, set_asides: SetAsides::new(set_aside, credentials), history, taps }
    }
}

#[tonic::async_trait]
impl Fleet for FleetService {
    async fn list_shards(
        &self,
        request: Request<v1::ListShardsRequest>,
    ) -> Result<Response<v1::ListShardsResponse>, Status> {
        request.get_ref().check_bounds()?;
        let v1::ListShardsRequest { worker_id: worker, page_size, page_token } = request.into_inner();
        let worker: Option<WorkerId> =
            (!worker.is_empty()).then(|| worker.parse()).transpose().map_err(Malformed::from)?;
        let snapshot = self.published.snapshot.borrow().clone();
        if let Some(unknown) = worker.as_ref().filter(|worker| !snapshot.fleet.workers.contains_key(worker)) {
            return Err(refusal(ErrorClass::NotFound, format!("no worker is called {unknown}")));
        }
        let mut shards = shards(&snapshot);
        shards.retain(|shard| worker.as_ref().is_none_or(|worker| shard.worker_id == worker.as_str()));
        let (shards, next_page_token) = page(shards, page_size, &page_token, |shard| shard.shard_id)?;
        Ok(Response::new(v1::ListShardsResponse { shards, next_page_token }))
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        request.get_ref().check_bounds()?;
        let v1::ListWorkersRequest { page_size, page_token } = request.into_inner();
        let snapshot = self.published.snapshot.borrow().clone();
        let (workers, next_page_token) =
            page(workers(&snapshot), page_size, &page_token, |worker| worker.worker_id.clone())?;
        Ok(Response::new(v1::ListWorkersResponse { workers, next_page_token }))
    }

    async fn start_plan(&self, request: Request<v1::StartPlanRequest>) -> Result<Response<v1::Plan>, Status> {
        request.get_ref().check_bounds()?;
        let peer = Some(Caller::of(&request));
        let request = request.into_inner();
        let dry_run = request.dry_run;
        let plan = self.fleet.start_plan(plans::kind(request)?, dry_run, peer).await?;
        Ok(Response::new(plans::message(&plan)))
    }

    async fn abort_plan(&self, request: Request<v1::AbortPlanRequest>) -> Result<Response<v1::Plan>, Status> {
        Ok(Response::new(plans::message(&self.fleet.abort_plan(Some(Caller::of(&request))).await?)))
    }

    async fn list_history(
        &self,
        request: Request<v1::ListHistoryRequest>,
    ) -> Result<Response<v1::ListHistoryResponse>, Status> {
        history::list(&self.history, request.into_inner()).await.map(Response::new)
    }

    async fn list_set_aside(
        &self,
        _: Request<v1::ListSetAsideRequest>,
    ) -> Result<Response<v1::ListSetAsideResponse>, Status> {
        let snapshot = self.published.snapshot.borrow().clone();
        self.set_asides.list(&snapshot).await.map(Response::new)
    }

    async fn get_set_aside(&self, id: Request<v1::SetAsideId>) -> Result<Response<v1::SetAside>, Status> {
        id.get_ref().check_bounds()?;
        self.set_asides.get(id.into_inner()).await.map(Response::new)
    }

    async fn drop_set_aside(
        &self,
        id: Request<v1::SetAsideId>,
    ) -> Result<Response<v1::DropSetAsideResponse>, Status> {
        id.get_ref().check_bounds()?;
        let (peer, id) = (Some(Caller::of(&id)), id.into_inner());
        let dropped = self.set_asides.forget(id).await?;
        let term = self.published.snapshot.borrow().fleet.term;
        history::record_set_aside(&self.history, term, "dropped event", id, peer);
        Ok(Response::new(dropped))
    }

    async fn replay_set_aside(
        &self,
        id: Request<v1::SetAsideId>,
    ) -> Result<Response<v1::ReplaySetAsideResult>, Status> {
        id.get_ref().check_bounds()?;
        let (peer, id) = (Some(Caller::of(&id)), id.into_inner());
        let snapshot = self.published.snapshot.borrow().clone();
        let result = self.set_asides.replay(id, &snapshot).await?;
        let done = format!("replayed on {} event", result.worker_id);
        history::record_set_aside(&self.history, snapshot.fleet.term, &done, id, peer);
        Ok(Response::new(result))
    }

    type TapStream = tap::TapStream;

    async fn tap(&self, request: Request<v1::TapRequest>) -> Result<Response<Self::TapStream>, Status> {
        let (peer, request) = (Some(Caller::of(&request)), request.into_inner());
        let content = request.content;
        let stream = self.taps.open(request)?;
        if content {
            let term = self.published.snapshot.borrow().fleet.term;
            history::record_tap(&self.history, term, peer);
        }
        Ok(Response::new(stream))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::FleetStatus, Status>> + Send>>;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let stream = WatchStream::new(self.published.snapshot.clone()).map(|snapshot| Ok(status(&snapshot)));
        Ok(Response::new(Box::pin(stream)))
    }
}

fn status(snapshot: &Snapshot) -> v1::FleetStatus {
    let identify = snapshot.identify;
    v1::FleetStatus {
        acting: snapshot.role == Role::Acting,
        term: snapshot.fleet.term.0,
        shard_total: snapshot.fleet.shard_total,
        shards: shards(snapshot),
        workers: workers(snapshot),
        identify_budget: Some(v1::IdentifyBudget {
            total: identify.total,
            remaining: identify.remaining,
            reserve: identify.reserve,
            resets_in_ms: identify.resets_in.as_millis() as u64,
            waiting: identify.waiting,
            max_concurrency: identify.max_concurrency,
            last_turn_in_ms: identify.last_turn_in.map(|left| left.as_millis() as u64),
        }),
        problems: snapshot.fleet.problems.iter().map(ToString::to_string).collect(),
        problem_details: snapshot.fleet.problems.iter().map(v1::Problem::from).collect(),
        plan: snapshot.fleet.plan.as_ref().map(plans::message),
        active_generation: name(snapshot.fleet.active_generation.as_ref()),
    }
}

fn name(generation: Option<&Generation>) -> String {
    generation.map(ToString::to_string).unwrap_or_default()
}

fn shards(snapshot: &Snapshot) -> Vec<v1::Shard> {
    snapshot.fleet.shards.iter().map(|shard| shard_message(shard, snapshot)).collect()
}

pub(super) fn shard_message(shard: &ShardView, snapshot: &Snapshot) -> v1::Shard {
    let report = &shard.report;
    let (worker_id, epoch) = match &shard.owner {
        Some((worker, epoch)) => (worker.to_string(), epoch.0),
        None => (String::new(), 0),
    };
    v1::Shard {
        shard_id: shard.key.slot().0,
        worker_id,
        epoch,
        status: v1::ShardStatus::from(report.status).into(),
        guilds: report.guilds,
        latency_ms: report.latency_ms,
        sequence: report.sequence,
        uptime_seconds: report.uptime_seconds,
        age_ms: shard.reported_at.map(|at| snapshot.age(at).as_millis() as u64),
        detail: report.detail.clone(),
        outcome: report.outcome.clone().map(Into::into),
        since_unix_ms: shard.since_unix_ms,
    }
}

fn workers(snapshot: &Snapshot) -> Vec<v1::Worker> {
    snapshot.fleet.workers.iter().map(|(name, worker)| worker_message(name, worker, snapshot)).collect()
}

pub(super) fn worker_message(name: &WorkerId, worker: &WorkerView, snapshot: &Snapshot) -> v1::Worker {
    v1::Worker {
        worker_id: name.to_string(),
        incarnation: worker.incarnation.to_string(),
        url: worker.url.clone(),
        version: worker.version.clone(),
        shards: ShardRange::pack(&worker.shards).into_iter().map(Into::into).collect(),
        capacity: worker.capacity.unwrap_or(0),
        rss_bytes: worker.rss_bytes,
        connected: worker.connected,
        draining: worker.draining,
        last_heard_ms: snapshot.age(worker.last_heard).as_millis() as u64,
        generation: self::name(worker.generation.as_ref()),
    }
}

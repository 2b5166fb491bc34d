//! What operators do to the fleet: workers that are told to go, and plans.

use std::time::Duration;

use altergolden_proto::v1::{self, PlanState, start_plan_request::Plan as Wish};
use fleet_fixture::{Process, Signal};
use tokio::time::timeout;

use super::{Fleet, STOP, ended, name_in};

/// How long a plan may take.
const PLAN: Duration = Duration::from_mins(1);

impl Fleet {
    /// SIGTERM to a worker; it must give its shards away and end well.
    ///
    /// # Errors
    /// It did not end well.
    pub async fn drain_worker(&mut self, number: usize) -> Result<(), String> {
        let name = self.seats[number].name();
        match self.seats[number].process.take() {
            Some(process) => {
                process.signal(Signal::TERM);
                ended(process, &name).await
            }
            None => Ok(()),
        }
    }

    /// A worker that was told to go by the coordinator must end well by itself.
    ///
    /// # Errors
    /// It did not.
    pub async fn worker_ends(&mut self, number: usize) -> Result<(), String> {
        let name = self.seats[number].name();
        match self.seats[number].process.take() {
            Some(process) => ended(process, &name).await,
            None => Ok(()),
        }
    }

    /// SIGTERM to the coordinator, which must end well; then the next one is started.
    ///
    /// # Errors
    /// It did not end well.
    pub async fn restart_coordinator(&mut self) -> Result<(), String> {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.process.signal(Signal::TERM);
            ended(coordinator.process, "the coordinator").await?;
        }
        self.start_coordinator().await;
        Ok(())
    }

    /// The name of a worker.
    pub fn worker_name(&self, number: usize) -> String {
        self.seats[number].name()
    }

    /// Starts a plan.
    ///
    /// # Errors
    /// It was refused, and why.
    pub async fn start_plan(&self, wish: Wish) -> Result<v1::Plan, String> {
        let mut client = self.coordinator().client().await;
        client.start_plan(wish, false).await.map_err(|error| error.to_string())
    }

    /// Waits until the last plan is over.
    ///
    /// # Panics
    /// It is not over for a minute.
    pub async fn plan_is_over(&self) -> v1::Plan {
        let over = |plan: &v1::Plan| {
            matches!(plan.state(), PlanState::Done | PlanState::RolledBack | PlanState::Aborted)
        };
        let is = |status: &v1::FleetStatus| status.acting && status.plan.as_ref().is_some_and(over);
        let status = timeout(PLAN, self.coordinator().until("the plan to be over", is)).await;
        status.ok().and_then(|status| status.plan).expect("a plan comes to its end within a minute")
    }

    /// Starts the workers of the next generation beside those that run, and waits until they have registered.
    pub async fn start_successors(&mut self) -> String {
        for number in 0..self.seats.len() {
            let next = self.seats[number].generation + 1;
            self.seats[number].successor = Some(self.worker_process(number, next));
        }
        let names: Vec<String> =
            self.seats.iter().map(|seat| name_in(&seat.base, seat.generation + 1)).collect();
        let there = |status: &v1::FleetStatus| {
            let is = |name: &String| {
                status.workers.iter().any(|worker| worker.worker_id == *name && worker.connected)
            };
            status.acting && names.iter().all(is)
        };
        self.coordinator().until("the next generation to register", there).await;
        format!("g{}", self.seats[0].generation + 1)
    }

    /// SIGKILL of a worker of the next generation.
    pub async fn kill_successor(&mut self, number: usize) {
        if let Some(mut process) = self.seats[number].successor.take() {
            process.kill().await;
        }
    }

    /// The plan to promote the next generation is over: the workers that it left out must end well, by themselves when the
    /// next generation was promoted, told to when it was not.
    ///
    /// # Errors
    /// One did not end well.
    pub async fn settle_generations(&mut self, promoted: bool) -> Result<(), String> {
        for number in 0..self.seats.len() {
            let seat = &mut self.seats[number];
            let (old, new) = (seat.name(), name_in(&seat.base, seat.generation + 1));
            if promoted {
                seat.generation += 1;
                let left = std::mem::replace(&mut seat.process, seat.successor.take());
                end(left, &old, false).await?;
            } else {
                let left = seat.successor.take();
                end(left, &new, true).await?;
            }
        }
        Ok(())
    }

    /// Starts a next generation, promotes it, and waits until it has taken over.
    ///
    /// # Errors
    /// It was refused or taken back, or a worker did not end well.
    pub async fn deploy(&mut self) -> Result<(), String> {
        let generation = self.start_successors().await;
        self.start_plan(Wish::Promote(v1::Promote { generation })).await?;
        let plan = self.plan_is_over().await;
        let promoted = plan.state() == PlanState::Done;
        self.settle_generations(promoted).await?;
        if promoted { Ok(()) } else { Err(format!("the deployment was taken back: {}", plan.reason)) }
    }
}

async fn end(process: Option<Process>, name: &str, told: bool) -> Result<(), String> {
    let Some(process) = process else { return Ok(()) };
    if told {
        process.signal(Signal::TERM);
    }
    match timeout(STOP, ended(process, name)).await {
        Ok(ended) => ended,
        Err(_) => Err(format!("{name} did not end within {STOP:?}")),
    }
}

//! A fleet with a Prometheus beside it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use discord_sim::{Fault, SimConfig};
use fleet_fixture::{Coordinator, Deployment, Worker, all_ready, sim_config, until};

use super::super::prometheus::{FASTER, Prometheus};

/// Redis, discord-sim, a coordinator, workers, and the Prometheus that scrapes them.
pub(super) struct Scene {
    pub(super) deployment: Deployment,
    pub(super) coordinator: Coordinator,
    pub(super) workers: Vec<Worker>,
    pub(super) prometheus: Prometheus,
    shards: u32,
    began: Instant,
    /// When Prometheus had found the coordinator: its discovery looks at new targets every 5 s.
    since: Instant,
}

impl Scene {
    /// A coordinator for this many shards, and no worker.
    pub(super) async fn start(shards: u32) -> Self {
        Self::with(sim_config(40), shards).await
    }

    pub(super) async fn with(sim: SimConfig, shards: u32) -> Self {
        let began = Instant::now();
        let deployment = Deployment::start(sim).await;
        let coordinator = deployment.coordinator(shards).await;
        let prometheus = Prometheus::start(&[("coordinator", &coordinator.health)]).await;
        until("Prometheus to find the coordinator", async || {
            let acting = prometheus.ask("altergolden_fleet_term > 0").await;
            (!acting.is_empty() && prometheus.firing().await.is_empty()).then_some(())
        })
        .await;
        let since = Instant::now();
        Self { deployment, coordinator, workers: Vec::new(), prometheus, shards, began, since }
    }

    /// Starts a worker with these settings, and lets Prometheus scrape it.
    pub(super) async fn start_worker(&mut self, name: &str, settings: &[(&str, &str)]) -> &Worker {
        self.start_program("gateway-worker", name, settings).await
    }

    /// The same for a worker with bot code.
    pub(super) async fn start_program(
        &mut self,
        program: &str,
        name: &str,
        settings: &[(&str, &str)],
    ) -> &Worker {
        let mut command = self.deployment.bot_command(program, name, &self.coordinator.address);
        command.envs(settings.iter().copied());
        let worker = Worker::start(name, &mut command).await;
        self.prometheus.watch("gateway-worker", &worker.health);
        self.workers.push(worker);
        self.workers.last().unwrap()
    }

    pub(super) fn worker(&mut self, name: &str) -> &mut Worker {
        self.workers.iter_mut().find(|worker| worker.name == name).unwrap()
    }

    /// Lets Prometheus forget a worker, as a discovery does.
    pub(super) fn forget(&mut self, name: &str) {
        let at = self.workers.iter().position(|worker| worker.name == name).unwrap();
        let worker = self.workers.remove(at);
        self.prometheus.forget(&worker.health);
    }

    /// Waits until the workers have ended by themselves, and forgets them.
    pub(super) async fn workers_leave(&mut self, names: &[&str]) {
        for name in names {
            assert_eq!(self.worker(name).process.ended().await.code(), Some(0), "{name}");
            self.forget(name);
        }
    }

    pub(super) async fn until_ready(&self) {
        self.coordinator.until("all shards to be ready", all_ready).await;
    }

    /// Waits until Prometheus scrapes every worker: its discovery takes up to 5 s.
    pub(super) async fn until_scraped(&self) {
        let all = self.workers.len() as f64;
        until("all workers to be scraped", async || {
            let scraped = self.prometheus.ask("count(up{job=\"gateway-worker\"} == 1)").await.pop();
            scraped.filter(|(_, count)| *count >= all)
        })
        .await;
    }

    /// Waits until this many workers have registered.
    pub(super) async fn until_workers(&self, count: usize) {
        self.coordinator.until(&format!("{count} workers"), |status| status.workers.len() == count).await;
    }

    pub(super) fn inject(&self, fault: Fault) {
        self.deployment.sim.control().inject(fault).unwrap();
    }

    /// The command of a coordinator at the address that the workers know.
    fn coordinator_command(&self, settings: &[(&str, &str)]) -> Command {
        let mut command = self.deployment.coordinator_command(self.shards);
        let listen = self.coordinator.socket().to_string();
        command.env("COORDINATOR_LISTEN", listen).envs(settings.iter().copied());
        command
    }

    /// Ends the coordinator if it runs, and starts another one with these settings in its place.
    pub(super) async fn restart_coordinator(&mut self, settings: &[(&str, &str)]) {
        if self.coordinator.process.status().is_none() {
            assert_eq!(self.coordinator.process.stop().await, 0);
        }
        let before = self.coordinator.health.clone();
        self.coordinator = Coordinator::start(&mut self.coordinator_command(settings)).await;
        self.prometheus.watch("coordinator", &self.coordinator.health);
        self.prometheus.forget(&before);
    }

    /// Waits until the alert fires, and checks that its annotations are whole.
    pub(super) async fn fires(&self, alert: &str) {
        let (took, firing) = self.prometheus.until_fires(alert).await;
        self.say(alert, "fires", took);
        let annotations = &firing["annotations"];
        for key in ["summary", "description"] {
            let text = annotations[key].as_str().unwrap_or_default();
            // A template that failed says so in the text.
            assert!(
                !text.is_empty() && !text.contains("<error") && !text.contains("NaN"),
                "{alert}: {firing}"
            );
        }
        assert_eq!(annotations["runbook_url"], format!("docs/operations.md#{}", alert.to_lowercase()));
    }

    pub(super) async fn clears(&self, alert: &str) {
        let took = self.prometheus.until_clears(alert).await;
        self.say(alert, "cleared", took);
    }

    /// For people who read the output of a run.
    #[allow(clippy::print_stderr, reason = "`.ci/night alerts` shows how long each alert takes")]
    fn say(&self, alert: &str, done: &str, took: Duration) {
        let at = self.began.elapsed().as_secs_f64();
        eprintln!("{alert} {done} {at:.1} s into the run, awaited for {:.1} s", took.as_secs_f64());
    }

    /// Waits until rules take counters that were not there ten minutes ago as growth: Prometheus itself must be older.
    pub(super) async fn until_first_counts_are_growth(&self) {
        let query = format!("count(up offset {}s)", 600 / FASTER);
        until("Prometheus to be ten minutes old", async || self.prometheus.ask(&query).await.pop()).await;
    }

    /// No alert has fired, and none does while the longest wait of a page passes.
    pub(super) async fn assert_quiet(&self) {
        // 4 s are two minutes of the rules, and some samples.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let fired = self.prometheus.fired(self.since).await;
        assert!(fired.is_empty(), "{fired:?} fired: {:#?}", self.prometheus.firing().await);
        let samples = self.prometheus.ask("count_over_time(altergolden_fleet_term[1h])").await;
        assert!(samples.iter().any(|(_, count)| *count > 10.0), "Prometheus scraped too little: {samples:?}");
    }
}

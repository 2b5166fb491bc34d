//! Unmodified Discord libraries as clients.

use std::{fs, path::Path, process::Command};

use base64::Engine as _;
use discord_sim::SimConfig;
use fleet_fixture::{Coordinator, Deployment, Process, Worker, command, http, sim_config};
use serde_json::Value;
use tempfile::TempDir;

/// The libraries that judge the simulator judge a fleet too.
const JUDGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../discord-sim/judges");

/// A fleet of two shards, as the judges expect, whose workers share the gateway's port.
struct JudgedFleet {
    deployment: Deployment,
    _coordinator: Coordinator,
    workers: Vec<Worker>,
    token: String,
    gateway: String,
    /// The REST proxy of the second worker.
    api: String,
    /// The certificate of the ports for bots, and the CA's beside it.
    certificates: Option<TempDir>,
}

impl JudgedFleet {
    async fn start() -> Self {
        Self::with(None).await
    }

    /// A fleet whose ports for bots take TLS.
    async fn over_tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = |words: &[&str]| {
            let output = command("altergolden").arg("credentials").args(words).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        let dir = folder.path().to_str().unwrap();
        run(&["init", dir]);
        run(&["issue", "client-facing", "bots", "--host", "127.0.0.1", "--dir", dir]);
        Self::with(Some(folder)).await
    }

    async fn with(certificates: Option<TempDir>) -> Self {
        let config =
            SimConfig { shards: Some(2), events_per_second: 0.0, rest_limit_speed: 1.0, ..sim_config(40) };
        let deployment = Deployment::start(config).await;
        // hikari reads the bot's id from the token, as it is in Discord's: its part before the point is the id in base64.
        let bot = deployment.sim.control().bot_id().to_string();
        let token = format!("{}.judge", base64::engine::general_purpose::STANDARD.encode(bot));
        let mut command = deployment.coordinator_command(2);
        let coordinator =
            Coordinator::start(command.env("RELAY", "redis").env("DISCORD_TOKEN", &token)).await;
        let (mut workers, mut gateway, mut api) = (Vec::new(), "127.0.0.1:0".to_owned(), String::new());
        for name in ["a", "b"] {
            let mut command = deployment.worker_command(name, &coordinator.address);
            command
                .env("RELAY", "redis")
                .env("DISCORD_TOKEN", &token)
                .env("INTENTS", "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT")
                .env("GATEWAY_LISTEN", &gateway);
            if let Some(folder) = &certificates {
                command.env("CLIENT_FACING_CERTIFICATE", folder.path().join("client-facing-bots.pem"));
            }
            let mut worker = Worker::start(name, &mut command).await;
            gateway = worker.process.logged("gateway for bots listening", "address").await;
            let health: Value = http::json(&format!("{}/health", worker.health)).await;
            let scheme = if certificates.is_some() { "https" } else { "http" };
            api = format!("{scheme}://{}/api", health["rest"].as_str().unwrap());
            workers.push(worker);
        }
        coordinator.until_balanced(&[&workers[0], &workers[1]]).await;
        Self {
            deployment,
            _coordinator: coordinator,
            workers,
            token,
            gateway: format!("{}://{gateway}", if certificates.is_some() { "wss" } else { "ws" }),
            api,
            certificates,
        }
    }

    /// Starts a judge: the program, its script and arguments.
    fn judge(&self, program: &str, script: &str, arguments: &[&str]) -> Process {
        let (wanted, present) = match program {
            "node" => ("node/package-lock.json", "node/node_modules/.installed"),
            _ => ("python/requirements.txt", "python/.venv/.installed"),
        };
        let read = |path: &str| fs::read(Path::new(JUDGES).join(path)).ok();
        assert!(
            read(present).is_some_and(|present| Some(present) == read(wanted)),
            "the judges' libraries do not match {wanted}: run services/discord-sim/judges/install"
        );
        let mut command = Command::new(if program == "node" {
            "node".to_owned()
        } else {
            format!("{JUDGES}/python/.venv/bin/python")
        });
        command
            .arg(format!("{JUDGES}/{script}"))
            .arg(self.deployment.sim.http_origin())
            .args(arguments)
            .env("BOT_API", &self.api)
            .env("BOT_TOKEN", &self.token)
            .env("BOT_GATEWAY", &self.gateway);
        if let Some(folder) = &self.certificates {
            command.env("NODE_EXTRA_CA_CERTS", folder.path().join("ca.pem"));
        }
        Process::start(script, &mut command)
    }

    async fn passes(&self, mut judge: Process) {
        judge.line("the judge's word", |line| line.contains("the judge passed").then_some(())).await;
        assert_eq!(judge.ended().await.code(), Some(0), "{}", judge.output());
        self.deployment.assert_lawful();
    }

    /// Kills the worker that most of the judge's connections are at, once the judge is ready for it.
    async fn kill_its_worker(&mut self, judge: &mut Process) {
        judge
            .line("the judge to be ready", |line| line.contains("ready to lose its worker").then_some(()))
            .await;
        let mut clients = Vec::new();
        for worker in &self.workers {
            let (_, metrics) = http::request(&format!("{}/metrics", worker.health), None).await.unwrap();
            let line = metrics.lines().find(|line| line.starts_with("altergolden_gateway_clients ")).unwrap();
            clients.push(line.rsplit(' ').next().unwrap().parse::<u32>().unwrap());
        }
        // The judge's REST calls go to the second one.
        if clients[0] == 0 {
            self.workers[1].process.kill().await;
        } else {
            self.workers[0].process.kill().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discordjs_logs_in_and_resumes_when_its_worker_is_killed() {
    // Judges compare with everything that the simulator recorded.
    let fleet = JudgedFleet::start().await;
    let login = fleet.judge("node", "node/discordjs/login.mjs", &[]);
    fleet.passes(login).await;
    for mut fleet in [JudgedFleet::start().await, JudgedFleet::over_tls().await] {
        let mut moved = fleet.judge("node", "node/discordjs/moved.mjs", &[]);
        fleet.kill_its_worker(&mut moved).await;
        fleet.passes(moved).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discordpy_answers_commands_and_resumes_when_its_worker_is_killed() {
    let fleet = JudgedFleet::start().await;
    for scenario in ["login", "commands"] {
        let judge = fleet.judge("python", "python/discordpy.py", &[scenario]);
        fleet.passes(judge).await;
    }
    let mut fleet = JudgedFleet::start().await;
    let mut moved = fleet.judge("python", "python/discordpy.py", &["moved"]);
    fleet.kill_its_worker(&mut moved).await;
    fleet.passes(moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hikari_has_its_guilds_and_resumes_when_its_worker_is_killed() {
    let fleet = JudgedFleet::start().await;
    let start = fleet.judge("python", "python/judge.py", &["start"]);
    fleet.passes(start).await;
    let mut fleet = JudgedFleet::start().await;
    let mut moved = fleet.judge("python", "python/judge.py", &["moved"]);
    fleet.kill_its_worker(&mut moved).await;
    fleet.passes(moved).await;
}

//! Bots in TypeScript and Python of a fleet with credentials: gRPC with a certificate and with a token, REST over TLS.

use std::process::Command;

use discord_sim::{Fault, InteractionState, NewInteraction, SimConfig};
use fleet_fixture::{Coordinator, Deployment, Process, Worker, command, http, sim_config, until};
use process::credentials::{Credentials, Enforcement};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::{node, python};

const SHARDS: u32 = 2;
const GUILDS: u32 = 20;
const PING_ANSWER: &str = "Serving 20 servers across 2 shards";

struct Fleet {
    deployment: Deployment,
    folder: TempDir,
    coordinator: Coordinator,
    worker: Worker,
    /// The worker's REST proxy, by the name in its certificate.
    rest: String,
}

impl Fleet {
    async fn start() -> Self {
        let config = SimConfig { events_per_second: 0.0, ..sim_config(GUILDS) };
        let deployment = Deployment::start(config).await;
        let folder = tempfile::tempdir().unwrap();
        credentials(&folder, &["init"]);
        credentials(&folder, &["issue", "client-facing", "rest", "--host", "localhost"]);
        let at = |file: &str| folder.path().join(file);

        let mut command = deployment.coordinator_command(SHARDS);
        let coordinator =
            Coordinator::start(command.env("RELAY", "redis").env("CREDENTIALS", folder.path())).await;
        let operator = at("operator.pem");
        let operator =
            Credentials::open(&operator, "altergolden".parse().unwrap(), Enforcement::Enforced).unwrap();
        let coordinator = coordinator.secured(operator);
        let address = coordinator.address.split_once("://").unwrap().1;
        let mut command = deployment.worker_command("worker-a", address);
        command.env("RELAY", "redis").env("CREDENTIALS", folder.path());
        command.env("CLIENT_FACING_CERTIFICATE", at("client-facing-rest.pem"));
        let worker = Worker::start("worker-a", &mut command).await;
        coordinator.until_balanced(&[&worker]).await;
        let health: Value = http::json(&format!("{}/health", worker.health)).await;
        let (_, port) = health["rest"].as_str().unwrap().rsplit_once(':').unwrap();
        let rest = format!("https://localhost:{port}/api");
        Self { deployment, folder, coordinator, worker, rest }
    }

    /// Gives a program what it needs; `secret` proves its role.
    fn bot(&self, command: &mut Command, secret: &[(&str, &str)]) {
        let ca = self.path("ca.pem");
        command
            .env("REST_PROXY_URL", &self.rest)
            .env("DISCORD_TOKEN", "a-token-of-the-tests")
            .env("COORDINATOR_URL", &self.coordinator.address)
            .env("SSL_CERT_FILE", &ca)
            .env("NODE_EXTRA_CA_CERTS", ca)
            .envs(secret.iter().copied());
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).to_str().unwrap().to_owned()
    }

    /// A person uses /ping. Returns the answer.
    async fn ping(&self) -> String {
        let control = self.deployment.sim.control();
        let asked = NewInteraction { command: Some("ping".to_owned()), ..NewInteraction::default() };
        let id = control.inject(Fault::Interaction(asked)).unwrap().interaction_id.unwrap();
        let ended = until("an interaction to end", async || {
            let all = control.interactions();
            all.into_iter().find(|one| one.id == id && one.state != InteractionState::Pending)
        })
        .await;
        ended.content.unwrap_or_default()
    }
}

/// Runs `altergolden credentials COMMAND` on the folder.
fn credentials(folder: &TempDir, words: &[&str]) -> String {
    let mut run = command("altergolden");
    run.arg("credentials").args(words);
    match words[0] {
        "init" => run.arg(folder.path()),
        _ => run.arg("--dir").arg(folder.path()),
    };
    let output = run.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_and_python_run_with_a_certificate_or_a_token() {
    let fleet = Fleet::start().await;
    let token = credentials(&fleet.folder, &["token", "bot", "shop"]);
    let (bot, ca) = (fleet.path("bot.pem"), fleet.path("ca.pem"));
    let certificate = [("CREDENTIALS", bot.as_str())];
    let bearer = [("COORDINATOR_TOKEN", token.as_str()), ("COORDINATOR_CA", ca.as_str())];

    // The coordinator reads the list with the new token within five seconds.
    let answers = async |secret: &[(&str, &str)], url: &str| {
        let mut command = node("foreign-bots/node/ask.mjs");
        command.arg(url).arg("getAggregateStats");
        fleet.bot(&mut command, secret);
        let mut asked = Process::start("the TypeScript client", &mut command);
        asked.line("an answer", |line| serde_json::from_str::<Value>(line).ok()).await
    };
    until("the token to be known", async || {
        let answer = answers(&bearer, &fleet.coordinator.address).await;
        (answer["answer"]["totalGuilds"] == json!(GUILDS)).then_some(())
    })
    .await;
    let answer = answers(&certificate, &fleet.coordinator.address).await;
    assert_eq!(answer["answer"]["totalGuilds"], json!(GUILDS), "{answer}");
    // A worker is not the coordinator, whose name the client checks.
    let worker = fleet.worker.address.replacen("http:", "https:", 1);
    let refused = answers(&certificate, &worker).await;
    assert_eq!(refused["error"]["code"], "UNAVAILABLE", "{refused}");
    let wrong = [("COORDINATOR_TOKEN", "wrong"), ("COORDINATOR_CA", ca.as_str())];
    let refused = answers(&wrong, &fleet.coordinator.address).await;
    assert_eq!(refused["error"]["code"], "UNAUTHENTICATED", "{refused}");

    // The bot in discord.js has its events from Redis, the rest by gRPC and the REST proxy. It comes first: it takes what is in the
    // streams already, and would answer a recent command again.
    let mut command = node("discordjs-bot/dist/main.js");
    fleet.bot(&mut command, &certificate);
    command.env("REDIS_URL", fleet.deployment.redis.url()).env("CONSUMER", "bot-a");
    let mut discordjs = Process::start("the bot in discord.js", &mut command);
    discordjs.line("commands registered", |line| line.contains("commands registered").then_some(())).await;
    assert_eq!(fleet.ping().await, PING_ANSWER);
    assert_eq!(discordjs.stop().await, 0);

    // The bot in Python has its events and shards by gRPC, and answers by the REST proxy.
    for secret in [&certificate[..], &bearer] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = python("ping.py", folder.path());
        fleet.bot(&mut command, secret);
        let mut ping = Process::start("ping.py", &mut command);
        ping.line("listening", |line| line.contains("listening").then_some(())).await;
        assert_eq!(fleet.ping().await, PING_ANSWER);
        ping.kill().await;
    }
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_of_a_bot_are_one_line() {
    let settings = [
        (&[("COORDINATOR_URL", "https://127.0.0.1:1")][..], "COORDINATOR_URL"),
        (&[("COORDINATOR_TOKEN", "t")], "COORDINATOR_CA"),
        (&[("CREDENTIALS", "/nonexistent")], "CREDENTIALS"),
    ];
    for (setting, says) in settings {
        let mut command = node("discordjs-bot/dist/main.js");
        command.env("DISCORD_TOKEN", "t").envs(setting.iter().copied());
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.lines().count() == 1, "{says}: {text}");
        assert!(text.contains(says), "{says}: {text}");
    }
}

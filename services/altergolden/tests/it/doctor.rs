//! `altergolden doctor`, before the first start, beside a running fleet, and with each thing wrong that it looks for.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use altergolden_proto::v1;
use discord_sim::{Edit, Fault, Intents, RestAnswer, Sim, SimConfig};
use fleet_fixture::{Coordinator, Deployment, Worker, all_ready, command, http, is_ready, sim_config, until};
use process::credentials::{Credentials, Enforcement};
use serde_json::Value;
use tokio::net::TcpListener;

const TOKEN: &str = "MTIzNDU2Nzg5.Gabcde.a-token-of-the-doctors-tests";

/// The doctor's answer.
struct Answer {
    code: i32,
    json: Value,
    text: String,
}

impl Answer {
    /// The first line of a check: its result and its text.
    fn line(&self, check: &str) -> (&str, &str) {
        let line = self.lines(check).next();
        let line = line.unwrap_or_else(|| panic!("no line {check} in {}", self.text));
        (line["result"].as_str().unwrap(), line["text"].as_str().unwrap())
    }

    fn lines(&self, check: &str) -> impl Iterator<Item = &Value> {
        self.json["lines"].as_array().unwrap().iter().filter(move |line| line["check"] == check)
    }

    #[track_caller]
    fn expect(&self, check: &str, result: &str, part: &str) {
        let (found, text) = self.line(check);
        assert!(
            found == result && text.contains(part),
            "{check}: {found}: {text}; expected {result}: {part}"
        );
        if matches!(result, "warn" | "fail") {
            assert!(self.lines(check).next().unwrap()["remedy"] != "", "{check} has no remedy");
        }
    }
}

/// The doctor, without settings of this test run, and with ports that are free.
async fn doctor() -> Command {
    let mut command = command("altergolden");
    command.args(["doctor", "--json"]).env("DISCORD_TOKEN", TOKEN);
    // No fleet of this machine has its state there.
    command.env("XDG_STATE_HOME", "/nonexistent");
    for name in ["INTENTS", "IDENTIFY_RESERVE", "REST_LISTEN", "STATE_DIRECTORY"] {
        command.env_remove(name);
    }
    let mut held = Vec::new();
    for name in ["COORDINATOR_LISTEN", "MANAGER_HEALTH_PORT", "HEALTH_PORT"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let value = if name.ends_with("PORT") { address.port().to_string() } else { address.to_string() };
        command.env(name, value);
        held.push(listener);
    }
    command.env("COORDINATOR_URL", format!("http://{}", held[0].local_addr().unwrap()));
    command
}

/// The same command without `--json`.
fn for_people(command: &Command) -> Command {
    let mut plain = Command::new(command.get_program());
    plain.args(command.get_args().filter(|word| *word != "--json"));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => plain.env(name, value),
            None => plain.env_remove(name),
        };
    }
    plain
}

fn run(command: &mut Command) -> Answer {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        !format!("{text}{errors}").contains("a-token-of-the-doctors-tests"),
        "the token is shown: {text}{errors}"
    );
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"));
    Answer { code: output.status.code().unwrap(), json, text }
}

async fn rest_proxy(worker: &Worker) -> String {
    let (_, text) = http::request(&format!("{}/health", worker.health), None).await.unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["rest"].as_str().unwrap().to_owned()
}

async fn sim(config: SimConfig) -> (Sim, Command) {
    let sim = Sim::start(config).await.unwrap();
    let mut command = doctor().await;
    command.env("DISCORD_API_URL", sim.http_origin());
    (sim, command)
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_start_every_line_is_there() {
    let deployment = Deployment::start(SimConfig { guilds: 40, ..SimConfig::default() }).await;
    let mut command = doctor().await;
    command.env("DISCORD_API_URL", deployment.sim.http_origin()).env("REDIS_URL", deployment.redis.url());
    let answer = run(&mut command);
    assert_eq!(answer.code, 0, "{}", answer.text);
    answer.expect("token", "ok", "Discord accepts it");
    answer.expect("intents", "ok", "no privileged intent");
    answer.expect("shard_count", "ok", "1 shards for about 40 guilds");
    answer.expect("identify_budget", "ok", "1000 of 1000 IDENTIFYs are left, 100 of them in reserve");
    answer.expect("redis", "ok", "version");
    answer.expect("redis_policy", "ok", "noeviction");
    answer.expect("redis_role", "ok", "master");
    answer.expect("redis_persistence", "warn", "appendonly no");
    answer.expect("redis_latency", "ok", "median of 11 PINGs");
    answer.expect("clock_redis", "ok", "agrees");
    answer.expect("clock_discord", "ok", "agrees");
    answer.expect("open_files", "ok", "");
    answer.expect("versions", "skipped", "no coordinator answers");
    answer.expect("fleet", "skipped", "no fleet runs");
    answer.expect("fullest_shard", "skipped", "no coordinator answers");
    assert_eq!(answer.lines("port").filter(|line| line["result"] == "ok").count(), 3, "{}", answer.text);
    // No IDENTIFY was spent, and nothing was written.
    assert!(deployment.sim.control().identifies().items.is_empty());
    assert_eq!(deployment.redis.command::<u64>(&["DBSIZE"]).await, 0);

    // The same for people.
    let output = for_people(&command).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("ok       token") && text.contains("-> redis-cli CONFIG SET appendonly yes"),
        "{text}"
    );
    assert!(text.lines().last().unwrap().contains("0 failed, 0 could not be checked"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_fleet_it_asks_the_fleet() {
    let deployment = Deployment::start(sim_config(40)).await;
    let mut coordinator = deployment.coordinator(4).await;
    let (a, _b) = tokio::join!(deployment.worker("a", &coordinator), deployment.worker("b", &coordinator));
    coordinator.until("the fleet to be ready", all_ready).await;
    let mut command = doctor().await;
    command
        .env("DISCORD_API_URL", deployment.sim.http_origin())
        .env("REDIS_URL", deployment.redis.url())
        .env("COORDINATOR_URL", &coordinator.address)
        .env("COORDINATOR_LISTEN", coordinator.socket().to_string())
        .env("MANAGER_HEALTH_PORT", coordinator.health.rsplit(':').next().unwrap())
        .env("HEALTH_PORT", a.health.rsplit(':').next().unwrap())
        .env("WORKER_LISTEN", a.socket().to_string())
        .env("REST_LISTEN", rest_proxy(&a).await);
    let answer = run(&mut command);
    answer.expect("fleet", "ok", "4 of 4 shards ready on 2 workers");
    answer.expect("versions", "ok", "on 2 workers; this program is");
    answer.expect("fullest_shard", "ok", "the limit is 2500");
    answer.expect("shard_count", "ok", "the fleet runs 4 shards");
    let held: Vec<_> = answer.lines("port").collect();
    assert_eq!(held.len(), 5, "{}", answer.text);
    for line in held {
        assert!(
            line["text"].as_str().unwrap().contains("held by a running process of this platform"),
            "{line}"
        );
    }
    assert_eq!(answer.code, 0, "{}", answer.text);

    // The same fleet without its coordinator.
    coordinator.process.kill().await;
    let answer = run(&mut command);
    answer.expect("fleet", "fail", "but 2 workers hold leases in Redis");
    assert_eq!(answer.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_of_the_fleet_are_lines() {
    let deployment = Deployment::start(sim_config(8)).await;
    let coordinator = deployment.coordinator(2).await;
    let mut small = deployment.worker_command("small", &coordinator.address);
    let _worker = Worker::start("small", small.env("SHARDS_PER_CLUSTER", "1")).await;
    coordinator
        .until("one shard to be ready and one to lack room", |status| {
            let problem = |one: &v1::Problem| one.weight == i32::from(v1::ProblemWeight::Problem);
            status.shards.iter().filter(|shard| is_ready(shard)).count() == 1
                && status.problem_details.iter().any(problem)
        })
        .await;
    let mut command = doctor().await;
    command
        .env("DISCORD_API_URL", deployment.sim.http_origin())
        .env("REDIS_URL", deployment.redis.url())
        .env("COORDINATOR_URL", &coordinator.address);
    let answer = run(&mut command);
    answer.expect("fleet", "warn", "1 of 2 shards ready on 1 workers");
    answer.expect("problem", "fail", "no worker has room for shard");
    answer.expect("fullest_shard", "skipped", "of 2 shards answered");
    assert_eq!(answer.code, 1, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_token_and_redis_the_lines_say_so() {
    let mut command = doctor().await;
    let answer = run(command.env_remove("DISCORD_TOKEN"));
    answer.expect("token", "fail", "DISCORD_TOKEN: is not set");
    for check in ["intents", "shard_count", "identify_budget", "clock_discord", "redis"] {
        answer.expect(check, "skipped", "");
    }
    assert_eq!(answer.code, 1);
    let (sim, mut command) = sim(SimConfig::default()).await;
    let answer = run(&mut command);
    answer.expect(
        "redis",
        "skipped",
        "REDIS_URL is not set: `altergolden up` starts a redis-server of its own",
    );
    answer.expect("token", "ok", "");
    assert_eq!(answer.code, 0, "{}", answer.text);
    // No redis-server is installed.
    let answer = run(command.env("PATH", ""));
    answer.expect("redis", "skipped", "REDIS_URL is not set");
    answer.expect("token", "ok", "");
    assert_eq!(answer.code, 4, "{}", answer.text);
    drop(sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_asked_once() {
    let (sim, mut command) =
        sim(SimConfig { token: Some("another".to_owned()), ..SimConfig::default() }).await;
    let answer = run(&mut command);
    answer.expect("token", "fail", "Discord refuses it (401)");
    answer.expect("intents", "skipped", "needs an accepted token");
    // The clock needs no token.
    answer.expect("clock_discord", "ok", "agrees");
    assert_eq!(answer.code, 1);
    let requests = sim.control().requests();
    let total: u64 = requests.counts.iter().map(|one| one.count).sum();
    assert_eq!(total, 1, "each refusal counts towards a ban: {requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn intents_are_compared_with_the_applications_flags() {
    let config = SimConfig { privileged_intents: Intents::GUILD_MEMBERS, ..SimConfig::default() };
    let (sim, mut command) = sim(config).await;
    command.env("INTENTS", "GUILDS,GUILD_MEMBERS");
    run(&mut command).expect("intents", "ok", "enabled: GUILD_MEMBERS");
    command.env("INTENTS", "GUILDS,GUILD_MEMBERS,GUILD_PRESENCES,MESSAGE_CONTENT");
    let answer = run(&mut command);
    answer.expect("intents", "fail", "INTENTS has GUILD_PRESENCES, MESSAGE_CONTENT, which");
    assert_eq!(answer.code, 1);
    // An application that Discord has not reviewed has the limited flags.
    let limited = Edit::Set { path: "/flags".to_owned(), value: (1_u64 << 13 | 1 << 15 | 1 << 19).into() };
    let route = Some("/applications/@me".to_owned());
    sim.control()
        .inject(Fault::RestAnswer(RestAnswer { route, edits: vec![limited], ..RestAnswer::default() }))
        .unwrap();
    run(&mut command).expect("intents", "ok", "MESSAGE_CONTENT (limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_clocks_short_budgets_and_few_shards_are_found() {
    let (sim, mut command) = sim(SimConfig { guilds: 4_000, ..SimConfig::default() }).await;
    let control = sim.control();
    command.env("SHARD_COUNT", "2");
    let answer = run(&mut command);
    answer.expect("shard_count", "warn", "2 shards for about 4000 guilds; Discord recommends 4");
    command.env("SHARD_COUNT", "1");
    run(&mut command).expect("shard_count", "fail", "more than 2500 guilds on a shard");
    let limit = |remaining, max_concurrency| Fault::SessionLimit { max_concurrency, remaining, shards: None };
    control.inject(limit(Some(103), None)).unwrap();
    command.env("SHARD_COUNT", "4");
    let answer = run(&mut command);
    answer.expect(
        "identify_budget",
        "fail",
        "103 of 1000 IDENTIFYs are left, 100 of them in reserve; a full start needs 4",
    );
    control.inject(limit(Some(104), Some(4))).unwrap();
    let answer = run(command.env("SHARD_COUNT", "6"));
    answer.expect("shard_count", "fail", "a multiple of 4");
    let headers = [("date".to_owned(), "Thu, 01 Jan 2015 00:00:00 GMT".to_owned())].into();
    control.inject(Fault::RestAnswer(RestAnswer { headers, ..RestAnswer::default() })).unwrap();
    let answer = run(&mut command);
    answer.expect("clock_discord", "fail", "ahead of Discord's");
    assert_eq!(answer.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn discord_that_fails_leaves_checks_unknown() {
    let deployment = Deployment::start(SimConfig::default()).await;
    let mut command = doctor().await;
    command.env("DISCORD_API_URL", deployment.sim.http_origin()).env("REDIS_URL", deployment.redis.url());
    let control = deployment.sim.control();
    control.inject(Fault::RestDown { on: true }).unwrap();
    let answer = run(&mut command);
    for check in ["token", "intents", "shard_count", "identify_budget"] {
        answer.expect(check, "skipped", "");
    }
    answer.expect("redis", "ok", "");
    assert_eq!(answer.code, 4, "{}", answer.text);
    control.inject(Fault::RestDown { on: false }).unwrap();
    // Only the application fails: the other lines have their answers.
    let route = Some("/applications/@me".to_owned());
    let broken =
        RestAnswer { route, status: Some(200), body: "<html>\u{1b}[2J".to_owned(), ..RestAnswer::default() };
    control.inject(Fault::RestAnswer(broken)).unwrap();
    let answer = run(&mut command);
    answer.expect("intents", "skipped", "has no flags");
    answer.expect("identify_budget", "ok", "");
    assert_eq!(answer.code, 4, "{}", answer.text);
    // An answer that never comes ends by a deadline.
    control.inject(Fault::RestDelay { ms: 60_000 }).unwrap();
    let began = Instant::now();
    let answer = run(&mut command);
    answer.expect("token", "skipped", "no answer within 5 s");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_is_set_up_wrong_is_found() {
    let deployment = Deployment::start(SimConfig::default()).await;
    let mut command = doctor().await;
    command.env("DISCORD_API_URL", deployment.sim.http_origin()).env("REDIS_URL", deployment.redis.url());
    let redis = &deployment.redis;
    redis.command::<String>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    run(&mut command).expect("redis_policy", "warn", "allkeys-lru: a full Redis deletes leases");
    redis.command::<String>(&["CONFIG", "SET", "appendonly", "yes"]).await;
    until("the append-only file", async || {
        let info = redis.command::<String>(&["INFO", "persistence"]).await;
        info.contains("aof_enabled:1").then_some(())
    })
    .await;
    run(&mut command).expect("redis_persistence", "ok", "appendonly yes");
    redis.command::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let answer = run(&mut command);
    answer.expect("redis_role", "fail", "it refuses writes");
    assert_eq!(answer.code, 1);
    // A server that says nothing ends by a deadline.
    redis.pause();
    let answer = run(&mut command);
    answer.expect("redis", "fail", "redis://127.0.0.1");
    answer.expect("redis_latency", "skipped", "");
    answer.expect("token", "ok", "");
    redis.resume();
    let answer = run(command.env("REDIS_URL", "redis://:hunter2hunter2hunter2@127.0.0.1:x"));
    answer.expect("redis", "fail", "not a redis url");
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn port_of_a_stranger_is_a_failure() {
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_sim, mut command) = sim(SimConfig::default()).await;
    let port = stranger.local_addr().unwrap().port().to_string();
    let answer = run(command.env("HEALTH_PORT", &port).env("MANAGER_HEALTH_PORT", &port));
    let lines: Vec<_> = answer.lines("port").collect();
    assert_eq!(lines[1]["result"], "fail");
    assert!(lines[1]["text"].as_str().unwrap().contains("another program"), "{}", lines[1]);
    assert!(lines[2]["text"].as_str().unwrap().contains("names the same port"), "{}", lines[2]);
    assert_eq!(answer.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_one_line() {
    let mut command = doctor().await;
    let output = command.env("INTENTS", "GUILD_BANANAS").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.lines().count() == 1 && said.contains("--intents"), "{said}");
}

/// Makes the credentials of a fleet.
fn credentials(folder: &Path, words: &[&str]) {
    let made = command("altergolden").arg("credentials").args(words).arg(folder).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_checked_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    credentials(folder.path(), &["init"]);
    credentials(folder.path(), &["issue", "client-facing", "rest", "--host", "localhost", "--dir"]);
    let deployment = Deployment::start(sim_config(20)).await;
    let mut start = deployment.coordinator_command(1);
    let operator =
        Credentials::open(&at("operator.pem"), "altergolden".parse().unwrap(), Enforcement::Enforced);
    let coordinator =
        Coordinator::start(start.env("CREDENTIALS", folder.path())).await.secured(operator.unwrap());
    let listen = &coordinator.socket().to_string();
    let mut start = deployment.worker_command("a", listen);
    let worker = Worker::start("a", start.env("CREDENTIALS", folder.path())).await;
    coordinator.until("the fleet to be ready", all_ready).await;

    let mut command = doctor().await;
    command.env("DISCORD_API_URL", deployment.sim.http_origin()).env("REDIS_URL", deployment.redis.url());
    command.env("COORDINATOR_URL", &coordinator.address).env("COORDINATOR_LISTEN", listen);
    command.env("WORKER_LISTEN", worker.socket().to_string());
    command.env("CREDENTIALS", folder.path());
    command.env("CLIENT_FACING_CERTIFICATE", at("client-facing-rest.pem"));
    let answer = run(&mut command);
    let texts = |answer: &Answer, result: &str| -> Vec<String> {
        let lines = answer.lines("credentials").filter(|line| line["result"] == result);
        lines.map(|line| line["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&answer, "ok").len(), 8, "{}", answer.text);
    assert_eq!((texts(&answer, "warn").len(), texts(&answer, "fail").len()), (0, 0), "{}", answer.text);
    answer.expect("fleet", "ok", "1 of 1 shards ready");
    let held =
        answer.lines("port").filter(|line| line["text"].as_str().unwrap().contains("of this platform"));
    assert_eq!(held.count(), 2, "{}", answer.text);

    // What is wrong with files is named.
    fs::set_permissions(at("worker.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(at("monitor.pem"), "no certificate").unwrap();
    fs::copy(at("bot.pem"), at("supervisor.pem")).unwrap();
    fs::write(at("client-facing-rest.pem"), "").unwrap();
    command.env("COORDINATOR_URL", listen.replacen("127.0.0.1", "127.0.0.2", 1));
    let answer = run(&mut command);
    let failed = texts(&answer, "fail").join("\n");
    for says in ["monitor.pem", "role bot, not supervisor", "client-facing-rest.pem"] {
        assert!(failed.contains(says), "{says}: {}", answer.text);
    }
    let warned = texts(&answer, "warn").join("\n");
    for says in ["other users may read", "does not name 127.0.0.2"] {
        assert!(warned.contains(says), "{says}: {}", answer.text);
    }

    fs::write(at("access.list"), "token operator alice 00\n").unwrap();
    let failed = texts(&run(&mut command), "fail").join("\n");
    assert!(failed.contains("access.list: line 1"), "{failed}");

    // Without them: ports that others reach are named.
    command
        .env_remove("CREDENTIALS")
        .env_remove("CLIENT_FACING_CERTIFICATE")
        .env("WORKER_LISTEN", "0.0.0.0:0");
    run(&mut command).expect("credentials", "warn", "WORKER_LISTEN");

    // With them, the REST proxy still needs a certificate of its own.
    command.env("CREDENTIALS", folder.path()).env("REST_LISTEN", "0.0.0.0:0");
    let warned = texts(&run(&mut command), "warn").join("\n");
    assert!(warned.contains("no client-facing certificate") && warned.contains("REST_LISTEN"), "{warned}");
}

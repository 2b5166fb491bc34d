//! A fleet with credentials: real processes, certificates of `altergolden credentials`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use checkpoint::HeadKeys;
use fleet_fixture::{
    Coordinator, CredentialsFolder, DEADLINE, Deployment, Worker, command, http, sim_config, until,
};
use process::credentials::{
    Role,
    calls::{allowed, is_listed},
};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;
use shard_bridge::BridgeClient;

use crate::cli::Output;

mod crowd;
mod endings;
mod fake_worker;
mod hostile_worker;
mod removed_token;
mod reset_record;
mod stolen;
mod thief;
mod tickets;

const SHARDS: u32 = 4;

/// Runs `altergolden` with the credentials of a role.
fn altergolden(folder: &CredentialsFolder, role: Role, coordinator: &Coordinator, words: &[&str]) -> Output {
    let mut run = command("altergolden");
    run.args(words).env("COORDINATOR_URL", &coordinator.address).env("CREDENTIALS", folder.file(role));
    output(run)
}

/// Runs `altergolden credentials COMMAND` on the folder.
fn credentials(folder: &CredentialsFolder, words: &[&str]) -> Output {
    crate::cli::said(&folder.run(words))
}

fn output(mut run: Command) -> Output {
    crate::cli::said(&run.output().unwrap())
}

struct Scene {
    deployment: Deployment,
    folder: CredentialsFolder,
}

impl Scene {
    async fn start() -> Self {
        Self { deployment: Deployment::start(sim_config(40)).await, folder: CredentialsFolder::new() }
    }

    /// A coordinator with credentials.
    async fn coordinator(&self, settings: &[(&str, &str)]) -> Coordinator {
        let mut command = self.deployment.coordinator_command(SHARDS);
        command.env("CREDENTIALS", self.folder.path()).envs(settings.iter().copied());
        Coordinator::start(&mut command).await.secured(self.folder.of(Role::Operator))
    }

    /// A worker with credentials.
    async fn worker(&self, name: &str, coordinator: &Coordinator) -> Worker {
        self.worker_with(name, coordinator, &[]).await
    }

    async fn worker_with(&self, name: &str, coordinator: &Coordinator, settings: &[(&str, &str)]) -> Worker {
        let address = coordinator.address.split_once("://").unwrap().1;
        let mut command = self.deployment.worker_command(name, address);
        command.env("CREDENTIALS", self.folder.path()).envs(settings.iter().copied());
        Worker::start(name, &mut command).await
    }

    fn identifies(&self) -> usize {
        self.deployment.sim.control().identifies().items.len()
    }
}

/// The gaps that a coordinator has counted.
async fn gaps(coordinator: &Coordinator) -> u64 {
    let (_, text) = http::request(&format!("{}/metrics", coordinator.health), None).await.unwrap();
    let counts = text.lines().filter(|line| line.starts_with("altergolden_fleet_gaps_total"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_with_credentials_works_and_refuses_other_callers() {
    let scene = Scene::start().await;
    let coordinator = scene.coordinator(&[]).await;
    let (mut a, mut b) = tokio::join!(scene.worker("a", &coordinator), scene.worker("b", &coordinator));
    coordinator.until_balanced(&[&a, &b]).await;
    let identifies = scene.identifies();

    // Callers without credentials, and with the wrong role.
    let plain = coordinator.address.replacen("https:", "http:", 1);
    let refused = crate::cli::altergolden(&plain, &["status"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("CREDENTIALS"), "{}", refused.err);
    let drain = ["drain", "b"];
    let refused = altergolden(&scene.folder, Role::Bot, &coordinator, &drain);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("the role bot may not"), "{}", refused.err);

    // A worker answers a bot about a guild of the other worker.
    let status = altergolden(&scene.folder, Role::Operator, &coordinator, &["status"]);
    assert_eq!(status.code, 0, "{} {}", status.out, status.err);
    let url = a.address.replacen("http:", "https:", 1);
    let bot = scene.folder.of(Role::Bot);
    let mut bridge = BridgeClient::connect_with(&url, DEADLINE, &bot, Role::Worker).await.unwrap();
    let stats = bridge.aggregate_stats(std::time::Duration::ZERO).await.unwrap();
    assert!(stats.complete && stats.total_guilds == 40, "{stats:?}");

    // A handoff copies shards between workers, and the history says who asked for it.
    let drained = altergolden(&scene.folder, Role::Operator, &coordinator, &drain);
    assert_eq!(drained.code, 0, "{} {}", drained.out, drained.err);
    assert_eq!(b.process.ended().await.code(), Some(0));
    coordinator.until_balanced(&[&a]).await;
    let history = altergolden(&scene.folder, Role::Operator, &coordinator, &["history", "--json"]).out;
    assert!(history.contains("operator/operator at 127.0.0.1:"), "{history}");

    // A worker dies: its shards resume elsewhere.
    let c = scene.worker("c", &coordinator).await;
    coordinator.until_balanced(&[&a, &c]).await;
    a.process.kill().await;
    coordinator.until_balanced(&[&c]).await;
    assert_eq!((scene.identifies(), gaps(&coordinator).await), (identifies, 0));
    for process in [&a.process, &b.process, &c.process] {
        assert!(!process.output().contains("cannot copy the shard"), "{}", process.output());
    }
    scene.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn running_fleet_gets_credentials_by_a_rolling_restart() {
    let scene = Scene::start().await;
    let mut command = scene.deployment.coordinator_command(SHARDS);
    let mut plain = Coordinator::start(command.env_remove("CREDENTIALS")).await;
    let listen = plain.address.strip_prefix("http://").unwrap().to_owned();
    let mut command = scene.deployment.worker_command("a", &plain.address);
    let mut a = Worker::start("a", command.env_remove("CREDENTIALS")).await;
    plain.until_balanced(&[&a]).await;
    let identifies = scene.identifies();

    // First the coordinator: both kinds of workers are served.
    assert_eq!(plain.process.stop().await, 0);
    let optional = [("COORDINATOR_LISTEN", listen.as_str()), ("CREDENTIALS_OPTIONAL", "true")];
    let mut coordinator = scene.coordinator(&optional).await;
    coordinator.until_balanced(&[&a]).await;
    let (_, health) = coordinator.health().await;
    let text = health["problems"].to_string();
    assert!(text.contains("credentials_optional") && text.contains("127.0.0.1 (Coordinator)"), "{text}");
    // Then the workers, one after the other.
    let b = scene.worker("b", &coordinator).await;
    coordinator.until_balanced(&[&a, &b]).await;
    assert_eq!(a.process.stop().await, 0, "{}", a.process.output());
    coordinator.until_balanced(&[&b]).await;
    // Then callers without credentials are refused.
    assert_eq!(coordinator.process.stop().await, 0);
    let coordinator = scene.coordinator(&[("COORDINATOR_LISTEN", &listen)]).await;
    coordinator.until_balanced(&[&b]).await;
    let (_, health) = coordinator.health().await;
    assert!(!health["problems"].to_string().contains("credentials"), "{health}");
    assert_eq!((scene.identifies(), gaps(&coordinator).await), (identifies, 0));
    scene.deployment.assert_lawful();
}

/// Each of the files gets this content.
fn replace(folder: &CredentialsFolder, content: impl Fn(&str, &str) -> String) {
    for name in ["coordinator.pem", "worker.pem"] {
        folder.replace(name, &content(name, &folder.read(name)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_and_certificates_are_replaced_while_the_fleet_runs() {
    let scene = Scene::start().await;
    let mut coordinator = scene.coordinator(&[]).await;
    let mut a = scene.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&a]).await;
    let identifies = scene.identifies();
    let next = CredentialsFolder::new();
    let new_ca = next.read("ca.pem");

    // Both CAs count at first.
    replace(&scene.folder, |_, old| format!("{old}{new_ca}"));
    for process in [&mut coordinator.process, &mut a.process] {
        process.logged("credentials replaced", "identity").await;
    }
    // Then certificates of the new CA.
    let old_ca = scene.folder.read("ca.pem");
    replace(&scene.folder, |name, _| format!("{}{old_ca}", next.read(name)));
    for process in [&mut coordinator.process, &mut a.process] {
        process.logged("credentials replaced", "identity").await;
    }
    // A worker with the new files joins, and shards move to it.
    let b = scene.worker("b", &coordinator).await;
    let coordinator = coordinator.secured(next.of(Role::Operator));
    coordinator.until_balanced(&[&a, &b]).await;
    // A file that is no use is named, and the old one stays in use.
    fs::write(scene.folder.path().join("worker.pem"), "").unwrap();
    until("the problem to be shown", async || {
        let (_, text) = http::request(&format!("{}/health", a.health), None).await.unwrap();
        text.contains("credentials_rejected").then_some(())
    })
    .await;
    coordinator.until_balanced(&[&a, &b]).await;
    assert_eq!((scene.identifies(), gaps(&coordinator).await), (identifies, 0));
    scene.deployment.assert_lawful();
}

/// Waits until a worker has logged this message with a field that contains `value`.
async fn until_logged(worker: &mut Worker, message: &str, field: &str, value: &str) {
    let is_it = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let has_value = line[field].as_str().is_some_and(|text| text.contains(value));
        (line["message"] == message && has_value).then_some(())
    };
    worker.process.line(message, is_it).await;
}

/// Waits until a worker has written each of its heads again.
async fn until_heads_are_written(worker: &Worker) {
    let name = "altergolden_checkpoint_writes_total";
    let before = worker.metric(name).await;
    worker.until_metric(name, |writes| writes >= before + 3 * u64::from(SHARDS)).await;
}

/// A head key is replaced in two steps, without a restart. Then a worker dies, and the other one accepts its heads.
#[tokio::test(flavor = "multi_thread")]
async fn head_key_is_replaced_while_the_fleet_runs() {
    let scene = Scene::start().await;
    let coordinator = scene.coordinator(&[]).await;
    let (mut a, mut b) = tokio::join!(scene.worker("a", &coordinator), scene.worker("b", &coordinator));
    coordinator.until_balanced(&[&a, &b]).await;
    let identifies = scene.identifies();
    let signed_by = async || {
        scene.deployment.redis.command::<Option<String>>(&["HGET", "{altergolden}:fleet", "head_key"]).await
    };
    let old = until("the fleet to sign", async || signed_by().await.filter(|id| !id.is_empty())).await;

    // The new key in front of the old one.
    let worker = scene.folder.path().join("worker.pem");
    let with_old = fs::read_to_string(&worker).unwrap();
    let (certificates, old_block) = with_old.split_at(with_old.find("-----BEGIN ALTERGOLDEN HEAD").unwrap());
    let key = [7; 32];
    let new_block = pem::encode(&pem::Pem::new("ALTERGOLDEN HEAD KEY", key));
    let new = HeadKeys::new([key]).unwrap().ids()[0].to_string();
    let write = |text: String| {
        let next = worker.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, &worker).unwrap();
    };
    write(format!("{certificates}{new_block}{old_block}"));
    for worker in [&mut a, &mut b] {
        until_logged(worker, "head keys replaced", "new", &format!("{new}, {old}")).await;
    }
    until("the new key to sign", async || (signed_by().await.as_deref() == Some(&new)).then_some(())).await;
    tokio::join!(until_heads_are_written(&a), until_heads_are_written(&b));
    // The old one goes.
    write(format!("{certificates}{new_block}"));
    for worker in [&mut a, &mut b] {
        until_logged(worker, "head keys replaced", "old", &format!("{new}, {old}")).await;
    }
    coordinator.until_balanced(&[&a, &b]).await;
    a.process.kill().await;
    coordinator.until_balanced(&[&b]).await;
    assert_eq!(b.metric("altergolden_checkpoint_signatures_refused_total").await, 0);
    assert_eq!((scene.identifies(), gaps(&coordinator).await), (identifies, 0));
    scene.deployment.assert_lawful();
}

#[test]
fn credentials_are_made_shown_and_revoked() {
    let folder = CredentialsFolder::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    let read = |name: &str| folder.read(name);
    let before = read("coordinator.pem");
    let again = credentials(&folder, &["init"]);
    assert!(again.code == 0 && again.out.contains("stays as it is"), "{}", again.out);
    assert_eq!(read("coordinator.pem"), before);
    assert!(read("worker.pem").contains("HEAD KEY") && !read("bot.pem").contains("HEAD KEY"));

    let issued = credentials(&folder, &["issue", "bot", "shop"]);
    assert_eq!(issued.code, 0, "{}", issued.err);
    let serial = issued.out.lines().find_map(|line| line.strip_prefix("serial number ")).unwrap();
    let mut show = command("altergolden");
    show.args(["credentials", "show"]).arg(folder.path().join("bot-shop.pem"));
    let shown = output(show).out;
    assert!(
        shown.contains("altergolden://altergolden/bot/shop") && shown.contains("bot.altergolden.altergolden"),
        "{shown}"
    );
    let colons =
        serial.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap()).collect::<Vec<_>>().join(":");
    assert!(shown.contains(&colons), "{shown}");
    assert_eq!(credentials(&folder, &["revoke", serial]).code, 0);
    let token = credentials(&folder, &["token", "operator", "alice"]);
    assert_eq!(token.code, 0, "{}", token.err);
    let list = read("access.list");
    assert!(list.contains(&format!("revoked {serial}")) && list.contains("token operator alice "), "{list}");
    assert!(!list.contains(token.out.trim()), "the list has only the hash");
    for (words, says) in [
        (&["issue", "root", "x"][..], "coordinator, worker"),
        (&["issue", "bot", "a/b"], "a-z A-Z"),
        (&["issue", "client-facing", "x"], "--host"),
        (&["issue", "client-facing", "x", "--host", "Worker.altergolden.altergolden"], "stand for roles"),
        (&["token", "worker", "x"], "need a certificate"),
        (&["revoke", "xyz"], "hexadecimal"),
    ] {
        let refused = credentials(&folder, words);
        assert!(refused.code == 2 && refused.err.contains(says), "{words:?}: {}", refused.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn port_that_other_hosts_reach_needs_credentials_or_a_word() {
    let folder = CredentialsFolder::new();
    for (program, flag) in [("coordinator", "--coordinator-listen"), ("gateway-worker", "--worker-listen")] {
        let mut run = command(program);
        run.arg(format!("{flag}=0.0.0.0:0"));
        run.env("DISCORD_TOKEN", "t").env("REDIS_URL", "redis://127.0.0.1:1");
        let refused = output(run);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(refused.err.contains(flag) && refused.err.contains("credentials init"), "{}", refused.err);
    }
    let mut run = command("gateway-worker");
    run.env("CREDENTIALS", folder.path().join("bot.pem")).env("DISCORD_TOKEN", "t");
    let refused = output(run);
    assert!(refused.code == 2 && refused.err.contains("role bot"), "{}", refused.err);

    let deployment = Deployment::start(sim_config(4)).await;
    let mut command = deployment.coordinator_command(1);
    command.env("COORDINATOR_LISTEN", "0.0.0.0:0").env("INSECURE_NETWORK", "true");
    let coordinator = Coordinator::start(&mut command).await;
    let problem = until("the problem to be shown", async || {
        let (_, health): (u16, Value) = coordinator.health().await;
        let problems = health["problems"].to_string();
        problems.contains("insecure_network").then_some(problems)
    })
    .await;
    assert!(problem.contains("INSECURE_NETWORK"), "{problem}");
}

/// A certificate for localhost that has expired, with its key.
fn expired_certificate() -> String {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2020, 1, 1);
    let key = KeyPair::generate().unwrap();
    format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Asks a REST proxy for the bot's user by TLS. Returns the status.
fn curl(folder: &CredentialsFolder, port: &str, options: &[&str]) -> String {
    let mut run = Command::new("curl");
    run.args(["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}"]);
    run.args(["--max-time", "20", "--header", "authorization: Bot a-token-of-the-tests"]).args(options);
    run.arg("--cacert").arg(folder.path().join("ca.pem"));
    let output = output({
        run.arg(format!("https://localhost:{port}/api/v10/users/@me"));
        run
    });
    format!("{}{}", output.out, output.err)
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_proxy_has_a_certificate_of_its_own() {
    let scene = Scene::start().await;
    let folder = &scene.folder;
    let host = ["issue", "client-facing", "rest", "--host", "localhost"];
    assert_eq!(credentials(folder, &host).code, 0);
    let pem = folder.path().join("client-facing-rest.pem");
    let valid = fs::read_to_string(&pem).unwrap();

    // Without a certificate, and with one that is no use, a worker ends with one line.
    let start = |settings: &[(&str, &Path)]| {
        let mut run = scene.deployment.worker_command("a", "127.0.0.1:1");
        run.env("REST_LISTEN", "0.0.0.0:0").envs(settings.iter().copied());
        let refused = output(run);
        assert_eq!((refused.code, refused.err.lines().count()), (2, 1), "{}", refused.err);
        refused.err
    };
    let error = start(&[]);
    assert!(error.contains("--rest-listen") && error.contains("CLIENT_FACING_CERTIFICATE"), "{error}");
    let error = start(&[("CREDENTIALS", folder.path())]);
    assert!(error.contains("--rest-listen") && error.contains("CLIENT_FACING_CERTIFICATE"), "{error}");
    fs::write(&pem, "no certificate").unwrap();
    let error = start(&[("CLIENT_FACING_CERTIFICATE", &pem)]);
    assert!(error.contains("client-facing-rest.pem") && error.contains("no certificate"), "{error}");
    let error = start(&[("CLIENT_FACING_CERTIFICATE", &folder.path().join("bot.pem"))]);
    assert!(error.contains("clients would refuse"), "{error}");
    fs::write(&pem, expired_certificate()).unwrap();
    let error = start(&[("CLIENT_FACING_CERTIFICATE", &pem)]);
    assert!(error.contains("has expired"), "{error}");
    fs::write(&pem, &valid).unwrap();
    // It is of no use as a member's.
    let mut run = scene.deployment.worker_command("a", "127.0.0.1:1");
    let refused = output({
        run.env("CREDENTIALS", &pem);
        run
    });
    assert!(refused.code == 2 && refused.err.contains("no name of the fleet"), "{}", refused.err);

    let coordinator = scene.coordinator(&[]).await;
    let address = coordinator.address.split_once("://").unwrap().1;
    let mut command = scene.deployment.worker_command("a", address);
    command.env("REST_LISTEN", "0.0.0.0:0").env("CREDENTIALS", folder.path());
    let mut worker = Worker::start("a", command.env("CLIENT_FACING_CERTIFICATE", &pem)).await;
    coordinator.until_balanced(&[&worker]).await;
    let health: Value = http::json(&format!("{}/health", worker.health)).await;
    let port = health["rest"].as_str().unwrap().rsplit_once(':').unwrap().1;
    for tls in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        assert_eq!(curl(folder, port, tls), "200", "{tls:?}");
    }
    let left = worker.metric("altergolden_client_facing_certificate_expire_seconds").await;
    assert!(left > 89 * 24 * 60 * 60, "{left}");

    for (bad, why) in [("garbage", "no certificate"), (&expired_certificate(), "has expired")] {
        fs::write(&pem, bad).unwrap();
        until_logged(&mut worker, "new credentials rejected; the old ones stay in use", "why", why).await;
        assert_eq!(curl(folder, port, &[]), "200", "the old one stays in use");
    }
    let health: Value = http::json(&format!("{}/health", worker.health)).await;
    assert!(health["problems"].to_string().contains("credentials_rejected"), "{health}");
    assert_eq!(credentials(folder, &host).code, 0);
    worker.process.logged("client-facing certificate replaced", "path").await;
    assert_eq!(curl(folder, port, &[]), "200");
    scene.deployment.assert_lawful();
}

/// The path of every call of the contract.
fn contract() -> Vec<String> {
    let files = FileDescriptorSet::decode(altergolden_proto::DESCRIPTORS).unwrap();
    let mut calls = Vec::new();
    for file in &files.file {
        for service in &file.service {
            let calls_of = service.method.iter();
            calls.extend(
                calls_of.map(|call| format!("/{}.{}/{}", file.package(), service.name(), call.name())),
            );
        }
    }
    assert!(calls.len() > 30, "{calls:?}");
    calls
}

#[test]
fn every_call_of_the_contract_has_its_roles() {
    let calls = contract();
    let unlisted: Vec<&String> = calls.iter().filter(|call| !is_listed(call)).collect();
    assert!(unlisted.is_empty(), "add to services/process/src/credentials/calls.rs: {unlisted:?}");
    let open: Vec<&String> = calls.iter().filter(|call| allowed(call).includes(None)).collect();
    assert!(open.is_empty(), "open to everyone: {open:?}");
}

//! `altergolden up`: a supervised fleet of real processes, which are killed, hang, leak, and are replaced.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use fleet_fixture::{
    Coordinator, Deployment, IDENTIFY_INTERVAL, LEASE_TTL, Process, Signal, all_ready, command, humantime,
    sim_config, until,
};
use rustix::process::{Pid, kill_process, kill_process_group, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

mod faults;
mod replacing;
mod settings;

/// Shards of the fleets here.
const SHARDS: u32 = 4;

/// A folder for the state of one supervisor after the other.
pub(crate) struct Place {
    folder: TempDir,
}

/// A supervisor with its fleet.
pub(crate) struct Up {
    /// The supervisor, as the coordinator's process: the fixture asks the fleet through it.
    fleet: Coordinator,
    state: PathBuf,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::with_prefix("up-").unwrap() }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The command of a supervisor with two workers. Its Redis is the deployment's.
    fn command(&self, deployment: &Deployment) -> Command {
        let mut command = self.bare_command();
        for (key, value) in deployment.shared("altergolden").get_envs() {
            if let Some(value) = value.filter(|_| key != "RUST_LOG") {
                command.env(key, value);
            }
        }
        command
    }

    /// The same without Discord and Redis.
    fn bare_command(&self) -> Command {
        let mut command = command("altergolden");
        command
            .arg("up")
            .arg("--state")
            .arg(self.state())
            // No .env is there.
            .current_dir(self.folder.path())
            .env("RUST_LOG", "info,h2=warn,hyper=warn,tower=warn")
            .env("SHARD_COUNT", SHARDS.to_string())
            .env("CLUSTER_COUNT", "2")
            .env("COORDINATOR_LISTEN", "127.0.0.1:0")
            .env("HEALTH_PORT", "0")
            .env("MANAGER_HEALTH_PORT", "0")
            .env("LEASE_TTL", humantime(LEASE_TTL))
            .env("IDENTIFY_INTERVAL", humantime(IDENTIFY_INTERVAL))
            .env("SETTLE", "500ms")
            .env("DRAIN_TIMEOUT", "10s");
        command
    }

    /// A program for `--worker-program`: `before` runs first, then the worker.
    fn worker_program(&self, before: &str) -> PathBuf {
        let path = self.folder.path().join("bot.sh");
        let worker = fleet_fixture::binary("gateway-worker");
        fs::write(&path, format!("#!/bin/sh\n{before}\nexec {}\n", worker.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Up {
    /// Starts a supervisor and waits until it has started its programs.
    async fn start(place: &Place, command: &mut Command) -> Self {
        let mut process = Process::start("up", command);
        let address = process.logged("supervisor started", "coordinator").await;
        let fleet = Coordinator::at(process, &address, "");
        Self { fleet, state: place.state() }
    }

    /// Waits until all shards are ready, on exactly these workers.
    async fn ready_on(&self, workers: &[&str]) {
        self.fleet.until_balanced_on(workers).await;
    }

    /// The pid of a program that runs now.
    fn pid(&self, name: &str) -> Pid {
        self.pid_if_listed(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.listed()))
    }

    fn pid_if_listed(&self, name: &str) -> Option<Pid> {
        let pid = self.listed().into_iter().find_map(|(listed, pid)| (listed == name).then_some(pid))?;
        Pid::from_raw(pid)
    }

    fn listed(&self) -> Vec<(String, i32)> {
        let text = fs::read(self.state.join("children.json")).unwrap_or_default();
        let list: Value = serde_json::from_slice(&text).unwrap_or_default();
        let children = list["children"].as_array().cloned().unwrap_or_default();
        let one = |child: &Value| Some((child["name"].as_str()?.to_owned(), child["pid"].as_i64()? as i32));
        children.iter().filter_map(one).collect()
    }

    fn pids(&self) -> Vec<Pid> {
        self.listed().into_iter().filter_map(|(_, pid)| Pid::from_raw(pid)).collect()
    }

    /// Waits for a line of the supervisor about a program.
    async fn says(&mut self, message: &str, program: &str) -> Value {
        self.fleet
            .process
            .line(&format!("{message} ({program})"), |line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["message"] == message && line["program"] == program).then_some(line)
            })
            .await
    }

    /// How often the supervisor has said that about a program.
    fn said(&self, message: &str, program: &str) -> Vec<Value> {
        let output = self.fleet.process.output();
        let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message && line["program"] == program).collect()
    }

    /// SIGTERM; it must end in order, and leave no process behind.
    async fn stop(mut self) {
        let pids = self.pids();
        assert_eq!(self.fleet.process.stop().await, 0, "{}", self.fleet.process.output());
        assert!(pids.iter().all(|pid| !is_running(*pid)), "a process is left");
    }
}

impl Drop for Up {
    /// A test that failed leaves no process behind, not even programs that do not notice the end of their supervisor.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let redis = fs::read_to_string(self.state.join("redis/redis.pid")).unwrap_or_default();
            let redis = redis.trim().parse().ok().and_then(Pid::from_raw);
            kill_process(Pid::from_raw(self.fleet.process.pid() as i32).unwrap(), Signal::KILL).ok();
            for pid in self.pids().into_iter().chain(redis) {
                kill_process_group(pid, Signal::KILL).ok();
            }
        }
    }
}

/// Whether the process is there and no zombie.
fn is_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
    test_kill_process(pid).is_ok() && !matches!(state, Some(Some('Z' | 'X')) | None)
}

async fn gone(what: &str, pids: &[Pid]) {
    until(what, async || pids.iter().all(|pid| !is_running(*pid)).then_some(())).await;
}

fn kill(pid: Pid) {
    kill_process(pid, Signal::KILL).unwrap();
}

fn identifies(deployment: &Deployment) -> usize {
    deployment.sim.control().identifies().items.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_runs_under_its_names_and_resumes_after_a_stop() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let up = Up::start(&place, &mut place.command(&deployment)).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    for (name, program) in
        [("coordinator", "coordinator"), ("worker-0", "gateway-worker"), ("worker-1", "gateway-worker")]
    {
        let proc = PathBuf::from(format!("/proc/{}", up.pid(name).as_raw_nonzero()));
        assert_eq!(fs::read_to_string(proc.join("comm")).unwrap().trim(), program);
        let arguments = fs::read(proc.join("cmdline")).unwrap();
        assert_eq!(arguments, [program.as_bytes(), b"\0"].concat(), "no secret in a process title");
    }
    let spent = identifies(&deployment);
    assert_eq!(spent, SHARDS as usize);
    up.stop().await;

    let up = Up::start(&place, &mut place.command(&deployment)).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    assert_eq!(identifies(&deployment), spent, "all shards resumed");
    up.stop().await;
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_fleet_needs_no_settings() {
    let place = Place::new();
    let mut command = place.bare_command();
    command.arg("--simulate").env("SIM_LISTEN", "127.0.0.1:0").env("SIM_IDENTIFY_INTERVAL", "200ms");
    let mut up = Up::start(&place, &mut command).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    up.says("program serves", "discord-sim").await;
    up.stop().await;
    // The data of its Redis stays, and no process.
    assert!(place.state().join("redis").exists());
}

/// Standard error of the supervisor may be anything, such as a log file on a full disk.
#[tokio::test(flavor = "multi_thread")]
async fn full_disk_stops_nothing() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    let mut command = tokio::process::Command::from(place.command(&deployment));
    let mut child = command
        .env("COORDINATOR_LISTEN", address.to_string())
        .env("RUST_LOG", "debug")
        .stdout(full())
        .stderr(full())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ready = async || {
        let url = format!("http://{address}");
        let mut client = shard_bridge::BridgeClient::connect(&url, fleet_fixture::DEADLINE).await.ok()?;
        let shards = client.shards("").await.ok()?;
        (shards.len() == SHARDS as usize && shards.iter().all(fleet_fixture::is_ready)).then_some(())
    };
    until("all shards ready", ready).await;
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    deployment.assert_lawful();
}

/// Every program takes its role's file from the folder: coordinator and workers join, and the supervisor may report exits.
#[tokio::test(flavor = "multi_thread")]
async fn programs_get_their_credentials() {
    let deployment = Deployment::start(sim_config(20)).await;
    let place = Place::new();
    let credentials = place.folder.path().join("credentials");
    let made = command("altergolden").args(["credentials", "init"]).arg(&credentials).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let operator = fleet_fixture::open_credentials(&credentials.join("operator.pem"));
    let mut up = Up::start(&place, place.command(&deployment).env("CREDENTIALS", &credentials)).await;
    up.fleet.secure(operator);
    up.ready_on(&["worker-0", "worker-1"]).await;
    let before = identifies(&deployment);
    kill(up.pid("worker-0"));
    up.fleet
        .process
        .line("the report of the exit", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == "exit reported to the coordinator").then_some(())
        })
        .await;
    up.fleet.until("shards on both workers", |status| status.workers.len() == 2 && all_ready(status)).await;
    assert_eq!(identifies(&deployment), before);
    up.stop().await;
    deployment.assert_lawful();
}

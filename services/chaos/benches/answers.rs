//! Measures the time of calls that workers answer: totals, one guild, one channel, one user. The cheapest call on the same connection,
//! `grpc.health.v1.Health/Check` of the coordinator, is measured for comparison. Redis, a coordinator and workers are real processes on the
//! loopback. The simulated Discord is in this process and sends no events.
//!
//! `cargo bench -p chaos --bench answers`. Needs the programs in release: `cargo build --release -p coordinator -p gateway-worker`. With
//! node and `examples/install node` it measures the TypeScript client too.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use altergolden_proto::v1::{self, shard_bridge_client::ShardBridgeClient};
use clap::Parser;
use discord_sim::SimConfig;
use fleet_fixture::{Coordinator, Deployment, Worker};
use process::credentials::{Credentials, Role};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// The resources that workers cache, so that all calls have answers.
const CACHE: &str = "guilds,channels,roles,members,users,voice_states,own_user";

#[derive(Debug, Parser)]
struct Args {
    /// Workers
    #[arg(long, default_value_t = 4)]
    workers: u32,
    /// Shards of the whole fleet
    #[arg(long, default_value_t = 8)]
    shards: u32,
    /// Guilds
    #[arg(long, default_value_t = 400)]
    guilds: u32,
    /// Calls of each kind, one after the other
    #[arg(long, default_value_t = 4_000)]
    calls: usize,
    /// Calls of each kind with 32 at a time
    #[arg(long, default_value_t = 8_000)]
    concurrent_calls: usize,
    /// Only the Rust client
    #[arg(long)]
    without_node: bool,
    /// Cargo gives this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// Calls at once in the second part.
const AT_ONCE: usize = 32;

/// Calls of each kind before the measurement.
const WARM_UP: usize = 300;

/// New connections of each kind.
const CONNECTIONS: u32 = 500;

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bare,
    Stats,
    FindGuild,
    GetChannel,
    FindUser,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Bare, Self::Stats, Self::FindGuild, Self::GetChannel, Self::FindUser];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare call (health check)",
            Self::Stats => "aggregate stats",
            Self::FindGuild => "find guild",
            Self::GetChannel => "get channel",
            Self::FindUser => "find user",
        }
    }
}

/// Guilds, channels and users of the simulated Discord.
#[derive(Clone, Debug)]
struct Known {
    guilds: Vec<u64>,
    /// One channel of each guild, in the order of `guilds`.
    channels: Vec<u64>,
    users: Vec<u64>,
}

/// A client with one connection.
#[derive(Clone)]
struct Client {
    health: HealthClient<Channel>,
    bridge: ShardBridgeClient<Channel>,
}

impl Client {
    async fn connect(url: &str, credentials: &Credentials) -> Self {
        let channel = fleet_fixture::channel(url, credentials, Role::Coordinator).await;
        Self { health: HealthClient::new(channel.clone()), bridge: ShardBridgeClient::new(channel) }
    }

    /// Makes the call `number` of a kind and checks its answer.
    async fn call(&mut self, kind: Kind, known: &Known, number: usize) {
        // A prime step visits all guilds, because it shares no factor with usual numbers of guilds.
        let place = number.wrapping_mul(7_919) % known.guilds.len();
        let guild_id = known.guilds[place];
        match kind {
            Kind::Bare => {
                let request = HealthCheckRequest { service: String::new() };
                self.health.check(request).await.expect("the coordinator answers");
            }
            Kind::Stats => {
                let request = v1::GetAggregateStatsRequest::default();
                let stats = self.bridge.get_aggregate_stats(request).await.expect("the coordinator answers");
                assert!(stats.get_ref().complete, "{stats:?}");
            }
            Kind::FindGuild => {
                let request = v1::FindGuildRequest { guild_id, deadline_ms: None };
                let found = self.bridge.find_guild(request).await.expect("the coordinator answers");
                assert!(found.get_ref().found && found.get_ref().complete, "{found:?}");
            }
            Kind::GetChannel => {
                let channel_id = known.channels[place];
                let request = v1::GetChannelRequest { guild_id, channel_id, ..Default::default() };
                self.bridge.get_channel(request).await.expect("the channel is cached");
            }
            Kind::FindUser => {
                let user_id = known.users[number.wrapping_mul(7_919) % known.users.len()];
                let request = v1::FindUserRequest { user_id, ..Default::default() };
                let found = self.bridge.find_user(request).await.expect("the coordinator answers");
                assert!(found.get_ref().found, "{found:?}");
            }
        }
    }
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let deployment = Deployment::start(SimConfig {
        guilds: args.guilds,
        shards: Some(args.shards),
        max_concurrency: 16,
        identify_interval: fleet_fixture::IDENTIFY_INTERVAL,
        ..SimConfig::default()
    })
    .await;
    let mut command = deployment.coordinator_command(args.shards);
    // With the usual log level, without the log lines that tests need.
    command.env_remove("RUST_LOG").env_remove("LEASE_TTL");
    let coordinator = Coordinator::start(&mut command).await;
    let mut workers = Vec::new();
    for number in 0..args.workers {
        let name = format!("w{number}");
        let mut command = deployment.worker_command(&name, &coordinator.address);
        command.env_remove("RUST_LOG").env("CACHE", CACHE);
        workers.push(Worker::start(&name, &mut command).await);
    }
    coordinator.until_balanced(&workers.iter().collect::<Vec<_>>()).await;
    let known = known(&deployment, &coordinator, args.guilds as usize, args.shards).await;
    println!(
        "{} workers, {} shards, {} guilds; load average {}",
        args.workers,
        args.shards,
        args.guilds,
        load_average()
    );
    let processes: Vec<(String, u32)> =
        std::iter::once(("coordinator".to_owned(), coordinator.process.pid()))
            .chain(workers.iter().map(|worker| (worker.name.clone(), worker.process.pid())))
            .collect();

    // The client has a separate thread, so that the simulated Discord does not delay it.
    let rust_args = (args.calls, args.concurrent_calls);
    let (url, rust_known) = (coordinator.address.clone(), known.clone());
    let file = coordinator.process.credentials_file(Role::Bot);
    let has_credentials = file.is_some();
    println!("credentials: {has_credentials}");
    let measuring = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let opened = || file.as_deref().map_or_else(Credentials::none, fleet_fixture::open_credentials);
            rust_client(&url, &opened(), rust_known, rust_args, &processes).await;
            connections(&url, opened, &processes[0]).await;
        });
    });
    tokio::task::spawn_blocking(|| measuring.join().expect("the measurement succeeds"))
        .await
        .expect("the thread is waited for");
    // The TypeScript client has no credentials here.
    if !args.without_node && !has_credentials {
        node_client(&coordinator.address, &known, args.calls.min(1_500)).await;
    }
    println!("load average {}", load_average());
}

/// The ids for the calls. For each guild, the channel is the one in its field `system_channel_id`.
async fn known(deployment: &Deployment, coordinator: &Coordinator, guilds: usize, shards: u32) -> Known {
    let control = deployment.sim.control();
    let guilds: Vec<u64> = control.guilds(guilds, shards).iter().map(|guild| guild.id.0).collect();
    // Discord sends few members without a request. Members in voice are among these.
    let users =
        control.users(2_000).iter().filter(|user| !user.in_voice.is_empty()).map(|user| user.id.0).collect();
    let credentials = coordinator.process.credentials(Role::Bot);
    let mut client = Client::connect(&coordinator.address, &credentials).await.bridge;
    let mut channels = Vec::new();
    for &guild_id in &guilds {
        let format = v1::ObjectFormat::Json.into();
        let request = v1::GetGuildRequest { guild_id, format, ..Default::default() };
        let guild = client.get_guild(request).await.expect("the guild is cached").into_inner().guild;
        let Some(v1::get_guild_response::Guild::Json(json)) = guild else {
            panic!("it was asked for as JSON")
        };
        let json: serde_json::Value = serde_json::from_str(&json).expect("Discord's JSON");
        let channel = json["system_channel_id"].as_str().and_then(|id| id.parse().ok());
        channels.push(channel.expect("every simulated guild has a system channel"));
    }
    Known { guilds, channels, users }
}

/// Measures what a new connection costs: the time until its first answer, and the coordinator's processor time. With credentials,
/// the second kind presents the ticket of the connection before; the first kind has none.
async fn connections(url: &str, reopened: impl Fn() -> Credentials, coordinator: &(String, u32)) {
    let credentials = reopened();
    for resumes in [false, true] {
        let processes = std::slice::from_ref(coordinator);
        let known = Known { guilds: vec![1], channels: Vec::new(), users: Vec::new() };
        let before = cpu_times(processes)[0];
        let mut times = Vec::new();
        for _ in 0..CONNECTIONS {
            // Sessions are kept with the credentials that were read.
            let own = if resumes { credentials.clone() } else { reopened() };
            let since = Instant::now();
            Client::connect(url, &own).await.call(Kind::Bare, &known, 0).await;
            times.push(since.elapsed());
        }
        times.sort_unstable();
        let spent = cpu_times(processes)[0].saturating_sub(before) / CONNECTIONS;
        println!(
            "new connection, {}: p50 {:.0} us until its first answer; {:.0} us of the coordinator's CPU time",
            if resumes { "resumed" } else { "whole handshake" },
            times[times.len() / 2].as_secs_f64() * 1e6,
            spent.as_secs_f64() * 1e6
        );
    }
}

async fn rust_client(
    url: &str,
    credentials: &Credentials,
    known: Known,
    (calls, concurrent_calls): (usize, usize),
    processes: &[(String, u32)],
) {
    let mut client = Client::connect(url, credentials).await;
    for number in 0..WARM_UP {
        for kind in Kind::ALL {
            client.call(kind, &known, number).await;
        }
    }
    let before = cpu_times(processes);
    let mut times: [Vec<Duration>; 5] = Default::default();
    // The kinds take turns, so that other load on the machine affects all kinds.
    for number in 0..calls {
        for (kind, times) in Kind::ALL.into_iter().zip(&mut times) {
            let since = Instant::now();
            client.call(kind, &known, number).await;
            times.push(since.elapsed());
        }
    }
    report("Rust client, one call at a time", &mut times);
    let rounds = calls as f64;
    let spent: Vec<String> = processes
        .iter()
        .zip(cpu_times(processes).iter().zip(before))
        .map(|((name, _), (after, before))| {
            format!("{name} {:.0}", after.saturating_sub(before).as_secs_f64() * 1e6 / rounds)
        })
        .collect();
    println!("  CPU time of a round of these calls, in microseconds: {}", spent.join(", "));

    let mut times: [Vec<Duration>; 5] = Default::default();
    for round in 0..4 {
        for (kind, times) in Kind::ALL.into_iter().zip(&mut times) {
            let each = concurrent_calls / 4 / AT_ONCE;
            let callers = (0..AT_ONCE).map(|caller| {
                let (mut client, known) = (client.clone(), known.clone());
                let first = (round * AT_ONCE + caller) * each;
                tokio::spawn(async move {
                    let mut times = Vec::with_capacity(each);
                    for number in first..first + each {
                        let since = Instant::now();
                        client.call(kind, &known, number).await;
                        times.push(since.elapsed());
                    }
                    times
                })
            });
            for caller in callers.collect::<Vec<_>>() {
                times.extend(caller.await.expect("every call is answered"));
            }
        }
    }
    report(&format!("Rust client, {AT_ONCE} calls at a time"), &mut times);
}

fn report(what: &str, times: &mut [Vec<Duration>; 5]) {
    println!("{what}, in microseconds:");
    println!(
        "  {:<26} {:>7} {:>7} {:>7} {:>7} {:>9} {:>9}",
        "", "calls", "p50", "p99", "max", "p50/bare", "p99/p50"
    );
    let mut bare = f64::NAN;
    for (kind, times) in Kind::ALL.into_iter().zip(times) {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
        if kind == Kind::Bare {
            bare = p50;
        }
        println!(
            "  {:<26} {:>7} {p50:>7.0} {p99:>7.0} {most:>7.0} {:>9.2} {:>9.2}",
            kind.name(),
            times.len(),
            p50 / bare,
            p99 / p50
        );
    }
}

/// Returns the user and system time of each process's threads.
fn cpu_times(processes: &[(String, u32)]) -> Vec<Duration> {
    let time = |pid: u32| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
        Duration::from_nanos(stats.filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok()).sum())
    };
    processes.iter().map(|(_, pid)| time(*pid)).collect()
}

fn load_average() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Runs `answers/client.mjs`, if node and the client that it measures are installed.
async fn node_client(url: &str, known: &Known, calls: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let client = folder.join("../../examples/typescript-client/dist/index.js");
    if !client.exists() {
        println!("TypeScript client not measured: run examples/install node");
        return;
    }
    let list = |ids: &[u64]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut command = std::process::Command::new("node");
    command.arg(folder.join("benches/answers/client.mjs")).args(
        [&client.to_string_lossy(), url, &calls.to_string(), &list(&known.guilds), &list(&known.users)]
            .map(AsRef::<str>::as_ref),
    );
    let ended =
        tokio::task::spawn_blocking(move || command.status()).await.expect("the thread is waited for");
    match ended {
        Ok(status) => assert!(status.success(), "answers/client.mjs ended with {status}"),
        Err(error) => println!("TypeScript client not measured: node: {error}"),
    }
}

//! `altergolden up`: the whole fleet on this host, supervised.
//!
//! Parses the settings and checks them as the programs themselves will. The crate `supervisor` does the work. Its children are this
//! program under other names ([`programs`]).

use std::{
    io::IsTerminal as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZero,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser as _;
use coordinator::CoordinatorArgs;
use fleet_model::ShardCount;
use gateway_worker::WorkerArgs;
use process::{
    credentials::{Listening, Protection, Role},
    settings::{self, Secret, SettingsError},
};
use supervisor::{
    Lines, ReplaceOutcome, SupervisorConfig, SupervisorEnd,
    layout::{WantedSize, health_port, memory_size},
};

use crate::exit::{CommandOutcome, print_line};

pub(crate) mod env_file;
pub(crate) mod programs;

/// The command's name.
pub(crate) const COMMAND: &str = "up";

/// Settings of the supervisor. The settings of the coordinator and the workers come from the environment.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "All other settings of the coordinator and the workers come from the environment, or from .env in the working \
                  directory; the environment wins. SIGTERM or Ctrl-C: workers hand off or keep their sessions, then everything stops; a \
                  second signal kills. SIGHUP does what --replace does, with the program file that was started; on a terminal it stops the fleet.\n\
                  Exit codes: 0 stopped; 2 wrong setting; 78 Discord refused the token."
)]
pub(crate) struct UpArgs {
    /// Folder for the state: the lock, the control socket, Redis's data [default: $XDG_STATE_HOME/altergolden, else
    /// ~/.local/state/altergolden]
    #[arg(long, env = "STATE_DIRECTORY", value_name = "FOLDER")]
    state: Option<PathBuf>,

    /// Number of workers [default: one for each core, but no more than shards]
    #[arg(long, env = "CLUSTER_COUNT", value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=i64::from(supervisor::layout::MOST_WORKERS)))]
    cluster_count: Option<u16>,

    /// Number of shards, or `auto` for what Discord recommends plus SHARD_BUFFER [default: auto]
    #[arg(long, env = "SHARD_COUNT", value_name = "NUMBER|auto")]
    shard_count: Option<String>,

    /// Maximum number of shards of each worker; without CLUSTER_COUNT there are as many workers as this needs
    #[arg(long, env = "SHARDS_PER_CLUSTER", value_name = "NUMBER")]
    shards_per_cluster: Option<String>,

    /// Health port of worker 0; worker i > 0 gets this + i + 1 (3000, 3002, 3003, ...); 0 takes free ones [default: 3000]
    #[arg(long, env = "HEALTH_PORT", value_name = "PORT")]
    health_port: Option<u16>,

    /// Health port of the coordinator; 0 takes a free one [default: 3001]
    #[arg(long, env = "MANAGER_HEALTH_PORT", value_name = "PORT")]
    manager_health_port: Option<u16>,

    /// Address of the gRPC server of the coordinator; port 0 takes a free one [default: 127.0.0.1:50051]
    #[arg(long, env = "COORDINATOR_LISTEN", value_name = "HOST:PORT")]
    coordinator_listen: Option<SocketAddr>,

    /// Wait before a program that ended is restarted; it doubles up to 1m, and is reset after 1m without an exit
    #[arg(long, env = "SHARD_RESPAWN_DELAY", value_name = "DURATION", default_value = "500ms", value_parser = settings::duration)]
    shard_respawn_delay: Duration,

    /// How long a program may take until it serves, a worker until it is registered, and how long a program that serves may not answer;
    /// then it is killed and restarted
    #[arg(long, env = "SHARD_SPAWN_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = settings::duration)]
    shard_spawn_timeout: Duration,

    /// Memory of a worker above which it is replaced: its replacement starts, then it hands off its shards. `2G`, `500M`, bytes
    #[arg(long, env = "MAX_MEMORY_RESTART", value_name = "SIZE", value_parser = memory_size)]
    max_memory_restart: Option<u64>,

    /// The bot: a program built on the library gateway-worker; by default workers run no bot code
    #[arg(long, env = "WORKER_PROGRAM", value_name = "FILE")]
    worker_program: Option<PathBuf>,

    /// Start a simulated Discord too, and connect to it; its settings are discord-sim's, such as SIM_GUILDS
    #[arg(long)]
    simulate: bool,

    /// Address of the simulated Discord; port 0 takes a free one
    #[arg(
        long,
        env = "SIM_LISTEN",
        hide_short_help = true,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:3900"
    )]
    sim_listen: SocketAddr,

    /// Replace the running supervisor of this state folder by this program, then its coordinator and its workers one by one
    ///
    /// The running supervisor keeps its pid and its flags. Exit code 0 when everything is replaced, 1 when not, 3 when no supervisor
    /// runs.
    #[arg(long)]
    replace: bool,

    /// Check the settings and exit
    #[arg(long, hide_short_help = true)]
    check: bool,
}

/// Runs the fleet until it is told to stop.
pub(crate) async fn run(args: UpArgs) -> CommandOutcome {
    if args.replace && !args.check && !supervisor::is_replacement() {
        return replace(&args).await;
    }
    let check = args.check;
    let config = match args.into_config() {
        Ok(config) => config,
        Err(outcome) => return outcome,
    };
    if check {
        return supervisor::check_handover()
            .map_or_else(CommandOutcome::failed, |()| CommandOutcome::success());
    }
    match supervisor::run(config).await {
        SupervisorEnd::Stopped => CommandOutcome::success(),
        SupervisorEnd::Killed => CommandOutcome::killed(),
        SupervisorEnd::WrongSetting(line) => CommandOutcome::wrong_setting(line),
        SupervisorEnd::TokenRefused(line) => CommandOutcome::refused_token(line),
        SupervisorEnd::Failed(line) => CommandOutcome::failed(line),
    }
}

/// Has the running supervisor replaced by this program.
async fn replace(args: &UpArgs) -> CommandOutcome {
    let (state, program) = match (args.state_folder(), own_program()) {
        (Ok(state), Ok(program)) => (state, program),
        (Err(outcome), _) | (_, Err(outcome)) => return outcome,
    };
    match supervisor::request_replace(&state, &program, |line| print_line(line)).await {
        ReplaceOutcome::Done(0, line) => {
            print_line(line);
            CommandOutcome::success()
        }
        ReplaceOutcome::Done(_, line) => CommandOutcome::failed(line),
        ReplaceOutcome::NotRunning(error) => CommandOutcome::unreachable(format!(
            "no supervisor runs on {} ({error}): start one with `altergolden up`, or name its folder (--state)",
            state.display()
        )),
        ReplaceOutcome::Lost(why) => {
            CommandOutcome::failed(format!("the outcome is not known: {why}; look at its log"))
        }
    }
}

/// Returns the state folder that is `given`, by a flag or by systemd, or else the usual one. `None`: HOME is not set.
pub(crate) fn state_folder(given: Option<&Path>) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd separates several folders by colons.
    let given = given.filter(|state| !state.as_os_str().is_empty());
    let given = given.map(|state| match state.to_str().and_then(|text| text.split_once(':')) {
        Some((first, _)) => PathBuf::from(first),
        None => state.to_owned(),
    });
    given.or_else(|| {
        let base = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
        Some(base.join("altergolden"))
    })
}

/// Returns the URL of the Redis that a running `altergolden up` has started, for commands without a REDIS_URL.
pub(crate) fn running_redis() -> Option<Secret> {
    let state = state_folder(std::env::var_os("STATE_DIRECTORY").as_deref().map(Path::new))?;
    supervisor::redis_server::running_url(&state)
}

/// Returns the file of this program, by the name that it was started by.
fn own_program() -> Result<PathBuf, CommandOutcome> {
    let file = std::env::current_exe()
        .map_err(|error| CommandOutcome::failed(format!("cannot find the file of this program: {error}")))?;
    let named = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(as_named(file, &named, std::env::split_paths(&path)))
}

/// Returns the path by which `named` leads to `file`, or `file` if it does not. A symbolic link stays one: it may lead to a newer file when
/// the program is replaced.
fn as_named(file: PathBuf, named: &Path, mut folders: impl Iterator<Item = PathBuf>) -> PathBuf {
    let leads_there = |path: &PathBuf| std::fs::canonicalize(path).is_ok_and(|leads_to| leads_to == file);
    let by_name = if named.components().count() > 1 {
        std::path::absolute(named).ok().filter(leads_there)
    } else {
        folders.find_map(|folder| Some(folder.join(named)).filter(leads_there))
    };
    by_name.unwrap_or(file)
}

/// Checks that a file can be run.
fn check_program(file: &Path) -> Result<PathBuf, String> {
    let problem = |error: std::io::Error| format!("cannot find {}: {error}", file.display());
    let found = std::fs::canonicalize(file).map_err(problem)?;
    let metadata = found.metadata().map_err(problem)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!(
            "{} is not an executable file: chmod +x it, or name the program",
            file.display()
        ));
    }
    Ok(found)
}

impl UpArgs {
    fn state_folder(&self) -> Result<PathBuf, CommandOutcome> {
        let folder = state_folder(self.state.as_deref()).ok_or_else(|| {
            CommandOutcome::wrong_setting(
                "--state (STATE_DIRECTORY): is not set, and neither is HOME, which the default needs; set one of them",
            )
        })?;
        std::path::absolute(&folder)
            .map_err(|error| CommandOutcome::wrong_setting(format!("--state {}: {error}", folder.display())))
    }

    /// The coordinator's settings, from the flags that it has too and the environment.
    fn coordinator(&self) -> Result<CoordinatorArgs, CommandOutcome> {
        let mut flags = vec!["coordinator".to_owned()];
        flags.extend(self.shard_count.as_ref().map(|count| format!("--shard-count={count}")));
        flags.extend(self.manager_health_port.map(|port| format!("--manager-health-port={port}")));
        flags.extend(self.coordinator_listen.map(|address| format!("--coordinator-listen={address}")));
        CoordinatorArgs::try_parse_from(flags).map_err(CommandOutcome::wrong_flag)
    }

    /// A worker's settings.
    fn worker(&self) -> Result<WorkerArgs, CommandOutcome> {
        let mut flags = vec!["gateway-worker".to_owned()];
        flags.extend(self.shards_per_cluster.as_ref().map(|each| format!("--shards-per-cluster={each}")));
        flags.extend(self.health_port.map(|port| format!("--health-port={port}")));
        WorkerArgs::try_parse_from(flags).map_err(CommandOutcome::wrong_flag)
    }

    fn into_config(self) -> Result<SupervisorConfig, CommandOutcome> {
        let (coordinator, worker) = (self.coordinator()?, self.worker()?);
        let refuse = |setting: &'static str, problem: String| {
            CommandOutcome::wrong_setting(SettingsError::new(setting, problem))
        };
        if !self.simulate {
            let token = settings::discord_token().map_err(CommandOutcome::wrong_setting)?;
            if token.is_none() {
                let problem = "is not set; set it or DISCORD_TOKEN_FILE, or try `altergolden up --simulate`";
                return Err(refuse("DISCORD_TOKEN", problem.to_owned()));
            }
            settings::required_token(token).map_err(CommandOutcome::wrong_setting)?;
        }
        let own_redis = !coordinator.store.is_named();
        if !own_redis {
            coordinator.store.url().map_err(CommandOutcome::wrong_setting)?;
        }
        let (shards, shard_count) = match coordinator.shard_count {
            ShardCount::Auto => (None, "auto".to_owned()),
            ShardCount::Fixed(shards) => (Some(shards), shards.to_string()),
        };
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let wanted = WantedSize {
            shards,
            shards_per_worker: worker.shards_per_cluster,
            workers: self.cluster_count,
            cores,
        };
        let size = wanted.decide().map_err(CommandOutcome::wrong_setting)?;
        if health_port(worker.health_port, size.workers - 1).is_none() {
            let problem = format!(
                "{} is too high: each of {} workers needs a port above it",
                worker.health_port, size.workers
            );
            return Err(refuse("--health-port (HEALTH_PORT)", problem));
        }
        if worker.worker_listen.port() != 0 {
            let problem = "each worker has a port of its own: use port 0".to_owned();
            return Err(refuse("WORKER_LISTEN", problem));
        }
        let worker_program = self.worker_program.as_ref().map(|program| {
            check_program(program).map_err(|problem| refuse("--worker-program (WORKER_PROGRAM)", problem))
        });
        let mut variables = vec![
            ("SHARD_COUNT".to_owned(), shard_count),
            ("HEALTH_LISTEN_HOST".to_owned(), worker.health_listen_host.to_string()),
        ];
        variables.extend(
            worker.shards_per_cluster.map(|each| ("SHARDS_PER_CLUSTER".to_owned(), each.to_string())),
        );
        let on_terminal = std::io::stderr().is_terminal();
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        // The address of a worker on this host is on the loopback unless the settings say otherwise.
        let worker_host = if worker.worker_listen.ip().is_unspecified() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            worker.worker_listen.ip()
        };
        let prefix = coordinator.store.redis_prefix.as_str();
        let port = coordinator.coordinator_listen;
        let port = Listening {
            setting: "--coordinator-listen (COORDINATOR_LISTEN)",
            address: port,
            protection: Protection::Credentials,
        };
        let credentials = coordinator
            .access
            .open(prefix, Role::Supervisor, &[port])
            .map_err(CommandOutcome::wrong_setting)?;
        Ok(SupervisorConfig {
            credentials,
            state: self.state_folder()?,
            program: own_program()?,
            args: std::env::args_os().skip(1).collect(),
            file_variables: env_file::variables(),
            worker_program: worker_program.transpose()?,
            variables,
            coordinator: coordinator.coordinator_listen,
            health_host: worker.health_listen_host,
            manager_health_port: coordinator.manager_health_port,
            health_port: worker.health_port,
            worker_host,
            rest: (worker.rest.rest_listen.port() != 0).then_some(worker.rest.rest_listen),
            size,
            respawn_delay: self.shard_respawn_delay,
            spawn_within: self.shard_spawn_timeout,
            drain_within: worker.drain_timeout,
            max_memory: self.max_memory_restart,
            simulator: self.simulate.then_some(self.sim_listen),
            own_redis,
            lines: if on_terminal { Lines::Prefixed { colour } } else { Lines::Unchanged },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_this_program_stay_links() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::canonicalize(folder.path()).unwrap().join("releases-1");
        std::fs::write(&file, "").unwrap();
        let link = folder.path().join("current");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let as_named =
            |named: &str| as_named(file.clone(), Path::new(named), [folder.path().to_owned()].into_iter());
        assert_eq!(as_named(link.to_str().unwrap()), link);
        assert_eq!(as_named("current"), link, "found in PATH");
        assert_eq!(as_named("another"), file);
        assert_eq!(as_named("/nonexistent/current"), file);
    }
}

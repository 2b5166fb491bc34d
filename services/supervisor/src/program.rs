//! The programs of a fleet: their names, and the commands that start them.

use std::{
    net::{IpAddr, SocketAddr},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use process::{credentials::Credentials, settings::Secret};
use serde::{Deserialize, Serialize};

use crate::{layout::health_port, notify, slot::NameSide};

/// Set in the environment of the next image of the supervisor.
pub(crate) const HANDOVER: &str = "ALTERGOLDEN_UP_HANDOVER";

/// A place in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// The simulated Discord.
    Simulator,
    /// The coordinator.
    Coordinator,
    /// A worker, by its number.
    Worker(u16),
}

impl Kind {
    /// The name of a run in logs; a worker's is also its name in the fleet.
    pub(crate) fn name(self, side: NameSide) -> String {
        match self {
            Self::Simulator => "discord-sim".to_owned(),
            Self::Coordinator => "coordinator".to_owned(),
            Self::Worker(number) => match side {
                NameSide::A => format!("worker-{number}"),
                NameSide::B => format!("worker-{number}b"),
            },
        }
    }
}

/// What the programs are started with. Their other settings come from the environment.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The program that all of the platform's programs are in.
    pub(crate) own: PathBuf,
    /// The bot's own worker.
    pub(crate) worker: Option<PathBuf>,
    /// Settings that flags have set.
    pub(crate) variables: Vec<(String, String)>,
    /// Address of the coordinator's gRPC server.
    pub(crate) coordinator: SocketAddr,
    /// Health port of the coordinator.
    pub(crate) manager_health_port: u16,
    /// Health port of worker 0.
    pub(crate) health_port: u16,
    /// Address that workers' gRPC servers are bound to.
    pub(crate) worker_host: IpAddr,
    /// The Redis that the supervisor started.
    pub(crate) redis: Option<Secret>,
    /// Address of the simulated Discord.
    pub(crate) simulator: Option<SocketAddr>,
    /// What the supervisor proves to the coordinator.
    pub(crate) credentials: Credentials,
}

/// The file of the program that runs, even after another one was installed in its place.
pub(crate) fn running_program(path: &Path) -> PathBuf {
    let link = Path::new("/proc/self/exe");
    if link.exists() { link.to_owned() } else { path.to_owned() }
}

impl Programs {
    /// URL at which this host reaches the coordinator.
    pub(crate) fn coordinator_url(&self) -> String {
        format!("{}://{}", self.credentials.scheme(), reachable(self.coordinator))
    }

    /// The command of a run.
    pub(crate) fn command(&self, kind: Kind, side: NameSide) -> Command {
        let mut command = match (kind, &self.worker) {
            (Kind::Worker(_), Some(program)) => Command::new(program),
            (Kind::Worker(_), None) => self.own_program("gateway-worker"),
            (Kind::Coordinator, _) => self.own_program("coordinator"),
            (Kind::Simulator, _) => self.own_program("discord-sim"),
        };
        for variable in notify::VARIABLES.into_iter().chain([HANDOVER, "WORKER_ADVERTISE"]) {
            command.env_remove(variable);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(redis) = &self.redis {
            command.env("REDIS_URL", redis.expose()).env_remove("REDIS_PASSWORD_FILE");
        }
        if let Some(simulator) = self.simulator {
            // A real token must not be given to a simulator.
            command
                .env("DISCORD_TOKEN", "simulated")
                .env_remove("BOT_TOKEN")
                .env_remove("DISCORD_TOKEN_FILE");
            command.env("DISCORD_API_URL", format!("http://{}", reachable(simulator)));
            command.env_remove("DISCORD_GATEWAY_URL");
        }
        match kind {
            Kind::Simulator => {
                if let Some(simulator) = self.simulator {
                    command.env("SIM_LISTEN", simulator.to_string());
                }
            }
            Kind::Coordinator => {
                command
                    .env("COORDINATOR_LISTEN", self.coordinator.to_string())
                    .env("MANAGER_HEALTH_PORT", self.manager_health_port.to_string());
            }
            Kind::Worker(number) => {
                // Checked at the start for the first workers. An added worker without a port above theirs takes a free one.
                let port = health_port(self.health_port, number).unwrap_or_default();
                command
                    .env("COORDINATOR_URL", self.coordinator_url())
                    .env("WORKER_NAME", kind.name(side))
                    .env("WORKER_LISTEN", SocketAddr::new(self.worker_host, 0).to_string())
                    .env("HEALTH_PORT", port.to_string());
            }
        }
        command
    }

    fn own_program(&self, name: &str) -> Command {
        let mut command = Command::new(&self.own);
        command.arg0(name);
        command
    }
}

/// An address on this host of a server that listens on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

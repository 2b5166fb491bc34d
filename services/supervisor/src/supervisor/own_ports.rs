//! The fixed ports of a fleet, with the settings that name them.

use std::net::SocketAddr;

use super::SupervisorConfig;
use crate::{
    layout::{MOST_WORKERS, health_port},
    ports::WantedPort,
};

/// The ports that must be free.
pub(super) fn wanted_ports(config: &SupervisorConfig) -> Vec<WantedPort> {
    let mut wanted = held_ports(config);
    wanted.extend(config.simulator.map(|address| wanted_port(address, "--sim-listen (SIM_LISTEN)")));
    wanted
}

/// The ports whose programs share them with their replacements, and so with the supervisor.
pub(super) fn held_ports(config: &SupervisorConfig) -> Vec<WantedPort> {
    let health = |port| SocketAddr::new(config.health_host, port);
    let mut wanted = vec![
        wanted_port(config.coordinator, "--coordinator-listen (COORDINATOR_LISTEN)"),
        wanted_port(health(config.manager_health_port), "--manager-health-port (MANAGER_HEALTH_PORT)"),
    ];
    for worker in 0..config.size.workers.min(MOST_WORKERS) {
        let number = health_port(config.health_port, worker).unwrap_or_default();
        wanted.push(wanted_port(health(number), &format!("--health-port (HEALTH_PORT), worker {worker}")));
    }
    wanted.extend(config.rest.map(|address| wanted_port(address, "--rest-listen (REST_LISTEN)")));
    wanted
}

fn wanted_port(address: SocketAddr, setting: &str) -> WantedPort {
    WantedPort { address, setting: setting.to_owned() }
}

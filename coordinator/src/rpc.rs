//! The coordinator's gRPC services.

use altergolden_proto::v1::{coordinator_server, fleet_server};

mod coordinator_service;
mod fleet_service;
mod history;
mod plans;
mod set_aside;
mod tap;
#[cfg(test)]
mod tests;
mod why;

pub(crate) use coordinator_service::CoordinatorService;
pub(crate) use fleet_service::FleetService;
pub(crate) use why::guild_reason;

/// The server for workers and their supervisors.
pub(crate) type CoordinatorServer = coordinator_server::CoordinatorServer<CoordinatorService>;
/// The server for operators.
pub(crate) type FleetServer = fleet_server::FleetServer<FleetService>;

//! The coordinator's gRPC services.

use altergolden_proto::v1::{coordinator_server, fleet_server};

mod coordinator_service;
mod fleet_service;
mod plans;
mod set_aside;
#[cfg(test)]
mod tests;

pub(crate) use coordinator_service::CoordinatorService;
pub(crate) use fleet_service::FleetService;

/// The server for workers and their supervisors.
pub(crate) type CoordinatorServer = coordinator_server::CoordinatorServer<CoordinatorService>;
/// The server for operators.
pub(crate) type FleetServer = fleet_server::FleetServer<FleetService>;

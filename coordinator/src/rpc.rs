//! The coordinator's gRPC services.

mod coordinator_service;
mod fleet_service;
mod plans;
mod set_aside;
#[cfg(test)]
mod tests;

pub(crate) use coordinator_service::CoordinatorService;
pub(crate) use fleet_service::FleetService;

//! The coordinator's gRPC services.

mod advertised;
mod coordinator_service;
pub(crate) mod dial_back;
#[cfg(test)]
mod double;
mod fleet_service;
mod plans;
mod set_aside;
#[cfg(test)]
mod tests;

pub(crate) use coordinator_service::CoordinatorService;
pub(crate) use fleet_service::FleetService;

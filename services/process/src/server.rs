//! The listening ports of every process: gRPC, health and the REST proxy.
//!
//! Owns the accept loop ([`Listener`]), the limits of a connection ([`Connection`]) and the two ways to serve: [`serve_grpc`]
//! and [`serve_http1`]. Clients that stay silent, send or read slowly, or open too many connections are disconnected, so that the
//! port's other clients are served. The caller supplies the answers.

mod accepted;
mod connection;
mod descriptors;
mod grpc;
mod http1;
mod large_buffers;
mod listener;
mod local_host;
mod places;
#[cfg(test)]
mod tests;
mod wire;

pub use accepted::Accepted;
pub use connection::Connection;
pub use descriptors::{descriptors_exhausted, raised_descriptor_limit};
pub use grpc::serve_grpc;
pub use http1::{Http1, serve_http1};
pub use listener::{Limits, Listener};
pub use local_host::is_for_localhost;
pub(crate) use places::{Proof, ValidToken};
pub(crate) use wire::Wire;

//! The listening ports of every process: gRPC, health and the REST proxy.
//!
//! Owns the accept loop ([`Listener`]), the limits of a connection ([`Connection`]) and the two ways to serve:
//! [`grpc_server`] and [`serve_http1`]. A client that opens connections and says nothing, sends slowly, reads slowly, or opens
//! too many is cut off, and the other clients of the port are served meanwhile. What is answered, the caller decides.

mod connection;
mod descriptors;
mod grpc;
mod http1;
mod listener;
#[cfg(test)]
mod tests;

pub use connection::Connection;
pub use descriptors::descriptors_exhausted;
pub use grpc::grpc_server;
pub use http1::{Http1, serve_http1};
pub use listener::{Limits, Listener};

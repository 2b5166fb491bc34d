//! What every program of the platform has around its own work.
//!
//! - [`settings`]: the syntax of tokens, addresses and durations, flags that several programs share, exit codes;
//! - [`telemetry`]: logs, traces, metrics, and the HTTP endpoints for probes and scrapes;
//! - [`server`]: listening ports with bounds and deadlines, and the gRPC server;
//! - [`credentials`]: certificates, tokens, and which roles may make which call;
//! - [`client`]: outgoing gRPC connections;
//! - [`life`]: incarnations, and the proof that the process of one has ended;
//! - [`supervised`]: the connection to a supervisor, if one has started the program;
//! - [`OwnThreads`]: threads for work that must not delay the rest;
//! - [`block_on`], [`run_service`] and [`run_main`]: the frame of a `main` function.
//!
//! Knows nothing of shards, workers and Discord's protocol. Programs and libraries above it pass in their flags, their
//! services and what they report.

pub mod client;
mod coalesced;
pub mod credentials;
pub mod life;
mod run_main;
pub mod server;
pub mod settings;
mod signal;
pub mod supervised;
pub mod telemetry;
mod threads;

pub use run_main::{ExitError, block_on, run_main, run_service};
pub use signal::stop_on_signal;
pub use threads::OwnThreads;

//! A worker with bot code over real sockets: a coordinator and the simulated Discord in the same process, stores in memory.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod bench;
mod gaps;
mod handlers;
mod messages;
mod set_aside;
mod silence;
mod singleton;

//! A worker with bot code over real sockets: a coordinator and the simulated Discord in the same process, stores in memory.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod addresses;
mod backoff;
mod bench;
mod cached;
mod commands;
mod compression;
mod directives;
mod doubts;
mod gaps;
mod handlers;
mod hints;
mod messages;
mod odd_gateway;
mod relay;
mod rest;
mod set_aside;
mod signed_heads;
mod silence;
mod singleton;

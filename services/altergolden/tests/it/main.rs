//! The whole platform: real processes, real Redis, real sockets, and discord-sim, which notes every broken rule.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod cli;
mod command_line;
mod dev_mode;
mod exits;
mod faults;
mod formats;
mod numbers;
mod plans;
mod ports;
mod settings;
mod tour;
mod traces;

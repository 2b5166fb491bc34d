//! Runs the programs of a fleet on one host as processes, and restarts them: the library behind `altergolden up`.
//!
//! Starts programs as processes, never as libraries: it knows their settings, their exit codes, and what they report over a socket
//! ([`process::supervised`]). [`Slot`] decides what becomes of one place in the fleet: pure, with the time as an argument. The
//! [supervisor](run) owns the slots and carries their decisions out.
//!
//! - [`run`]: the whole fleet, until the process is told to stop;
//! - [`layout`]: how many workers run, and on which ports;
//! - [`redis_server`]: the Redis that the supervisor starts when there is no other;
//! - [`notify`]: what the service manager is told;
//! - [`request_replace`]: how another process has a supervisor replaced.

#![cfg(unix)]

mod child;
mod control;
mod fleet_watch;
mod handover;
mod identity;
mod kept_signals;
pub mod layout;
pub mod notify;
mod output;
mod ports;
mod program;
pub mod redis_server;
mod slot;
mod state_folder;
mod supervisor;

pub use control::{ReplaceOutcome, request_replace};
pub use handover::check_handover;
pub use kept_signals::keep_signals;
pub use output::Lines;
pub use slot::{Effect, Ended, KillReason, NameSide, Role, RunId, Slot, SlotPolicy};
pub use supervisor::{CHECK_FLAG, SupervisorConfig, SupervisorEnd, is_replacement, run};

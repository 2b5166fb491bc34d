//! Asks Discord's gateway, with the token of a test bot, what the fleet assumes about it and Discord does not document: the order of
//! keys, what RESUME does beside an open socket, after a broken one and after a long wait, whether two sessions of one shard get the
//! same bytes in the same order, and whether an IDENTIFY within 5 s is refused.
//!
//! [`frame`] reads a payload, [`connection`] is a bare gateway connection, [`budget`] counts and spaces IDENTIFYs, [`probe`] runs the
//! steps and notes what happened, [`judge`] compares the notes with the assumptions, [`report`] is the result. `frame`, `budget` and
//! `judge` are pure. The crate shares no code with the worker's gateway client or with discord-sim: a mistake in one of them must not
//! hide itself here.
//!
//! Every wait is bounded, every connection is closed at the end, and no more IDENTIFYs are sent than [`MOST_IDENTIFIES`].

mod address;
mod budget;
mod connection;
mod frame;
mod judge;
mod probe;
mod report;

pub use address::ProbeAddress;
pub use budget::MOST_IDENTIFIES;
pub use probe::{PLANNED_IDENTIFIES, ProbeError, ProbeSettings, planned_time, run};
pub use report::{Check, CheckResult, Identifies, ProbeReport};

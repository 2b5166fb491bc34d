//! Faults by a seeded schedule against a whole fleet under load, and the proof that nothing was lost.
//!
//! [`schedule`] says which fault happens when, from a seed; [`fleet`] is what they happen to, real processes with a proxy on
//! each link; [`run`](mod@run) plays the one against the other; [`ledger`] compares what discord-sim dispatched with what the handlers
//! of `ledger-bot` [wrote down](mod@line). `schedule` and `ledger` are pure.

pub mod fleet;
pub mod ledger;
pub mod line;
mod relayed;
pub mod run;
pub mod schedule;

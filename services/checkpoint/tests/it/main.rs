//! The store's contract over every store there is, and what is left when a writer dies.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod contract;
mod crash_points;

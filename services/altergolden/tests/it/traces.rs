//! Traces over all processes: what the processes export is collected here.

pub(crate) mod collector;
mod environment;
mod interactions;
mod moves;
mod queries;

//! Bots in other languages, as real processes with what they need: Redis, discord-sim, a coordinator, workers. They are red where
//! they can't run, and so is a client that tsc does not take.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod node;
mod typescript_client;

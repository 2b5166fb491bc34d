//! Bots in other languages, as real processes with what they need: Redis, discord-sim, a coordinator, workers. They are red where
//! they can't run, and so is code that tsc does not take.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod discord;
mod discordjs_bot;
mod node;
mod relay;
mod relayed;
mod typescript_client;

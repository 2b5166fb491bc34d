//! Bots in other languages as real processes, with Redis, discord-sim, a coordinator and workers. The tests fail if the programs cannot
//! run or tsc rejects their code.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod credentials;
mod dev;
mod discord;
mod discordjs_bot;
mod node;
mod relay;
mod relayed;
mod typescript_client;

//! A stand-in for Discord, REST and gateway, that keeps its rules strictly.
//!
//! It is what `altergolden dev` runs against without a token, and what tests and load runs are judged by: every rule that a
//! client breaks is answered as Discord answers it and noted as a [`Violation`], and the ledger tells which
//! sequences were sent to which connection, so that a test can prove that nothing was lost or repeated.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use discord_sim::{Fault, Sim, SimConfig};
//!
//! let sim = Sim::start(SimConfig { guilds: 50, ..SimConfig::default() }).await?;
//! println!("REST at {}/api/v10, gateway at {}", sim.http_origin(), sim.gateway_url());
//! sim.control().inject(Fault::Reconnect { shards: None })?;
//! assert!(sim.control().violations().items.is_empty());
//! sim.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Rules with their sources and tests, what it does where Discord is silent, and what it does not do are in
//! `docs/discord-sim.md`; how to test a bot with it is in `docs/testing-a-bot.md`. What Discord leaves open is a
//! [switch](Switches).
//!
//! # Where things are
//!
//! [`world`] is what exists, pure and from a seed; [`hub`] is the shared state, with one lock; [`session`] is one gateway
//! session; [`gateway`] has the connections, [`odd`] is how they break the rules, [`rest`] the REST API, [`control`] what a test asks and tells.

mod config;
mod control;
mod event;
mod fault_error;
mod faults;
mod gateway;
mod hub;
mod identify;
mod intents;
mod ledger;
mod net;
mod odd;
mod presets;
mod profile;
mod protocol;
mod report;
mod request;
mod rest;
mod schedule;
mod server;
mod session;
mod shard;
mod shared;
mod sim;
mod switches;
mod window;
mod world;

pub use config::{ConfigError, SimConfig};
pub use control::Control;
pub use fault_error::FaultError;
pub use faults::{Fault, FaultOutcome, FaultRecord, LimitScope, NewInteraction, NewPreset};
pub use intents::Intents;
pub use odd::{Action, Address, Edit, Moment, Oddity, OddityReport, Patch, RestAnswer, Script};
pub use profile::Profile;
pub use report::{
    AskedRecord, CallerReport, CommandReport, ConnectionReport, Delivery, Dispatched, GuildReport,
    GuildState, IdentifyRecord, InteractionReport, InteractionState, LedgerReport, Listed, MessageReport,
    PresetReport, RequestCount, RequestsReport, SentTo, SequenceReport, SessionReport, SessionsReport,
    ShardReport, StatsReport, Totals, UserReport, Violation, ViolationKind,
};
pub use schedule::{FaultKind, Schedule};
pub use shard::Shard;
pub use sim::{Sim, StartError};
pub use switches::{ResumeWhileOpen, Switches};
pub use world::Snowflake;

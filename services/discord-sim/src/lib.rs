//! A simulator of Discord's REST API and gateway that enforces Discord's rules.
//!
//! `altergolden dev` uses it when there is no token, and tests and load runs use it as their judge. It answers each broken rule as
//! Discord does and records it as a [`Violation`]. The ledger records which sequences were sent to which connection, so a test can
//! prove that no event was lost or repeated.
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
//! `docs/discord-sim.md` lists the rules with their sources and tests, the choices where Discord documents nothing, and the limits of
//! the simulator. `docs/testing-a-bot.md` shows how to test a bot with it. Behaviour that Discord does not document is a
//! [switch](Switches).
//!
//! # Modules
//!
//! [`world`] generates guilds, channels and users from a seed. [`hub`] holds the shared state behind one lock, and [`session`] is one
//! gateway session. [`gateway`] runs connections, [`odd`] holds the oddities, [`rest`] is the REST API, and [`control`] the control
//! API.

mod args;
mod config;
mod control;
mod event;
mod fault_error;
mod faults;
#[cfg(test)]
mod fuzzing;
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

pub use args::SimArgs;
pub use config::{ConfigError, ShapeGuild, SimConfig};
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

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
//! # Choices where Discord is silent
//!
//! - RESUMED takes a sequence number and stays in the replay buffer.
//! - A RESUME while the session's last connection is open takes over: the old one is closed with 4000.
//! - An IDENTIFY that came too soon gets op 9 at once, eats daily budget and does not shut its bucket for longer.
//! - Over the daily budget all sessions end and every token is refused until
//!   [`Fault::RejectToken`] is switched off.
//! - A client silent for twice the heartbeat interval is closed with 4009; its session can be resumed.
//! - `voice_states` of GUILD_CREATE need GUILD_VOICE_STATES.
//! - Of a channel that the bot can't see GUILD_CREATE keeps `id`, `type`, `position` and `parent_id`; what else can be null
//!   is null, and numbers are those of a new channel.
//! - What REST chooses is listed in `docs/discord-sim.md`.
//! - A reader that is a whole replay buffer behind is closed with 4000 and can't resume from where it is.
//!
//! Requests for members, presence and voice updates are accepted and have no effect yet.

mod config;
mod control;
mod event;
mod faults;
mod gateway;
mod hub;
mod identify;
mod intents;
mod ledger;
mod net;
mod profile;
mod report;
mod request;
mod rest;
mod schedule;
mod server;
mod session;
mod shard;
mod sim;
mod switches;
mod window;
mod world;

pub use config::{ConfigError, SimConfig};
pub use control::Control;
pub use faults::{Fault, FaultError, FaultOutcome, LimitScope, NewInteraction};
pub use intents::Intents;
pub use profile::Profile;
pub use report::{
    CallerReport, CommandReport, ConnectionReport, Delivery, Dispatched, FaultRecord, GuildReport,
    GuildState, IdentifyRecord, InteractionReport, InteractionState, LedgerReport, Listed, MessageReport,
    RequestCount, RequestsReport, SentTo, SequenceReport, SessionReport, SessionsReport, ShardReport,
    StatsReport, Totals, UserReport, Violation, ViolationKind,
};
pub use schedule::{FaultKind, Schedule};
pub use shard::Shard;
pub use sim::{Sim, StartError};
pub use switches::{ResumeWhileOpen, Switches};
pub use world::Snowflake;

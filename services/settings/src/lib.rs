//! Settings that every process reads alike.
//!
//! Owns how a token, an address, a duration or a Discord origin is written, and the exit codes of a wrong one. Each
//! process has its own list of flags; what several share is a group here. Nothing is bound or dialled before all of a
//! process's settings are known to be good.

mod command_line;
mod discord;
mod exit;
mod relay;
mod secret;
mod signal;
mod store;
mod value;

pub use self::relay::{RelayArgs, RelayKind};
pub use command_line::{one_line, parse};
pub use discord::{ApiOrigin, DiscordArgs, GatewayUrl};
pub use exit::{Exit, SettingsError};
pub use secret::{Secret, discord_token, read_secret};
pub use signal::stop_on_signal;
pub use store::StoreArgs;
pub use value::{default_worker_name, duration, incarnation_nonce, metrics_prefix};

//! Settings that all processes share.
//!
//! Owns the syntax of tokens, addresses, durations and Discord origins, and the exit codes of invalid ones. Each process
//! has its own list of flags; flags that several processes share are a group here. No port is bound and no peer is dialled
//! before all settings of a process are valid.

mod command_line;
mod discord;
mod exit;
mod secret;
mod store;
mod value;
mod version;

pub use command_line::{one_line, parse};
pub use discord::{ApiOrigin, DiscordArgs, GatewayUrl};
pub use exit::{Exit, SettingsError};
pub use secret::{Secret, discord_token, discord_token_source, read_secret, required_token};
pub use store::StoreArgs;
pub use value::{default_worker_name, duration, metrics_prefix};
pub use version::long_version;

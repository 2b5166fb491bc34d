//! Connections to Redis: single, Sentinel or Cluster, by one URL.
//!
//! Owns how Redis is reached: parsing the URL without ever showing its password, connecting, reconnecting with
//! back-off, and a deadline on every command. Knows nothing of what is written there: `fleet-store` and `event-bus` do.
//!
//! `rediss://` uses rustls with the process's one crypto provider, which a `main` installs; where none is, ring.

mod answer;
pub mod backoff;
mod connect;
mod error;
mod link;
mod options;
mod prefix;
mod repair;
mod script;
mod server;
mod url;

pub use answer::{RecordError, ScriptAnswer};
pub use error::LinkError;
pub use link::RedisLink;
pub use options::LinkOptions;
pub use prefix::{InvalidPrefix, KeyPrefix};
pub use repair::{FieldRule, FieldValue, InvalidPart, RecordRule};
pub use script::Script;
pub use url::{InvalidRedisUrl, RedisUrl};

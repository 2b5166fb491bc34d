//! Credentials of this process, and what its callers may do.
//!
//! A process with a credentials file proves its [`Role`] by a certificate to other members of the fleet (mutual TLS 1.3), and decides by
//! one table ([`calls`]) which roles may make which call. Bots and operators may send a bearer token over TLS in place of a certificate.
//! The file is read again when its content changes; a connection keeps what it began with.
//!
//! Without a file every call is allowed, as on a loopback port that only this machine reaches.

mod access;
mod access_list;
mod caller;
pub mod calls;
mod client_facing;
mod ending;
mod files;
#[cfg(test)]
mod fuzzing;
mod identity;
mod loaded;
mod plain;
mod reload;
mod security;
mod settings;
mod shared;
#[cfg(test)]
mod tests;

pub use access::AccessLayer;
pub use access_list::{AccessList, AccessListError, TokenHash};
pub use caller::{Caller, Peer};
pub use client_facing::ClientFacingCertificate;
pub(crate) use ending::Ending;
pub use files::{ACCESS_LIST, CredentialsError, HEAD_KEY_TAG};
pub use identity::{ANY_NAME, FleetName, Identity, Role, dns_name, uri};
pub use loaded::Protocol;
pub use plain::PlainCallers;
pub use reload::EXPIRES_SOON_S;
pub use security::PortSecurity;
pub use settings::{ClientFacingArgs, CredentialsArgs, Listening, Protection};
pub use shared::{Credentials, Enforcement};

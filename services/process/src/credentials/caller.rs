//! The caller of a request, as the connection and the request prove it.

use std::{fmt, net::SocketAddr};

use super::Identity;
use crate::server::{Proof, ValidToken};

/// How a connection was made.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address of the other end.
    pub address: Option<SocketAddr>,
    /// Whether the other end is on this host: on the loopback, or at the address that it has connected to.
    pub is_on_this_host: bool,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// What the client's certificate says.
    pub certificate: Option<PeerCertificate>,
    /// Where the client has yet to prove who it is.
    pub(crate) proof: Option<Proof>,
}

impl Peer {
    /// A client without a certificate.
    pub fn without_certificate(address: Option<SocketAddr>, is_on_this_host: bool, is_tls: bool) -> Self {
        Self { address, is_on_this_host, is_tls, certificate: None, proof: None }
    }

    /// Notes that the client has shown the bot's token: its place at a client-facing port is its own.
    pub fn bot_token_shown(&self) {
        if let Some(proof) = &self.proof {
            proof.given(ValidToken::Bot);
        }
    }
}

/// A client's certificate that was verified.
#[derive(Clone, Debug)]
pub struct PeerCertificate {
    pub(super) identity: Identity,
    pub(super) serial: Vec<u8>,
}

/// Who makes a call: for checks beyond the role, logs and the history.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Caller {
    /// Proven by a certificate or a bearer token.
    pub identity: Option<Identity>,
    /// The address of the other end.
    pub address: Option<SocketAddr>,
}

impl fmt::Display for Caller {
    /// `operator/alice at 127.0.0.1:5000`, or what is known of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.identity, self.address) {
            (Some(identity), Some(address)) => write!(f, "{identity} at {address}"),
            (Some(identity), None) => write!(f, "{identity}"),
            (None, Some(address)) => write!(f, "{address}"),
            (None, None) => f.write_str("an unknown caller"),
        }
    }
}

impl Caller {
    /// Returns the caller of a request that passed [`super::AccessLayer`].
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        let known = request.extensions().get::<Self>().cloned();
        known.unwrap_or_else(|| Self { identity: None, address: request.remote_addr() })
    }

    /// Whether the caller may speak for this worker: its certificate is for any worker, or for this one, or it needs none.
    pub fn may_be_worker(&self, worker: &str) -> bool {
        self.identity
            .as_ref()
            .is_none_or(|identity| identity.name == super::ANY_NAME || identity.name == worker)
    }
}

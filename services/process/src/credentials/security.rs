//! How a port takes connections.

use std::sync::Arc;

use rustls::ServerConfig;

use super::{ClientFacingCertificate, Credentials, Protocol};

/// How a port takes connections.
#[derive(Clone, Debug)]
pub enum PortSecurity {
    /// With the credentials of this process, for members of the fleet, bots and operators.
    Fleet(Credentials),
    /// With a certificate of its own, for clients without certificates.
    Clients(ClientFacingCertificate),
}

impl PortSecurity {
    /// How TLS connections are taken; `None` if the port takes plain ones only.
    pub(crate) fn server(&self, protocol: Protocol) -> Option<Arc<ServerConfig>> {
        match self {
            Self::Fleet(credentials) => credentials.server(protocol),
            Self::Clients(certificate) => certificate.server(),
        }
    }

    /// Whether a client has to prove who it is, by a certificate or a token, before its place is its own.
    pub(crate) fn needs_proof(&self, is_on_this_host: bool) -> bool {
        match self {
            Self::Fleet(credentials) => credentials.is_enforced(),
            Self::Clients(_) => !is_on_this_host,
        }
    }

    /// The credentials that check clients' certificates.
    pub(crate) fn credentials(&self) -> Credentials {
        match self {
            Self::Fleet(credentials) => credentials.clone(),
            Self::Clients(_) => Credentials::none(),
        }
    }
}

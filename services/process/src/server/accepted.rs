//! A connection between its acceptance and its first request: with credentials, the TLS handshake.

use std::{io, net::SocketAddr};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{
    connection::{Connection, Deadlines, place_needed},
    places::Place,
    wire::Wire,
};
use crate::credentials::{Credentials, Peer, PortSecurity, Protocol};

/// First byte of a TLS connection: a record of the type handshake ([RFC 8446, 5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)). No
/// HTTP request begins with it.
const TLS_HANDSHAKE: u8 = 22;

/// A connection that a [`super::Listener`] has accepted.
#[derive(Debug)]
pub struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) place: Place,
    pub(super) deadlines: Deadlines,
}

impl Accepted {
    /// Address of the client.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the connection as it is.
    pub(crate) fn plain(self) -> Connection {
        let peer = self.peer_with(false);
        Connection::new(Wire::Plain(self.stream), peer, Credentials::none(), self.place, self.deadlines)
    }

    fn peer_with(&self, is_tls: bool) -> Peer {
        let ip = self.address.ip().to_canonical();
        let own = self.stream.local_addr().ok().map(|own| own.ip().to_canonical());
        let is_on_this_host = ip.is_loopback() || own == Some(ip);
        let peer = Peer::without_certificate(Some(self.address), is_on_this_host, is_tls);
        Peer { proof: self.place.proof(), ..peer }
    }

    /// Makes the TLS handshake if the client begins one and the port has a certificate. What a client without TLS may do, each request
    /// decides.
    ///
    /// # Errors
    /// The client does not finish the handshake in time, or has an invalid certificate; or its place is needed for another one.
    pub async fn secured(mut self, security: &PortSecurity, protocol: Protocol) -> io::Result<Connection> {
        if security.needs_proof(self.peer_with(false).is_on_this_host) {
            self.place.list_unproven(self.address.ip());
        }
        let Some(config) = security.server(protocol) else { return Ok(self.plain()) };
        let credentials = security.credentials();
        let ended = self.place.proof().map(|proof| proof.ended().clone()).unwrap_or_default();
        let within = self.deadlines.greeting_within;
        let securing = async {
            let mut first = [0];
            let is_tls = self.stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE;
            if !is_tls {
                return Ok(self.plain());
            }
            let peer = self.peer_with(true);
            let stream = TlsAcceptor::from(config).accept(self.stream).await?;
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificate = credentials.peer(chain).map_err(io::Error::other)?;
            if certificate.is_some() {
                self.place.proven();
            }
            let peer = Peer { certificate, proof: self.place.proof(), ..peer };
            let wire = Wire::Tls(Box::new(stream.into()));
            Ok(Connection::new(wire, peer, credentials, self.place, self.deadlines))
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the client did not finish the TLS handshake");
        tokio::select! {
            secured = timeout(within, securing) => secured.map_err(late)?,
            () = ended.cancelled() => Err(place_needed()),
        }
    }
}

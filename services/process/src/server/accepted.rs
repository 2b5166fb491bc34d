//! A connection between its acceptance and its first request: with credentials, the TLS handshake.

use std::{io, net::SocketAddr};

use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{
    connection::{Connection, Deadlines},
    wire::Wire,
};
use crate::credentials::{Credentials, Peer, Protocol};

/// First byte of a TLS connection: a record of the type handshake ([RFC 8446, 5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)). No
/// HTTP request begins with it.
const TLS_HANDSHAKE: u8 = 22;

/// A connection that a [`super::Listener`] has accepted.
#[derive(Debug)]
pub struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) place: OwnedSemaphorePermit,
    pub(super) deadlines: Deadlines,
}

impl Accepted {
    /// Returns the connection as it is.
    pub(crate) fn plain(self) -> Connection {
        let peer = Peer { address: Some(self.address), is_tls: false, certificate: None };
        Connection::new(Wire::Plain(self.stream), peer, Credentials::none(), self.place, self.deadlines)
    }

    /// Makes the TLS handshake if the client begins one and the process has credentials. What a client without TLS may do, each request
    /// decides.
    ///
    /// # Errors
    /// The client does not finish the handshake in time, or has an invalid certificate.
    pub(crate) async fn secured(
        self,
        credentials: &Credentials,
        protocol: Protocol,
    ) -> io::Result<Connection> {
        let Some(config) = credentials.server(protocol) else { return Ok(self.plain()) };
        let within = self.deadlines.greeting_within;
        let securing = async {
            let mut first = [0];
            let is_tls = self.stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE;
            if !is_tls {
                return Ok(self.plain());
            }
            let stream = TlsAcceptor::from(config).accept(self.stream).await?;
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificate = credentials.peer(chain).map_err(io::Error::other)?;
            let peer = Peer { address: Some(self.address), is_tls: true, certificate };
            let wire = Wire::Tls(Box::new(stream.into()));
            Ok(Connection::new(wire, peer, credentials.clone(), self.place, self.deadlines))
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the client did not finish the TLS handshake");
        timeout(within, securing).await.map_err(late)?
    }
}

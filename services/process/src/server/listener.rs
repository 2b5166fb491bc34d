//! The accept loop of all ports.

use std::{io, net::SocketAddr, time::Duration};

use backoff::{Backoff, Policy};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, sleep},
};

use super::{
    accepted::Accepted,
    connection::{Connection, Deadlines},
    descriptors::{note_exhaustion, raised_descriptor_limit},
    places::{Place, Places},
};
use crate::{
    coalesced::Coalesced,
    credentials::{Credentials, PortSecurity, Protocol},
    supervised::is_supervised,
};

/// One port may use at most this fraction (1/4) of the process's file descriptors, which leaves enough for other ports, Redis and
/// Discord.
const SHARE_OF_DESCRIPTORS: usize = 4;

/// Waits after a failed `accept`, which would fail again at once without descriptors.
const ACCEPT_AGAIN: Policy = Policy {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(1),
    steady: Duration::ZERO,
    free: 0,
};

/// The limits of one port.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Concurrent connections; further clients wait. Also limited to a quarter of the process's file descriptors.
    pub connections: usize,
    /// Bytes that a client must send within `greeting_within`; 0 if the protocol's server has such a deadline itself.
    pub greeting: usize,
    /// See `greeting`.
    pub greeting_within: Duration,
    /// How long a client may read nothing.
    pub write_stall: Duration,
}

impl Limits {
    /// gRPC: the HTTP/2 connection preface within 10 s
    /// ([RFC 9113, 3.4](https://www.rfc-editor.org/rfc/rfc9113#section-3.4)).
    pub const GRPC: Self = Self {
        connections: 8_192,
        greeting: 24,
        greeting_within: Duration::from_secs(10),
        write_stall: Duration::from_secs(30),
    };
    /// HTTP/1.1, whose server has a deadline for each head ([`super::Http1`]).
    pub const HTTP1: Self = Self { connections: 2_048, greeting: 0, ..Self::GRPC };
}

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// Binds a port. `is_shared`: other processes of this user can bind it too.
fn listen(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    {
        socket.set_reuseaddr(true)?;
        if is_shared {
            socket.set_reuseport(true)?;
        }
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A bound port with its limits.
#[derive(Debug)]
pub struct Listener {
    name: &'static str,
    tcp: TcpListener,
    limits: Limits,
    places: Places,
    /// A connection that waits for a place.
    arrived: Option<(TcpStream, SocketAddr)>,
    backoff: Backoff,
}

impl Listener {
    /// Binds a port. Log lines call it `name`.
    ///
    /// # Errors
    /// The port is in use or not permitted.
    #[allow(clippy::unused_async, reason = "binding registers with the runtime that its callers are in")]
    pub async fn bind(address: SocketAddr, name: &'static str, limits: Limits) -> io::Result<Self> {
        // In a supervised program the replacement binds it beside this one.
        Self::bound(address, name, limits, address.port() != 0 && is_supervised())
    }

    /// Binds a port that several processes of this user share: new connections go to any of them, and to the others when one ends.
    ///
    /// # Errors
    /// The port is in use by others or not permitted.
    #[allow(clippy::unused_async, reason = "binding registers with the runtime that its callers are in")]
    pub async fn bind_shared(address: SocketAddr, name: &'static str, limits: Limits) -> io::Result<Self> {
        Self::bound(address, name, limits, true)
    }

    fn bound(address: SocketAddr, name: &'static str, limits: Limits, is_shared: bool) -> io::Result<Self> {
        let most = (raised_descriptor_limit() / SHARE_OF_DESCRIPTORS).max(1);
        let limits = Limits { connections: limits.connections.min(most), ..limits };
        Ok(Self {
            name,
            tcp: listen(address, is_shared)?,
            limits,
            places: Places::new(limits.connections),
            arrived: None,
            backoff: Backoff::new(ACCEPT_AGAIN),
        })
    }

    /// Returns the bound address.
    ///
    /// # Errors
    /// The system call failed.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Accepts the next connection within the limits. Failures are logged and retried with growing waits. At the limit, one client
    /// waits here and further ones in the kernel's queue: a connection that is closed at once would look like the end of this process. Where callers need credentials,
    /// clients that have proven nothing make room first. Cancel safe.
    pub async fn accept(&mut self) -> Accepted {
        loop {
            let wait = self.backoff.wait(rand::random());
            if !wait.is_zero() {
                sleep(wait).await;
            }
            // Accepted before it has a place, so that other connections make room only for a client that has come.
            if self.arrived.is_some() {
                let place = self.places.take(|| self.warn_full()).await;
                if let Some((stream, peer)) = self.arrived.take()
                    && let Some(accepted) = self.admit(stream, peer, place)
                {
                    return accepted;
                }
                continue;
            }
            match self.tcp.accept().await {
                Ok(arrived) => {
                    self.backoff = Backoff::new(ACCEPT_AGAIN);
                    self.arrived = Some(arrived);
                }
                Err(error) if note_exhaustion(&error) => {
                    self.backoff.failed(Instant::now().into_std());
                    tracing::warn!(
                        listener = self.name, %error,
                        "cannot accept a connection: raise the limit of open files (ulimit -n, LimitNOFILE)"
                    );
                }
                // The client left first; the port itself works.
                Err(error) => {
                    tracing::debug!(listener = self.name, %error, "connection failed before it was accepted");
                }
            }
        }
    }

    fn warn_full(&self) {
        tracing::warn!(
            listener = self.name,
            limit = self.limits.connections,
            "connection limit reached; new clients wait"
        );
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, place: Place) -> Option<Accepted> {
        // Otherwise an answer in several writes waits for the client's delayed ACKs, 40 ms each.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(listener = self.name, %peer, %error, "connection failed before it was served");
            return None;
        }
        let deadlines = Deadlines {
            greeting: self.limits.greeting,
            greeting_within: self.limits.greeting_within,
            write_stall: self.limits.write_stall,
        };
        Some(Accepted { stream, address: peer, place, deadlines })
    }

    /// The connections as an endless stream, for tonic. Handshakes of several clients run at the same time; those that fail are left out.
    pub(super) fn incoming(
        self,
        credentials: Credentials,
    ) -> impl Stream<Item = io::Result<Coalesced<Connection>>> {
        // One more than there are places: while all are taken, the wait for the next one goes on.
        let (name, at_once) = (self.name, self.limits.connections + 1);
        let accepted = stream::unfold(self, async |mut listener| Some((listener.accept().await, listener)));
        let security = PortSecurity::Fleet(credentials);
        let secured = accepted.map(move |accepted| {
            let security = security.clone();
            async move {
                let address = accepted.address;
                let secured = accepted.secured(&security, Protocol::Http2).await;
                secured
                    .inspect_err(|error| {
                        tracing::info!(listener = name, peer = %address, %error, "TLS handshake failed");
                    })
                    .ok()
            }
        });
        secured.buffer_unordered(at_once).filter_map(async |secured| Some(Ok(Coalesced::new(secured?))))
    }
}
